import {
  Clipboard,
  Dialog,
  Notification,
  showDialog
} from '@jupyterlab/apputils';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { CommandIds } from '../commandids';
import type { RunActions } from '../commands';
import type { Endpoints } from '../model/endpoints';
import { showLog } from './logdialog';

const LOG_LINES = 200;
const DESCRIBED = {
  args: {
    type: 'object',
    properties: {
      endpoint: {
        type: 'string',
        description:
          'The endpoint; in a context menu, the one under the pointer.'
      }
    }
  }
} as const;

/** The commands of an endpoint, in the order of its menu. */
export const ENDPOINT_MENU: readonly string[] = [
  CommandIds.tryEndpoint,
  CommandIds.openEndpoint,
  CommandIds.copyEndpointUrl,
  CommandIds.endpointLogs,
  CommandIds.stopEndpoint
];

/** Add the commands that act on an endpoint. */
export function addEndpointCommands(
  actions: RunActions,
  endpoints: Endpoints
): void {
  const { app, trans } = actions;
  const { api } = endpoints;

  const add = (
    id: string,
    label: string,
    failure: string,
    execute: (name: string) => unknown
  ) => {
    app.commands.addCommand(id, {
      label,
      describedBy: DESCRIBED,
      execute: async args => {
        const name = nameOf(actions, args);
        if (name === null) {
          return;
        }
        try {
          await execute(name);
        } catch (error) {
          actions.fail(failure, error);
        }
      }
    });
  };

  add(
    CommandIds.tryEndpoint,
    trans.__('Try Endpoint…'),
    trans.__('Could not try the endpoint.'),
    async name => {
      const { tryDialog } = await import('./tryendpoint');
      await tryDialog(endpoints, name, trans);
    }
  );
  add(
    CommandIds.openEndpoint,
    trans.__('Open the Page of the Endpoint'),
    trans.__('Could not open the page.'),
    name => window.open(api.pageUrl(name), '_blank', 'noopener')
  );
  add(
    CommandIds.copyEndpointUrl,
    trans.__('Copy URL'),
    trans.__('Could not copy the address.'),
    name => {
      Clipboard.copyToSystem(api.url(name));
      Notification.info(trans.__('Copied the address of %1', name), {
        autoClose: 3000
      });
    }
  );
  add(
    CommandIds.endpointLogs,
    trans.__('Show Logs'),
    trans.__('Could not read the logs.'),
    async name => {
      const lines = await api.logs(name, LOG_LINES);
      await showLog(name, lines.join('\n'), trans);
    }
  );
  add(
    CommandIds.stopEndpoint,
    trans.__('Stop Endpoint'),
    trans.__('Could not stop the endpoint.'),
    async name => {
      const { button } = await showDialog({
        title: trans.__('Stop the endpoint %1?', name),
        body: trans.__(
          'Requests that run are finished; from then on its address answers nobody.'
        ),
        buttons: [
          Dialog.cancelButton({ label: trans.__('Cancel') }),
          Dialog.warnButton({ label: trans.__('Stop') })
        ]
      });
      if (button.accept) {
        await api.stop(name);
        await endpoints.load();
      }
    }
  );
}

function nameOf(
  actions: RunActions,
  args: ReadonlyPartialJSONObject
): string | null {
  if (typeof args.endpoint === 'string') {
    return args.endpoint;
  }
  const node = actions.app.contextMenuHitTest(
    n => n.dataset.endpoint !== undefined
  );
  return node?.dataset.endpoint ?? null;
}
