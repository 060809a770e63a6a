import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import {
  IThemeManager,
  Notification,
  WidgetTracker
} from '@jupyterlab/apputils';
import { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { CommandIds } from '../commandids';
import { servedNotebook } from '../served';
import { showPage } from '../rendering/place';
import { IMlopsModel } from '../tokens';
import type { ComparePage } from './widget';

const MOST_RUNS = 50;

/**
 * A page in the main area for each comparison that is opened.
 */
export const comparePagePlugin: JupyterFrontEndPlugin<void> = {
  id: 'mlops-nb:compare-page',
  description: 'Shows 2 to 50 runs side by side in the main area.',
  autoStart: true,
  requires: [IMlopsModel],
  optional: [
    ITranslator,
    ILayoutRestorer,
    IThemeManager,
    IEditorLanguageRegistry,
    IRenderMimeRegistry
  ],
  activate: (
    app: JupyterFrontEnd,
    model: IMlopsModel,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null,
    themes: IThemeManager | null,
    languages: IEditorLanguageRegistry | null,
    rendermime: IRenderMimeRegistry | null
  ): void => {
    const { commands, shell } = app;
    const trans = (translator ?? nullTranslator).load('mlops_nb');
    const tracker = new WidgetTracker<ComparePage>({
      namespace: 'mlops-nb-comparisons'
    });

    const addPage = async (runIds: string[]): Promise<ComparePage> => {
      const { ComparePage } = await import('./widget');
      const page = new ComparePage({
        model,
        runIds,
        trans,
        themes,
        rendering: { languages, rendermime },
        save: () => {
          void tracker.save(page);
        },
        actions: {
          openRun: (runId, metric) => {
            void commands.execute(CommandIds.openRun, {
              runId,
              ...(metric === undefined ? {} : { metric })
            });
          },
          goToCell: (run, cell) => {
            const { tags } = model.records.get(run.run_id) ?? { tags: {} };
            const notebook = (tags as Partial<Record<string, string>>)[
              'mlops.notebook'
            ];
            if (notebook === undefined) {
              Notification.warning(
                trans.__('Run %1 did not run in a notebook.', run.name)
              );
              return;
            }
            const path = servedNotebook(model, notebook, trans);
            if (path === null) {
              return;
            }
            void commands.execute(CommandIds.goToCell, {
              path,
              cell_id: cell.cell_id,
              source: cell.source
            });
          }
        }
      });
      await tracker.add(page);
      showPage(shell, page, 'Comparison');
      return page;
    };

    commands.addCommand(CommandIds.openCompare, {
      label: trans.__('Compare Runs'),
      describedBy: {
        args: {
          type: 'object',
          required: ['run_ids'],
          properties: {
            run_ids: {
              type: 'array',
              items: { type: 'string' },
              minItems: 2,
              maxItems: MOST_RUNS,
              description: 'The runs; the first is the base.'
            },
            what: {
              type: 'string',
              description: 'The part to show first, such as cells.'
            }
          }
        }
      },
      execute: async args => {
        const given = Array.isArray(args.run_ids) ? args.run_ids : [];
        const runIds = [...new Set(given.map(String))];
        if (runIds.length < 2 || runIds.length > MOST_RUNS) {
          Notification.warning(
            trans.__('Choose 2 to %1 runs to compare.', MOST_RUNS)
          );
          return;
        }
        const open =
          tracker.find(page => page.runIds.join() === runIds.join()) ??
          (await addPage(runIds));
        shell.activateById(open.id);
        if (typeof args.what === 'string') {
          open.content.select(args.what);
        }
      }
    });

    if (restorer) {
      void restorer.restore(tracker, {
        command: CommandIds.openCompare,
        args: page => ({ run_ids: [...page.runIds] }),
        name: page => page.runIds.join('-')
      });
    }
  }
};
