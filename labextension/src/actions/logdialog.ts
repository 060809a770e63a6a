import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

/** Show what something of this name has printed, and return when it was read. */
export async function showLog(
  name: string,
  text: string,
  trans: TranslationBundle
): Promise<void> {
  const body = new Widget({ node: document.createElement('pre') });
  body.addClass('mlops-nb-endpoint-logs');
  body.node.tabIndex = 0;
  body.node.textContent = text || trans.__('Nothing has been printed.');
  await showDialog({
    title: trans.__('Logs of %1', name),
    body,
    buttons: [Dialog.okButton({ label: trans.__('Close') })]
  });
}
