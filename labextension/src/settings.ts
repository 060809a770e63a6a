import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { type ISignal, Signal } from '@lumino/signaling';

/** The sections of the sidebar that can be left out. */
export type SectionName = 'now' | 'notebook' | 'runners' | 'models' | 'project';

/** What the user has chosen; `schema/sidebar.json` tells what each means. */
export interface IChoices {
  sections: readonly SectionName[];
  metric: string;
  params: readonly string[];
  showArchived: boolean;
  statusBar: boolean;
  pollSeconds: number;
}

const DEFAULTS: IChoices = {
  sections: ['now', 'notebook', 'runners', 'models', 'project'],
  metric: '',
  params: [],
  showArchived: false,
  statusBar: true,
  pollSeconds: 10
};

/**
 * The settings of the sidebar: the defaults until JupyterLab has read them.
 */
export class Choices {
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get current(): IChoices {
    return this._current;
  }

  /** Follow the settings of the user. */
  follow(settings: ISettingRegistry.ISettings): void {
    const read = () => {
      this._current = { ...DEFAULTS, ...(settings.composite as object) };
      this._changed.emit();
    };
    settings.changed.connect(read);
    read();
  }

  private readonly _changed = new Signal<this, void>(this);
  private _current = DEFAULTS;
}
