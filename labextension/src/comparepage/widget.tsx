import { MainAreaWidget } from '@jupyterlab/apputils';
import React from 'react';
import { experimentsIcon } from '../icons';
import type { StoreModel } from '../model';
import { type IPageOptions, PageBody } from '../rendering/pagebody';
import { ComparisonModel } from './model';
import { CompareView, type ICompareActions } from './view';

/** What a compare page needs from the application. */
export interface IComparePageOptions extends IPageOptions {
  model: StoreModel;
  runIds: string[];
  actions: Omit<ICompareActions, 'setRuns'>;
  /** Called when the runs of the page have changed. */
  save: () => void;
}

/**
 * Runs side by side in the main area.
 */
export class ComparePage extends MainAreaWidget<CompareBody> {
  constructor(options: IComparePageOptions) {
    super({ content: new CompareBody(options) });
    this.id = `mlops-nb-compare-${options.runIds.join('-')}`;
    this.toolbar.hide();
    this.title.icon = experimentsIcon;
    this.title.closable = true;
    const { trans } = options;
    const name = () => {
      const { runIds } = this.content;
      this.title.label = trans._n('%1 run', 'Compare %1 runs', runIds.length);
      this.title.caption = this.content.names;
    };
    this.content.changed.connect(name);
    name();
  }

  get runIds(): readonly string[] {
    return this.content.runIds;
  }
}

/**
 * What a compare page shows; it owns its model.
 */
export class CompareBody extends PageBody {
  constructor(private readonly _options: IComparePageOptions) {
    super(_options);
    this.addClass('mlops-nb-ComparePage');
    const { model, runIds } = _options;
    this._model = model.viewers.add(new ComparisonModel(model, runIds));
    this._model.changed.connect(this.redraw, this);
  }

  get changed(): ComparisonModel['changed'] {
    return this._model.changed;
  }

  get runIds(): readonly string[] {
    return this._model.runIds;
  }

  /** The names of the runs, in their order. */
  get names(): string {
    return (this._model.value?.runs ?? []).map(run => run.name).join(' · ');
  }

  /** Show a part of the comparison. */
  select(tab: string): void {
    this._tab = tab;
    this.redraw();
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._model.dispose();
      super.dispose();
    }
  }

  protected override view(): React.JSX.Element {
    return (
      <CompareView
        model={this._model}
        theme={this.theme}
        tab={this._tab}
        select={tab => {
          this.select(tab);
        }}
        actions={{
          ...this._options.actions,
          setRuns: runIds => {
            this._model.setRuns(runIds);
            this._options.save();
            this.redraw();
          }
        }}
      />
    );
  }

  protected override setSeen(isSeen: boolean): void {
    this._model.setActive(isSeen);
  }

  private readonly _model: ComparisonModel;
  private _tab = 'metrics';
}
