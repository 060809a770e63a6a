import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { CommandIds } from '../commandids';
import { storedPath } from '../paths';
import { IMlopsModel } from '../tokens';
import { textOf } from '../values';
import { NotebookChips } from './notebookchips';

const PLUGIN_ID = 'mlops-nb:chips';

/**
 * Results of the newest run at the cells that gave them, and the way from a run
 * to its cells.
 */
export const chipsPlugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN_ID,
  description: 'Shows at each cell of a notebook what it gave the newest run.',
  autoStart: true,
  requires: [IMlopsModel, INotebookTracker],
  optional: [
    ITranslator,
    ISettingRegistry,
    IDefaultFileBrowser,
    ICommandPalette
  ],
  activate: (
    app: JupyterFrontEnd,
    model: IMlopsModel,
    notebooks: INotebookTracker,
    translator: ITranslator | null,
    registry: ISettingRegistry | null,
    browser: IDefaultFileBrowser | null,
    palette: ICommandPalette | null
  ): void => {
    const { commands } = app;
    const { contents } = app.serviceManager;
    const trans = (translator ?? nullTranslator).load('mlops_nb');
    const options = { app, notebooks, browser, trans };
    const shown = new Map<NotebookPanel, NotebookChips>();
    let isEnabled = true;
    let settings: ISettingRegistry.ISettings | null = null;

    const pathOf = (panel: NotebookPanel) => {
      const root = model.status?.project.root;
      return root === undefined
        ? null
        : storedPath(
            contents.localPath(panel.context.path),
            PageConfig.getOption('serverRoot'),
            root
          );
    };
    const add = (panel: NotebookPanel) => {
      if (!isEnabled || shown.has(panel)) {
        return;
      }
      const chips = new NotebookChips({
        panel,
        model,
        trans,
        pathOf,
        open: ({ runId, metric }) => {
          void commands.execute(CommandIds.openRun, {
            runId,
            ...(metric === null ? { tab: 'cells' } : { metric })
          });
        }
      });
      shown.set(panel, chips);
      panel.disposed.connect(() => shown.delete(panel));
    };
    const enable = (isOn: boolean) => {
      isEnabled = isOn;
      if (isOn) {
        notebooks.forEach(add);
      } else {
        shown.forEach(chips => {
          chips.dispose();
        });
        shown.clear();
      }
      commands.notifyCommandChanged(CommandIds.toggleChips);
    };

    commands.addCommand(CommandIds.toggleChips, {
      label: trans.__('Show Results at Cells'),
      describedBy: { args: { type: 'object', properties: {} } },
      isToggled: () => isEnabled,
      execute: async () => {
        // Without settings the choice holds until the page is left.
        if (settings) {
          await settings.set('enabled', !isEnabled);
        } else {
          enable(!isEnabled);
        }
      }
    });
    palette?.addItem({
      command: CommandIds.toggleChips,
      category: trans.__('Experiments')
    });

    commands.addCommand(CommandIds.goToCell, {
      label: trans.__('Go to Cell'),
      describedBy: {
        args: {
          type: 'object',
          required: ['path'],
          properties: {
            path: {
              type: 'string',
              description: 'The notebook, below the root of the server.'
            },
            cell_id: { type: ['string', 'null'] },
            source: {
              type: ['string', 'null'],
              description: 'Finds the cell where it has no id, or another now.'
            }
          }
        }
      },
      execute: async args => {
        const { goToCell } = await import('./goto');
        await goToCell(options, {
          path: textOf(args.path),
          cell_id: typeof args.cell_id === 'string' ? args.cell_id : null,
          source: typeof args.source === 'string' ? args.source : null
        });
      }
    });
    commands.addCommand(CommandIds.showInNotebook, {
      label: trans.__('Show Results in Notebook'),
      describedBy: {
        args: {
          type: 'object',
          required: ['path', 'runId'],
          properties: { path: { type: 'string' }, runId: { type: 'string' } }
        }
      },
      execute: async args => {
        const { openNotebook } = await import('./goto');
        const panel = await openNotebook(options, textOf(args.path));
        if (panel) {
          app.shell.activateById(panel.id);
          shown.get(panel)?.choose(textOf(args.runId));
        }
      }
    });

    notebooks.widgetAdded.connect((_, panel) => {
      add(panel);
    });
    notebooks.forEach(add);
    void registry?.load(PLUGIN_ID).then(loaded => {
      settings = loaded;
      const read = () => {
        enable(loaded.get('enabled').composite !== false);
      };
      loaded.changed.connect(read);
      read();
    });
  }
};
