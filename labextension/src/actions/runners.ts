import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { CommandIds } from '../commandids';
import type { RunActions } from '../commands';
import type { Runners } from '../model/runners';
import type { IRunner } from '../runnerapi';
import { showLog } from './logdialog';

const HALF_AN_HOUR = 1800;
const DESCRIBED = {
  args: {
    type: 'object',
    properties: {
      runner: {
        type: 'string',
        description:
          'The id of the runner; in a menu, the one under the pointer.'
      }
    }
  }
} as const;

/** The commands of a runner, in the order of its menu. */
export const RUNNER_MENU: readonly string[] = [
  CommandIds.runnerLog,
  CommandIds.extendRunner,
  CommandIds.stopRunner,
  CommandIds.downRunner
];

/** Add the commands that act on a runner. */
export function addRunnerCommands(actions: RunActions, runners: Runners): void {
  const { app, trans } = actions;
  const { api } = runners;

  const add = (
    id: string,
    label: string,
    failure: string,
    execute: (runner: IRunner) => unknown
  ) => {
    app.commands.addCommand(id, {
      label,
      describedBy: DESCRIBED,
      execute: async args => {
        const wanted = idOf(actions, args);
        const runner = runners.list.find(one => one.id === wanted);
        if (!runner) {
          return;
        }
        try {
          await execute(runner);
          await runners.load();
        } catch (error) {
          actions.fail(failure, error);
        }
      }
    });
  };

  const ask = async (title: string, body: string, label: string) => {
    const { button } = await showDialog({
      title,
      body,
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.warnButton({ label })
      ]
    });
    return button.accept;
  };

  add(
    CommandIds.runnerLog,
    trans.__('Show Logs'),
    trans.__('Could not read the logs.'),
    async runner => {
      const text = await api.log(runner.id);
      await showLog(runner.name, text, trans);
    }
  );
  add(
    CommandIds.extendRunner,
    trans.__('Let Live Half an Hour Longer'),
    trans.__('Could not extend the runner.'),
    runner => api.extend(runner.id, HALF_AN_HOUR)
  );
  add(
    CommandIds.stopRunner,
    trans.__('Stop Runner'),
    trans.__('Could not stop the runner.'),
    async runner => {
      const body = runner.job
        ? trans.__('It finishes %1 and takes no more work.', runner.job)
        : trans.__('It has no work and ends now.');
      const title = trans.__('Stop the runner %1?', runner.name);
      if (await ask(title, body, trans.__('Stop'))) {
        await api.stop(runner.id);
      }
    }
  );
  add(
    CommandIds.downRunner,
    trans.__('End Runner at Once'),
    trans.__('Could not end the runner.'),
    async runner => {
      const body = runner.job
        ? trans.__('%1 is cut off. Nothing of the machine is left.', runner.job)
        : trans.__('Nothing of the machine is left.');
      const title = trans.__('End the runner %1 at once?', runner.name);
      if (await ask(title, body, trans.__('End'))) {
        await api.down(runner.id);
      }
    }
  );
}

function idOf(
  actions: RunActions,
  args: ReadonlyPartialJSONObject
): string | null {
  if (typeof args.runner === 'string') {
    return args.runner;
  }
  const node = actions.app.contextMenuHitTest(
    n => n.dataset.runner !== undefined
  );
  return node?.dataset.runner ?? null;
}
