import { MainAreaWidget } from '@jupyterlab/apputils';
import React from 'react';
import { experimentsIcon } from '../icons';
import type { StoreModel } from '../model';
import { type IPageOptions, PageBody } from '../rendering/pagebody';
import { RegisteredModelModel } from './model';
import { ModelView } from './view';

/** What a model page needs from the application. */
export interface IModelPageOptions extends IPageOptions {
  model: StoreModel;
  name: string;
  openRun: (runId: string) => void;
}

/**
 * A registered model in the main area.
 */
export class ModelPage extends MainAreaWidget<ModelBody> {
  constructor(options: IModelPageOptions) {
    super({ content: new ModelBody(options) });
    this.name = options.name;
    this.id = `mlops-nb-model-${options.name}`;
    this.toolbar.hide();
    this.title.icon = experimentsIcon;
    this.title.closable = true;
    this.title.label = options.name;
  }

  readonly name: string;
}

/**
 * What a model page shows; it owns its model.
 */
export class ModelBody extends PageBody {
  constructor(private readonly _options: IModelPageOptions) {
    super(_options);
    this.addClass('mlops-nb-ModelPage');
    const { model, name } = _options;
    this._model = model.viewers.add(new RegisteredModelModel(model, name));
    this._model.changed.connect(this.redraw, this);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._model.dispose();
      super.dispose();
    }
  }

  protected override view(): React.JSX.Element {
    return <ModelView model={this._model} openRun={this._options.openRun} />;
  }

  protected override setSeen(isSeen: boolean): void {
    this._model.setActive(isSeen);
  }

  private readonly _model: RegisteredModelModel;
}
