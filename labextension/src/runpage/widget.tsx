import { type IThemeManager, MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import React from 'react';
import { CommandIds } from '../commandids';
import { TransContext } from '../components/trans';
import { experimentsIcon } from '../icons';
import type { RunDetail, StoreModel } from '../model';
import { RunView } from './view';

/** What a run page needs from the application. */
export interface IRunPageOptions {
  model: StoreModel;
  runId: string;
  trans: TranslationBundle;
  commands: CommandRegistry;
  themes: IThemeManager | null;
}

/**
 * One run in the main area.
 */
export class RunPage extends MainAreaWidget<RunBody> {
  constructor(options: IRunPageOptions) {
    const content = new RunBody(options);
    super({ content });
    this.runId = options.runId;
    this.id = `mlops-nb-run-${options.runId}`;
    this.toolbar.hide();
    this.title.icon = experimentsIcon;
    this.title.closable = true;
    this.title.label = options.runId.slice(0, 8);
    content.title.changed.connect(() => {
      this.title.label = content.title.label;
      this.title.caption = content.title.label;
    }, this);
  }

  readonly runId: string;
}

/**
 * What a run page shows; it owns the detail model of its run.
 */
export class RunBody extends ReactWidget {
  constructor(private readonly _options: IRunPageOptions) {
    super();
    this.addClass('mlops-nb-RunPage');
    this._detail = _options.model.detail(_options.runId);
    this._detail.changed.connect(this._onChanged, this);
    _options.themes?.themeChanged.connect(this._onThemeChanged, this);
    void this._detail.load();
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._options.themes?.themeChanged.disconnect(this._onThemeChanged, this);
      this._detail.dispose();
      super.dispose();
    }
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._setVisible(true);
  }

  protected override onAfterHide(msg: Message): void {
    this._setVisible(false);
    super.onAfterHide(msg);
  }

  protected override render(): React.JSX.Element {
    const { model, runId, trans, commands } = this._options;
    return (
      <TransContext.Provider value={trans}>
        <UseSignal signal={this._detail.changed}>
          {() => (
            <UseSignal signal={this._viewChanged}>
              {() => (
                <RunView
                  detail={this._detail}
                  model={model}
                  isVisible={this._isVisible}
                  theme={this._theme}
                  rename={() => {
                    void commands.execute(CommandIds.renameRun, { runId });
                  }}
                  remove={() => {
                    void commands.execute(CommandIds.deleteRun, { runId });
                  }}
                  restore={() => {
                    void commands.execute(CommandIds.restoreRun, { runId });
                  }}
                />
              )}
            </UseSignal>
          )}
        </UseSignal>
      </TransContext.Provider>
    );
  }

  private _onChanged(): void {
    this.title.label =
      this._detail.run?.name ?? this._options.runId.slice(0, 8);
  }

  private _onThemeChanged(): void {
    this._theme++;
    this._viewChanged.emit();
  }

  private _setVisible(isVisible: boolean): void {
    this._isVisible = isVisible;
    this._viewChanged.emit();
  }

  private readonly _detail: RunDetail;
  private readonly _viewChanged = new Signal<this, void>(this);
  private _isVisible = true;
  private _theme = 0;
}
