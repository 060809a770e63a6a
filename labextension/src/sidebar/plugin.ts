import {
  ILabShell,
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { CommandIds } from '../commandids';
import { IMlopsModel, IMlopsSidebar } from '../tokens';
import { followNotebook } from './follow';
import { Sidebar } from './sidebar';

/**
 * The experiments panel in the left area.
 */
export const sidebarPlugin: JupyterFrontEndPlugin<IMlopsSidebar> = {
  id: 'mlops-nb:sidebar',
  description: 'Lists the runs of the project beside the notebook, live.',
  autoStart: true,
  provides: IMlopsSidebar,
  requires: [IMlopsModel],
  optional: [
    ITranslator,
    INotebookTracker,
    ILayoutRestorer,
    ICommandPalette,
    ILabShell
  ],
  activate: (
    app: JupyterFrontEnd,
    model: IMlopsModel,
    translator: ITranslator | null,
    notebooks: INotebookTracker | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    labShell: ILabShell | null
  ): IMlopsSidebar => {
    const trans = (translator ?? nullTranslator).load('mlops_nb');
    const sidebar = new Sidebar({
      model,
      trans,
      openRun: runId => {
        void app.commands.execute(CommandIds.openRun, { runId });
      },
      refresh: () => {
        void app.commands.execute(CommandIds.refresh);
      }
    });
    app.shell.add(sidebar, 'left', { rank: 250, type: 'Experiments' });
    restorer?.add(sidebar, sidebar.id);

    if (notebooks) {
      followNotebook(notebooks, app.serviceManager.contents, model);
    }

    app.commands.addCommand(CommandIds.focusSidebar, {
      label: trans.__('Show Experiments'),
      caption: trans.__('Show the experiments panel and focus it'),
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => {
        if (labShell) {
          labShell.expandLeft();
        }
        app.shell.activateById(sidebar.id);
      }
    });
    palette?.addItem({
      command: CommandIds.focusSidebar,
      category: trans.__('Experiments')
    });

    const selector = '.mlops-nb-Sidebar [data-run-id]';
    [
      CommandIds.openRun,
      CommandIds.renameRun,
      CommandIds.copyRunId,
      CommandIds.deleteRun
    ].forEach((command, rank) => {
      app.contextMenu.addItem({ command, selector, rank });
    });
    return sidebar;
  }
};
