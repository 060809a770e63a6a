import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Api } from '../api';
import { addRunCommands } from '../commands';
import { Requester } from '../request';
import { IMlopsModel } from '../tokens';
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
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): IMlopsModel => {
    const { serviceManager } = app;
    const api = new Api(new Requester(serviceManager.serverSettings));
    const model = new StoreModel(api);
    const feed = new LiveFeed({
      events: serviceManager.events,
      connectionFailure: serviceManager.connectionFailure,
      probe: () => api.canSubscribe(),
      pull: () => model.pull()
    });
    const trans = (translator ?? nullTranslator).load('mlops_nb');
    addRunCommands(app, model, trans, palette);
    void app.started.then(() => {
      void feed.check();
      return model.refresh();
    });
    return model;
  }
};
