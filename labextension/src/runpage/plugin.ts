import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import {
  ICommandPalette,
  InputDialog,
  IThemeManager,
  WidgetTracker
} from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { CommandIds } from '../commandids';
import { RUN_ARGS, runIdOf } from '../commands';
import { IMlopsModel, IRunPageTracker } from '../tokens';
import type { RunPage } from './widget';

/**
 * A page in the main area for each run that is opened.
 */
export const runPagePlugin: JupyterFrontEndPlugin<IRunPageTracker> = {
  id: 'mlops-nb:run-page',
  description: 'Shows one run in the main area: values, curves, cells, files.',
  autoStart: true,
  provides: IRunPageTracker,
  requires: [IMlopsModel],
  optional: [ITranslator, ILayoutRestorer, ICommandPalette, IThemeManager],
  activate: (
    app: JupyterFrontEnd,
    model: IMlopsModel,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    themes: IThemeManager | null
  ): IRunPageTracker => {
    const { commands, shell } = app;
    const trans = (translator ?? nullTranslator).load('mlops_nb');
    const tracker = new WidgetTracker<RunPage>({ namespace: 'mlops-nb-runs' });

    const addPage = async (runId: string): Promise<RunPage> => {
      const { RunPage } = await import('./widget');
      const page = new RunPage({ model, runId, trans, commands, themes });
      await tracker.add(page);
      shell.add(page, 'main', { type: 'Run' });
      return page;
    };

    const chooseRun = async (): Promise<string | null> => {
      const labels = new Map(
        model.records
          .active()
          .map(run => [`${run.name} · ${run.run_id.slice(0, 8)}`, run.run_id])
      );
      const { value } = await InputDialog.getItem({
        title: trans.__('Open Run'),
        label: trans.__('Run'),
        items: [...labels.keys()]
      });
      return labels.get(value ?? '') ?? null;
    };

    commands.addCommand(CommandIds.openRun, {
      label: args =>
        args.isPalette ? trans.__('Open Run…') : trans.__('Open Run'),
      describedBy: {
        args: {
          ...RUN_ARGS,
          properties: {
            ...RUN_ARGS.properties,
            isPalette: {
              type: 'boolean',
              description: 'Whether to ask for the run.'
            }
          }
        }
      },
      execute: async args => {
        const runId =
          (args.isPalette ? null : runIdOf(app, args)) ?? (await chooseRun());
        if (runId === null) {
          return;
        }
        const open =
          tracker.find(page => page.runId === runId) ?? (await addPage(runId));
        shell.activateById(open.id);
      }
    });
    palette?.addItem({
      command: CommandIds.openRun,
      category: trans.__('Experiments'),
      args: { isPalette: true }
    });

    if (restorer) {
      void restorer.restore(tracker, {
        command: CommandIds.openRun,
        args: page => ({ runId: page.runId }),
        name: page => page.runId
      });
    }
    return tracker;
  }
};
