import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ILauncher } from '@jupyterlab/launcher';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { CommandIds } from '../commandids';
import { IMlopsChoices, IMlopsModel, IMlopsSidebar } from '../tokens';
import { StatusItem } from './statusitem';

/** The ways to the panel from elsewhere: the launcher and the status bar. */
export const extrasPlugin: JupyterFrontEndPlugin<void> = {
  id: 'mlops-nb:extras',
  description: 'Tells of runs in the status bar and the launcher.',
  autoStart: true,
  requires: [IMlopsModel, IMlopsChoices, IMlopsSidebar],
  optional: [ITranslator, IStatusBar, ILauncher],
  activate: (
    app: JupyterFrontEnd,
    model: IMlopsModel,
    choices: IMlopsChoices,
    _sidebar: IMlopsSidebar,
    translator: ITranslator | null,
    statusBar: IStatusBar | null,
    launcher: ILauncher | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('mlops_nb');
    const command = CommandIds.focusSidebar;
    launcher?.add({
      command,
      args: { isLauncher: true },
      category: trans.__('Other'),
      rank: 10
    });
    if (statusBar) {
      const item = new StatusItem(model, trans, () => {
        void app.commands.execute(command);
      });
      statusBar.registerStatusItem('mlops-nb:status', {
        item,
        align: 'left',
        rank: 60,
        isActive: () => choices.current.statusBar,
        activeStateChanged: choices.changed
      });
    }
  }
};
