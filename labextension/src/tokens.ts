import { Token } from '@lumino/coreutils';
import type { IWidgetTracker } from '@jupyterlab/apputils';
import type { StoreModel } from './model';
import type { RunPage } from './runpage/widget';
import type { Choices } from './settings';
import type { Sidebar } from './sidebar/sidebar';

/** The live model of the project's runs. */
export type IMlopsModel = StoreModel;
export const IMlopsModel = new Token<IMlopsModel>(
  'mlops-nb:IMlopsModel',
  'The runs of the project, kept current.'
);

/** What the user has chosen in the settings. */
export type IMlopsChoices = Choices;
export const IMlopsChoices = new Token<IMlopsChoices>(
  'mlops-nb:IMlopsChoices',
  'The settings of the experiments panel.'
);

/** The experiments panel. */
export type IMlopsSidebar = Sidebar;
export const IMlopsSidebar = new Token<IMlopsSidebar>(
  'mlops-nb:IMlopsSidebar',
  'The experiments panel in the left area.'
);

/** The tracker of the open run pages. */
export type IRunPageTracker = IWidgetTracker<RunPage>;
export const IRunPageTracker = new Token<IRunPageTracker>(
  'mlops-nb:IRunPageTracker',
  'The open run pages.'
);
