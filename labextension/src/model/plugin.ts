import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Api } from '../api';
import { addEditCommands } from '../actions/edit';
import { CommandIds } from '../commandids';
import { RunActions } from '../commands';
import { Requester } from '../request';
import { IMlopsChoices, IMlopsModel } from '../tokens';
import { LiveFeed } from './livefeed';
import { StoreModel } from './store';

/**
 * The live model of the project's runs, and the commands that need it alone.
 */
export const modelPlugin: JupyterFrontEndPlugin<IMlopsModel> = {
  id: 'mlops-nb:model',
  description: "Keeps the runs of the project's store current.",
  autoStart: true,
  provides: IMlopsModel,
  optional: [ITranslator, ICommandPalette, IMlopsChoices],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    choices: IMlopsChoices | null
  ): IMlopsModel => {
    const { serviceManager } = app;
    const api = new Api(new Requester(serviceManager.serverSettings));
    const model = new StoreModel(api);
    const feed = new LiveFeed({
      events: serviceManager.events,
      connectionFailure: serviceManager.connectionFailure,
      probe: () => api.canSubscribe(),
      interval: () => (choices?.current.pollSeconds ?? 10) * 1000,
      pull: () => model.pull()
    });
    const trans = (translator ?? nullTranslator).load('mlops_nb');
    addEditCommands(new RunActions(app, model, trans, palette));
    app.commands.addCommand(CommandIds.refresh, {
      label: trans.__('Refresh Experiments'),
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => model.refresh()
    });
    palette?.addItem({
      command: CommandIds.refresh,
      category: trans.__('Experiments')
    });
    void app.started.then(() => {
      void feed.check();
      return model.refresh();
    });
    return model;
  }
};
