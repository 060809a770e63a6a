import { MainAreaWidget } from '@jupyterlab/apputils';
import React from 'react';
import { experimentsIcon } from '../icons';
import type { RunDetail, StoreModel } from '../model';
import { type IPageOptions, PageBody } from '../rendering/pagebody';
import { type IRunActions, type IRunPlace, RunView } from './view';

/** What a run page needs from the application. */
export interface IRunPageOptions extends IPageOptions {
  model: StoreModel;
  runId: string;
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
export class RunBody extends PageBody {
  constructor(private readonly _options: IRunPageOptions) {
    super(_options);
    this.addClass('mlops-nb-RunPage');
    const { model, runId } = _options;
    this._detail = model.detail(runId);
    this._detail.changed.connect(this._onChanged, this);
    model.changed.connect(this._onStoreChanged, this);
    void this._detail.load();
  }

  /** Go to a part of the run. */
  go(place: IRunPlace): void {
    this._place = place;
    this.redraw();
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._options.model.changed.disconnect(this._onStoreChanged, this);
      this._detail.dispose();
      super.dispose();
    }
  }

  protected override view(): React.JSX.Element {
    const { model, actions } = this._options;
    return (
      <RunView
        detail={this._detail}
        model={model}
        isVisible={this._isSeen}
        theme={this.theme}
        place={this._place}
        go={place => {
          this.go(place);
        }}
        actions={actions}
      />
    );
  }

  protected override setSeen(isSeen: boolean): void {
    this._isSeen = isSeen;
    this._detail.setActive(isSeen);
    this.redraw();
  }

  private _onChanged(): void {
    this.title.label =
      this._detail.run?.name ?? this._options.runId.slice(0, 8);
    this.redraw();
  }

  /** After a store was replaced, or the server came back, read the run again. */
  private _onStoreChanged(model: StoreModel): void {
    if (this._detail.run !== null || model.phase !== 'ready') {
      this._isAsked = false;
    } else if (!this._isAsked) {
      this._isAsked = true;
      void this._detail.load();
    }
  }

  private readonly _detail: RunDetail;
  private _place: IRunPlace = { tab: 'overview' };
  private _isSeen = true;
  private _isAsked = false;
}
