import { Notification } from '@jupyterlab/apputils';
import { PageConfig, PathExt } from '@jupyterlab/coreutils';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { CommandIds } from '../commandids';
import type { RunActions } from '../commands';
import { servedFolder, servedPath } from '../paths';
import { tellingCell } from './cells';

const TRACKING = '%load_ext mlops_nb\n%track on';

/** A console of JupyterLab, as far as it is needed here. */
interface IConsolePanel {
  sessionContext: { ready: Promise<void> };
  console: { inject(code: string): Promise<unknown> };
}

/**
 * Add the commands that lead from runs to notebooks: to a cell, to a notebook with
 * the run's cells, to the same result again.
 */
export function addNotebookCommands(
  actions: RunActions,
  notebooks: INotebookTracker | null
): void {
  const { app, model, trans } = actions;
  const { commands } = app;
  const serverRoot = PageConfig.getOption('serverRoot');
  const projectRoot = () => model.status?.project.root ?? '';

  const served = (stored: string | undefined): string | null =>
    stored === undefined ? null : servedPath(stored, serverRoot, projectRoot());

  actions.add(CommandIds.jumpToCell, {
    label: trans.__('Go to Cell'),
    caption: trans.__('Go to the cell that the run has its result from'),
    failure: trans.__('Could not go to the cell.'),
    execute: async ([runId]) => {
      if (runId === undefined) {
        return;
      }
      const run = await actions.run(runId);
      const path = served(run.tags['mlops.notebook']);
      if (path === null) {
        Notification.info(
          trans.__('%1 was not recorded in a notebook that is here.', run.name)
        );
        return;
      }
      const cell = tellingCell(run, await model.cells(runId));
      const args = { path, cell_id: cell?.cell_id ?? null };
      if (commands.hasCommand(CommandIds.goToCell) && cell) {
        await commands.execute(CommandIds.goToCell, args);
      } else {
        await commands.execute('docmanager:open', { path });
      }
    }
  });

  actions.add(CommandIds.restoreNotebook, {
    label: trans.__('Restore as Notebook'),
    caption: trans.__('Open the cells of the run as a new notebook'),
    failure: trans.__('Could not restore the notebook.'),
    execute: async ([runId]) => {
      if (runId === undefined) {
        return;
      }
      const run = await actions.run(runId);
      // Only what the server serves can be opened.
      const isBeside = served(run.tags['mlops.notebook']) !== null;
      const folder = servedFolder(serverRoot, projectRoot());
      const stored = await model.restoreNotebook(
        runId,
        isBeside || folder === '' ? undefined : folder
      );
      const path = served(stored);
      if (path === null) {
        Notification.info(trans.__('Written to %1', stored));
      } else {
        await commands.execute('docmanager:open', { path });
      }
    }
  });

  actions.add(CommandIds.reproduceRun, {
    label: trans.__('Reproduce'),
    caption: trans.__(
      'Run the cells of the run again in a fresh kernel and compare the metrics'
    ),
    failure: trans.__('Could not reproduce the run.'),
    execute: async ([runId]) => {
      if (runId === undefined) {
        return;
      }
      // A console has the environment that recorded the run, shows what happens,
      // and can be interrupted; the server would have to guess at all three.
      const run = await actions.run(runId);
      const path = served(run.tags['mlops.notebook']);
      const panel = (await commands.execute('console:create', {
        path: path === null ? '' : PathExt.dirname(path),
        kernelPreference: { name: 'python3', shouldStart: true },
        insertMode: 'split-bottom',
        activate: true
      })) as IConsolePanel | undefined;
      await panel?.sessionContext.ready;
      void panel?.console.inject(
        `%load_ext mlops_nb\n%track reproduce ${runId}`
      );
    }
  });

  if (notebooks) {
    addInsertCommand(actions, notebooks);
  }
}

function addInsertCommand(
  actions: RunActions,
  notebooks: INotebookTracker
): void {
  const { app, trans } = actions;
  const { commands, shell } = app;
  commands.addCommand(CommandIds.insertTracking, {
    label: trans.__('Insert %track on'),
    caption: trans.__('Insert a cell that records each training of a notebook'),
    describedBy: { args: { type: 'object', properties: {} } },
    execute: async () => {
      try {
        const panel =
          notebooks.currentWidget ??
          ((await commands.execute('notebook:create-new', {
            kernelName: 'python3'
          })) as NotebookPanel | undefined);
        if (!panel) {
          return;
        }
        await panel.context.ready;
        const { model } = panel.content;
        const first = model?.cells.get(0);
        model?.sharedModel.transact(() => {
          const source = TRACKING;
          if (first?.sharedModel.getSource().trim() === '') {
            first.sharedModel.setSource(source);
          } else {
            const cell = { cell_type: 'code', source } as const;
            model.sharedModel.insertCell(0, cell);
          }
        });
        panel.content.activeCellIndex = 0;
        shell.activateById(panel.id);
      } catch (error) {
        actions.fail(trans.__('Could not insert the cell.'), error);
      }
    }
  });
}
