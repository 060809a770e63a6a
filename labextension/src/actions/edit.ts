import { Clipboard, InputDialog, Notification } from '@jupyterlab/apputils';
import { CommandIds } from '../commandids';
import type { RunActions } from '../commands';
import { noteDialog } from './note';
import { parseTag } from './tag';

const UNDO_MS = 10_000;
const NOTE = 'mlflow.note.content';
const ARCHIVED = 'mlops.archived';

/**
 * Add the commands that change the records of runs: name, tags, note, archive,
 * delete and restore.
 */
export function addEditCommands(actions: RunActions): void {
  const { app, model, trans } = actions;
  const { commands } = app;

  const offerUndo = (message: string, undo: () => Promise<unknown>) => {
    Notification.info(message, {
      autoClose: UNDO_MS,
      actions: [
        {
          label: trans.__('Undo'),
          callback: () => {
            undo().catch((error: unknown) => {
              actions.fail(trans.__('Could not undo it.'), error);
            });
          }
        }
      ]
    });
  };
  const onAll = (
    runIds: readonly string[],
    change: (runId: string) => Promise<unknown>
  ) => Promise.all(runIds.map(change));

  actions.add(CommandIds.renameRun, {
    label: trans.__('Rename Run…'),
    failure: trans.__('Could not rename the run.'),
    execute: async ([runId]) => {
      if (runId === undefined) {
        return;
      }
      const current = (await actions.run(runId)).name;
      const { button, value } = await InputDialog.getText({
        title: trans.__('Rename Run'),
        label: trans.__('New name'),
        text: current,
        okLabel: trans.__('Rename')
      });
      const name = value?.trim() ?? '';
      if (button.accept && name !== '' && name !== current) {
        await model.rename(runId, name);
      }
    }
  });

  actions.add(CommandIds.tagRun, {
    label: trans.__('Tag…'),
    caption: trans.__('Give runs a tag, or take one away'),
    failure: trans.__('Could not set the tag.'),
    execute: async runIds => {
      const { button, value } = await InputDialog.getText({
        title: trans.__('Tag %1', actions.naming(runIds)),
        label: trans.__('name, name=value, or -name to take it away'),
        okLabel: trans.__('Tag')
      });
      const tag = parseTag(value ?? '');
      if (button.accept && tag) {
        const tags = { [tag.key]: tag.value };
        await onAll(runIds, runId => model.patch(runId, { tags }));
      }
    }
  });

  actions.add(CommandIds.noteRun, {
    label: trans.__('Note…'),
    failure: trans.__('Could not write the note.'),
    execute: async ([runId]) => {
      if (runId === undefined) {
        return;
      }
      const run = await actions.run(runId);
      const before = run.tags[NOTE] ?? '';
      const note = await noteDialog(run.name, before, trans);
      if (note !== null && note !== before) {
        await model.patch(runId, { tags: { [NOTE]: note } });
      }
    }
  });

  actions.add(CommandIds.archiveRun, {
    label: trans.__('Archive'),
    caption: trans.__('Leave the run out of lists; nothing is lost'),
    failure: trans.__('Could not archive the run.'),
    execute: async runIds => {
      await onAll(runIds, runId =>
        model.patch(runId, { tags: { [ARCHIVED]: 'true' } })
      );
      model.selection.clear();
      offerUndo(trans.__('Archived %1', actions.naming(runIds)), () =>
        onAll(runIds, runId =>
          model.patch(runId, { tags: { [ARCHIVED]: null } })
        )
      );
    }
  });

  actions.add(CommandIds.deleteRun, {
    label: trans.__('Delete Run'),
    caption: trans.__('Hide the run; it can be restored'),
    failure: trans.__('Could not delete the run.'),
    execute: async runIds => {
      const name = actions.naming(runIds);
      await onAll(runIds, runId => model.delete(runId));
      model.selection.clear();
      offerUndo(trans.__('Deleted %1', name), () =>
        onAll(runIds, runId => model.restore(runId))
      );
    }
  });

  actions.add(CommandIds.copyRunId, {
    label: trans.__('Copy Run Id'),
    failure: trans.__('Could not copy the id.'),
    execute: runIds => {
      Clipboard.copyToSystem(runIds.join('\n'));
    }
  });

  // What is deleted is in no list: this one always is told its run.
  commands.addCommand(CommandIds.restoreRun, {
    label: trans.__('Restore Deleted Run'),
    describedBy: {
      args: { type: 'object', properties: { runId: { type: 'string' } } }
    },
    execute: async args => {
      if (typeof args.runId !== 'string') {
        return;
      }
      try {
        await model.restore(args.runId);
      } catch (error) {
        actions.fail(trans.__('Could not restore the run.'), error);
      }
    }
  });
}
