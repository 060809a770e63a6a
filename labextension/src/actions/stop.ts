import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import type { Kernel } from '@jupyterlab/services';
import { CommandIds } from '../commandids';
import type { RunActions } from '../commands';
import { isLive } from '../model';
import { servedPath } from '../paths';
import { stopCode } from './cells';

const IDLE_MS = 8000;

/** Add the command that ends running runs. */
export function addStopCommand(actions: RunActions): void {
  const { app, model, trans } = actions;
  const { sessions } = app.serviceManager;

  const kernelOf = async (runId: string) => {
    const run = await actions.run(runId);
    const path = servedPath(
      run.tags['mlops.notebook'] ?? '',
      PageConfig.getOption('serverRoot'),
      model.status?.project.root ?? ''
    );
    if (path === null || path === '') {
      return null;
    }
    const found = await sessions.findByPath(path);
    return found?.kernel ? sessions.connectTo({ model: found }) : null;
  };

  const stopOne = async (runId: string): Promise<void> => {
    const run = await actions.run(runId);
    if (!isLive(run)) {
      Notification.info(trans.__('%1 has ended already.', run.name));
      return;
    }
    const session = await kernelOf(runId);
    if (session?.kernel) {
      try {
        await endIn(session.kernel, runId);
      } finally {
        session.dispose();
      }
      await model.pull();
      const now = await model.readRun(runId);
      if (!isLive(now)) {
        Notification.success(trans.__('Stopped %1', run.name));
        return;
      }
    }
    // Nothing of ours reaches what runs it: only the record can be closed.
    const { button } = await showDialog({
      title: trans.__('Stop %1?', run.name),
      body: trans.__(
        'No notebook of this server runs it, so it cannot be ended from here: interrupt it where it runs. If it is gone for good, its record can be marked as stopped.'
      ),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.warnButton({ label: trans.__('Mark as stopped') })
      ]
    });
    if (button.accept) {
      await model.patch(runId, {
        status: 'KILLED',
        end_time: Date.now(),
        reason: 'marked as stopped'
      });
    }
  };

  actions.add(CommandIds.stopRun, {
    label: trans.__('Stop'),
    caption: trans.__('Interrupt the cell, and end the run'),
    failure: trans.__('Could not stop the run.'),
    execute: async runIds => {
      for (const runId of runIds) {
        await stopOne(runId);
      }
    }
  });
}

/** Interrupt what a kernel is at, then end the run if it is still open there. */
async function endIn(
  kernel: Kernel.IKernelConnection,
  runId: string
): Promise<void> {
  if (kernel.status === 'busy' || kernel.status === 'unknown') {
    await kernel.interrupt();
    await idle(kernel);
  }
  const code = stopCode(runId);
  await kernel.requestExecute({ code, silent: true, store_history: false })
    .done;
}

/** Wait until a kernel has nothing to do, or for as long as a user may. */
function idle(kernel: Kernel.IKernelConnection): Promise<void> {
  return new Promise(resolve => {
    const finish = () => {
      window.clearTimeout(timer);
      kernel.statusChanged.disconnect(look);
      resolve();
    };
    const look = () => {
      if (kernel.status === 'idle') {
        finish();
      }
    };
    const timer = window.setTimeout(finish, IDLE_MS);
    kernel.statusChanged.connect(look);
    look();
  });
}
