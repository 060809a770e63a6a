import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import type { IEndpoint } from '../endpointapi';
import type { Endpoints } from '../model/endpoints';
import { messageOf } from '../request';

/** Let the user send requests to an endpoint. */
export async function tryDialog(
  endpoints: Endpoints,
  name: string,
  trans: TranslationBundle
): Promise<void> {
  await showDialog({
    title: trans.__('Try %1', name),
    body: new TryBody(endpoints.get(name), endpoints, name, trans),
    focusNodeSelector: 'textarea',
    buttons: [Dialog.cancelButton({ label: trans.__('Close') })]
  });
}

/** A request that can be edited and sent, and what came back. */
class TryBody extends Widget {
  constructor(
    endpoint: IEndpoint | null,
    private readonly _endpoints: Endpoints,
    private readonly _name: string,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.addClass('mlops-nb-endpoint-try');
    const example = endpoint?.example ?? { inputs: [[0]] };
    this._request.value = JSON.stringify(example, null, 1);
    this._request.rows = 8;
    this._request.spellcheck = false;
    this._request.setAttribute('aria-label', _trans.__('Request, JSON'));
    this._send.className = 'jp-mod-styled jp-mod-accept';
    this._send.textContent = _trans.__('Send (Ctrl+Enter)');
    this._answer.setAttribute('role', 'status');
    this._answer.tabIndex = 0;
    this._send.onclick = () => void this._ask();
    this._request.onkeydown = event => {
      // Enter begins a new line; the dialog must not take it for OK.
      if (event.key === 'Enter') {
        event.stopPropagation();
        if (event.ctrlKey || event.metaKey) {
          event.preventDefault();
          void this._ask();
        }
      }
    };
    this.node.append(this._request, this._send, this._answer);
  }

  private async _ask(): Promise<void> {
    let body: unknown;
    try {
      body = JSON.parse(this._request.value);
    } catch (error) {
      const why = messageOf(error);
      this._show(this._trans.__('This is no JSON: %1', why), true);
      return;
    }
    this._send.disabled = true;
    const began = performance.now();
    try {
      const answer = await this._endpoints.api.ask(this._name, body);
      const took = Math.round(performance.now() - began);
      this._show(`${JSON.stringify(answer, null, 1)}\n${took} ms`, false);
    } catch (error) {
      this._show(messageOf(error), true);
    } finally {
      this._send.disabled = false;
    }
  }

  private _show(text: string, isError: boolean): void {
    this._answer.textContent = text;
    this._answer.dataset.error = String(isError);
  }

  private readonly _request = document.createElement('textarea');
  private readonly _send = document.createElement('button');
  private readonly _answer = document.createElement('pre');
}
