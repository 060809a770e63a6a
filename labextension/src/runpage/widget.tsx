import { type IThemeManager, MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import React from 'react';
import { TransContext } from '../components/trans';
import { experimentsIcon } from '../icons';
import type { RunDetail, StoreModel } from '../model';
import { type IRendering, RenderingContext } from '../rendering/context';
import { type IRunActions, type IRunPlace, RunView } from './view';

/** What a run page needs from the application. */
export interface IRunPageOptions {
  model: StoreModel;
  runId: string;
  trans: TranslationBundle;
  themes: IThemeManager | null;
  rendering: IRendering;
  actions: IRunActions;
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
    this.addClass('mlops-nb-Page');
    this.addClass('mlops-nb-RunPage');
    const { model, themes, runId } = _options;
    this._detail = model.detail(runId);
    this._detail.changed.connect(this._onChanged, this);
    model.changed.connect(this._onStoreChanged, this);
    themes?.themeChanged.connect(this._onThemeChanged, this);
    void this._detail.load();
  }

  /** Go to a part of the run. */
  go(place: IRunPlace): void {
    this._place = place;
    this._viewChanged.emit();
  }

  override dispose(): void {
    if (!this.isDisposed) {
      const { model, themes } = this._options;
      themes?.themeChanged.disconnect(this._onThemeChanged, this);
      model.changed.disconnect(this._onStoreChanged, this);
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
    const { model, trans, rendering, actions } = this._options;
    return (
      <TransContext.Provider value={trans}>
        <RenderingContext.Provider value={rendering}>
          <UseSignal signal={this._detail.changed}>
            {() => (
              <UseSignal signal={this._viewChanged}>
                {() => (
                  <RunView
                    detail={this._detail}
                    model={model}
                    isVisible={this._isVisible}
                    theme={this._theme}
                    place={this._place}
                    go={place => {
                      this.go(place);
                    }}
                    actions={actions}
                  />
                )}
              </UseSignal>
            )}
          </UseSignal>
        </RenderingContext.Provider>
      </TransContext.Provider>
    );
  }

  private _onChanged(): void {
    this.title.label =
      this._detail.run?.name ?? this._options.runId.slice(0, 8);
  }

  /** After a store was replaced, or the server came back, read the run again. */
  private _onStoreChanged(model: StoreModel): void {
    if (this._detail.run === null && model.phase === 'ready') {
      if (this._isMissing) {
        return;
      }
      this._isMissing = true;
      void this._detail.load();
    } else {
      this._isMissing = false;
    }
  }

  private _onThemeChanged(): void {
    this._theme++;
    this._viewChanged.emit();
  }

  private _setVisible(isVisible: boolean): void {
    this._isVisible = isVisible;
    this._detail.setActive(isVisible);
    this._viewChanged.emit();
  }

  private readonly _detail: RunDetail;
  private readonly _viewChanged = new Signal<this, void>(this);
  private _place: IRunPlace = { tab: 'overview' };
  private _isVisible = true;
  private _isMissing = false;
  private _theme = 0;
}
