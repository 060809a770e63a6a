import type { IThemeManager } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import React from 'react';
import { TransContext } from '../components/trans';
import { type IRendering, RenderingContext } from './context';

/** What every page needs from the application. */
export interface IPageOptions {
  trans: TranslationBundle;
  themes: IThemeManager | null;
  rendering: IRendering;
}

/**
 * What a page in the main area shows: it is drawn again when its state changes,
 * and knows whether somebody sees it and which theme is on.
 */
export abstract class PageBody extends ReactWidget {
  constructor(private readonly _page: IPageOptions) {
    super();
    this.addClass('mlops-nb-Page');
    _page.themes?.themeChanged.connect(this._onThemeChanged, this);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._page.themes?.themeChanged.disconnect(this._onThemeChanged, this);
      super.dispose();
    }
  }

  /** A new number with every theme. */
  protected get theme(): number {
    return this._theme;
  }

  protected abstract view(): React.JSX.Element;

  /** Draw again. */
  protected redraw(): void {
    this._stateChanged.emit();
  }

  /** Called when the page comes into sight and when it leaves. */
  protected abstract setSeen(isSeen: boolean): void;

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this.setSeen(true);
  }

  protected override onAfterHide(msg: Message): void {
    this.setSeen(false);
    super.onAfterHide(msg);
  }

  protected override render(): React.JSX.Element {
    return (
      <TransContext.Provider value={this._page.trans}>
        <RenderingContext.Provider value={this._page.rendering}>
          <UseSignal signal={this._stateChanged}>{() => this.view()}</UseSignal>
        </RenderingContext.Provider>
      </TransContext.Provider>
    );
  }

  private _onThemeChanged(): void {
    this._theme++;
    this.redraw();
  }

  private readonly _stateChanged = new Signal<this, void>(this);
  private _theme = 0;
}
