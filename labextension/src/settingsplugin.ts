import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { Choices } from './settings';
import { IMlopsChoices } from './tokens';

/** Where the settings are: `schema/sidebar.json`. */
const SETTINGS = 'mlops-nb:sidebar';

/** The settings of the extension. */
export const settingsPlugin: JupyterFrontEndPlugin<IMlopsChoices> = {
  id: 'mlops-nb:settings',
  description: 'Reads the settings of the experiments panel.',
  autoStart: true,
  provides: IMlopsChoices,
  optional: [ISettingRegistry],
  activate: (
    _: JupyterFrontEnd,
    registry: ISettingRegistry | null
  ): IMlopsChoices => {
    const choices = new Choices();
    if (registry) {
      // Without its schema the panel still works, by the defaults.
      void registry.load(SETTINGS).then(
        settings => {
          choices.follow(settings);
        },
        () => undefined
      );
    }
    return choices;
  }
};
