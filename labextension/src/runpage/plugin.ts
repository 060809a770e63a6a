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
import { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import {
  ITranslator,
  nullTranslator,
  type TranslationBundle
} from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { CommandIds } from '../commandids';
import { servedNotebook } from '../served';
import { RUN_ARGS, runIdOf } from '../commands';
import { showPage } from '../rendering/place';
import { IMlopsModel, IRunPageTracker } from '../tokens';
import { textOf } from '../values';
import type { IRunActions } from './view';
import type { RunPage } from './widget';

/**
 * A page in the main area for each run that is opened.
 */
export const runPagePlugin: JupyterFrontEndPlugin<IRunPageTracker> = {
  id: 'mlops-nb:run-page',
  description:
    'Shows one run in the main area: values, curves, cells, data, files.',
  autoStart: true,
  provides: IRunPageTracker,
  requires: [IMlopsModel],
  optional: [
    ITranslator,
    ILayoutRestorer,
    ICommandPalette,
    IThemeManager,
    IEditorLanguageRegistry,
    IRenderMimeRegistry
  ],
  activate: (
    app: JupyterFrontEnd,
    model: IMlopsModel,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    themes: IThemeManager | null,
    languages: IEditorLanguageRegistry | null,
    rendermime: IRenderMimeRegistry | null
  ): IRunPageTracker => {
    const { commands, shell } = app;
    const trans = (translator ?? nullTranslator).load('mlops_nb');
    const tracker = new WidgetTracker<RunPage>({ namespace: 'mlops-nb-runs' });

    const addPage = async (runId: string): Promise<RunPage> => {
      const { RunPage } = await import('./widget');
      const page = new RunPage({
        model,
        runId,
        trans,
        themes,
        rendering: { languages, rendermime },
        actions: actionsOf(commands, model, trans, runId)
      });
      await tracker.add(page);
      showPage(shell, page, 'Run');
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
            },
            tab: {
              type: 'string',
              description:
                'The part to show: overview, metrics, params, cells, data,' +
                ' environment, system, artifacts, models or logs.'
            },
            metric: {
              type: 'string',
              description: 'The metric to show; its tab opens.'
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
        const metric = typeof args.metric === 'string' ? args.metric : null;
        if (metric !== null || typeof args.tab === 'string') {
          open.content.go({ tab: textOf(args.tab, 'metrics'), metric });
        }
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

/** What a page has done by others: each of them is a command. */
function actionsOf(
  commands: CommandRegistry,
  model: IMlopsModel,
  trans: TranslationBundle,
  runId: string
): IRunActions {
  const execute = (id: string, args: ReadonlyPartialJSONObject) => {
    void commands.execute(id, args);
  };
  return {
    rename: () => {
      execute(CommandIds.renameRun, { runId });
    },
    remove: () => {
      execute(CommandIds.deleteRun, { runId });
    },
    restore: () => {
      execute(CommandIds.restoreRun, { runId });
    },
    openRun: other => {
      execute(CommandIds.openRun, { runId: other });
    },
    compare: run_ids => {
      execute(CommandIds.openCompare, { run_ids });
    },
    goToCell: (notebook, { cell_id, source }) => {
      const path = servedNotebook(model, notebook, trans);
      if (path !== null) {
        execute(CommandIds.goToCell, { path, cell_id, source });
      }
    },
    showInNotebook: notebook => {
      const path = servedNotebook(model, notebook, trans);
      if (path !== null) {
        execute(CommandIds.showInNotebook, { path, runId });
      }
    }
  };
}
