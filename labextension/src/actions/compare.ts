import { Notification } from '@jupyterlab/apputils';
import { CommandIds } from '../commandids';
import type { RunActions } from '../commands';

/** Add the commands that select runs and put them side by side. */
export function addCompareCommands(actions: RunActions): void {
  const { app, model, trans } = actions;
  const { commands } = app;

  actions.add(CommandIds.selectRun, {
    label: trans.__('Select'),
    isToggleable: true,
    failure: trans.__('Could not select the run.'),
    execute: runIds => {
      runIds.forEach(runId => {
        model.selection.toggle(runId);
      });
    }
  });

  const open = async (runIds: readonly string[], what?: 'cells') => {
    const ids = await pair(runIds);
    if (ids.length < 2) {
      Notification.info(
        trans.__(
          'Select two or more runs (Space, or Ctrl and a click) to compare them.'
        )
      );
    } else if (commands.hasCommand(CommandIds.openCompare)) {
      const args = what ? { run_ids: ids, what } : { run_ids: ids };
      await commands.execute(CommandIds.openCompare, args);
    } else {
      const names = ids.map(id => id.slice(0, 8)).join(' ');
      Notification.info(trans.__('In a notebook: %compare %1', names));
    }
  };

  /** The selected runs, the first one being the base; or a run after the one before. */
  const pair = async (runIds: readonly string[]): Promise<string[]> => {
    const [runId] = runIds;
    if (runId === undefined || runIds.length > 1) {
      return [...runIds];
    }
    const others = model.selection.ids.filter(id => id !== runId);
    if (others.length > 0) {
      return [...others, runId];
    }
    const run = await actions.run(runId);
    const notebook = run.tags['mlops.notebook'];
    const before = model.records
      .active()
      .find(
        other =>
          other.start_time < run.start_time &&
          (notebook === undefined
            ? other.experiment_id === run.experiment_id
            : other.tags['mlops.notebook'] === notebook)
      );
    return before ? [before.run_id, runId] : [runId];
  };

  actions.add(CommandIds.compareRuns, {
    label: trans.__('Compare'),
    caption: trans.__(
      'Compare the selected runs, or a run with the one before'
    ),
    failure: trans.__('Could not compare the runs.'),
    execute: runIds => open(runIds)
  });
  actions.add(CommandIds.diffCells, {
    label: trans.__('Diff Cells'),
    caption: trans.__('Compare runs cell by cell'),
    failure: trans.__('Could not compare the cells.'),
    execute: runIds => open(runIds, 'cells')
  });
}
