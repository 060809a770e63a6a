import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { IThemeManager, WidgetTracker } from '@jupyterlab/apputils';
import { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { CommandIds } from '../commandids';
import { showPage } from '../rendering/place';
import { IMlopsModel } from '../tokens';
import { textOf } from '../values';
import type { ModelPage } from './widget';

/**
 * A page in the main area for each registered model that is opened.
 */
export const modelPagePlugin: JupyterFrontEndPlugin<void> = {
  id: 'mlops-nb:model-page',
  description: 'Shows a registered model: versions, aliases, signature.',
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
    const tracker = new WidgetTracker<ModelPage>({
      namespace: 'mlops-nb-models'
    });

    const addPage = async (name: string): Promise<ModelPage> => {
      const { ModelPage } = await import('./widget');
      const page = new ModelPage({
        model,
        name,
        trans,
        themes,
        rendering: { languages, rendermime },
        openRun: runId => {
          void commands.execute(CommandIds.openRun, { runId });
        }
      });
      await tracker.add(page);
      showPage(shell, page, 'Model');
      return page;
    };

    commands.addCommand(CommandIds.openModel, {
      label: trans.__('Open Model'),
      describedBy: {
        args: {
          type: 'object',
          required: ['name'],
          properties: {
            name: { type: 'string', description: 'The registered model.' }
          }
        }
      },
      execute: async args => {
        const name = textOf(args.name);
        if (name === '') {
          return;
        }
        const page =
          tracker.find(open => open.name === name) ?? (await addPage(name));
        shell.activateById(page.id);
      }
    });

    if (restorer) {
      void restorer.restore(tracker, {
        command: CommandIds.openModel,
        args: page => ({ name: page.name }),
        name: page => page.name
      });
    }
  }
};
