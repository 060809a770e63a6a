import type { JupyterFrontEnd } from '@jupyterlab/application';
import {
  Clipboard,
  type ICommandPalette,
  InputDialog,
  Notification
} from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import type { IRun } from './api';
import { CommandIds } from './commandids';
import type { StoreModel } from './model';
import { messageOf } from './request';

/** The arguments of a command that acts on one run. */
export const RUN_ARGS = {
  type: 'object',
  properties: {
    runId: {
      type: 'string',
      description: 'The run; in a context menu, the run under the pointer.'
    }
  }
} as const;

const UNDO_MS = 10_000;

/**
 * The run that a command is about: named in its arguments, or under the pointer
 * where the context menu was opened.
 */
export function runIdOf(
  app: JupyterFrontEnd,
  args: ReadonlyPartialJSONObject
): string | null {
  if (typeof args.runId === 'string') {
    return args.runId;
  }
  const node = app.contextMenuHitTest(n => n.dataset.runId !== undefined);
  return node?.dataset.runId ?? null;
}

/**
 * Add the commands that need the model alone.
 */
export function addRunCommands(
  app: JupyterFrontEnd,
  model: StoreModel,
  trans: TranslationBundle,
  palette: ICommandPalette | null
): void {
  const { commands } = app;

  const report = (what: string, error: unknown) => {
    Notification.error(`${what} ${messageOf(error)}`);
  };
  const nameOf = (run: IRun | null, runId: string) => run?.name ?? runId;

  commands.addCommand(CommandIds.refresh, {
    label: trans.__('Refresh Experiments'),
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => model.refresh()
  });
  palette?.addItem({
    command: CommandIds.refresh,
    category: trans.__('Experiments')
  });

  commands.addCommand(CommandIds.renameRun, {
    label: trans.__('Rename Run…'),
    describedBy: { args: RUN_ARGS },
    execute: async args => {
      const runId = runIdOf(app, args);
      if (runId === null) {
        return;
      }
      const current = model.records.get(runId)?.name ?? '';
      const { button, value } = await InputDialog.getText({
        title: trans.__('Rename Run'),
        label: trans.__('New name'),
        text: current,
        okLabel: trans.__('Rename')
      });
      const name = value?.trim() ?? '';
      if (!button.accept || name === '' || name === current) {
        return;
      }
      try {
        await model.rename(runId, name);
      } catch (error) {
        report(trans.__('Could not rename the run.'), error);
      }
    }
  });

  commands.addCommand(CommandIds.copyRunId, {
    label: trans.__('Copy Run Id'),
    describedBy: { args: RUN_ARGS },
    execute: args => {
      const runId = runIdOf(app, args);
      if (runId !== null) {
        Clipboard.copyToSystem(runId);
      }
    }
  });

  commands.addCommand(CommandIds.deleteRun, {
    label: trans.__('Delete Run'),
    caption: trans.__('Hide the run; it can be restored'),
    describedBy: { args: RUN_ARGS },
    execute: async args => {
      const runId = runIdOf(app, args);
      if (runId === null) {
        return;
      }
      try {
        const run = await model.delete(runId);
        Notification.info(trans.__('Deleted run %1', nameOf(run, runId)), {
          autoClose: UNDO_MS,
          actions: [
            {
              label: trans.__('Undo'),
              callback: () => {
                void commands.execute(CommandIds.restoreRun, { runId });
              }
            }
          ]
        });
      } catch (error) {
        report(trans.__('Could not delete the run.'), error);
      }
    }
  });

  commands.addCommand(CommandIds.restoreRun, {
    label: trans.__('Restore Run'),
    describedBy: { args: RUN_ARGS },
    execute: async args => {
      const runId = runIdOf(app, args);
      if (runId === null) {
        return;
      }
      try {
        await model.restore(runId);
      } catch (error) {
        report(trans.__('Could not restore the run.'), error);
      }
    }
  });
}
