import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import React from 'react';
import { TransContext } from '../components/trans';
import { statusWord } from '../components/status';
import { experimentsIcon } from '../icons';
import type { IRunChange, RunRecords, StoreModel } from '../model';
import { isLive } from '../model';
import { SidebarView } from './view';
import { SidebarState } from './viewstate';

/** A run that started longer ago than this is old news. */
const NEWS_MS = 60_000;

/** What the panel needs from the application. */
export interface ISidebarOptions {
  model: StoreModel;
  trans: TranslationBundle;
  openRun: (runId: string) => void;
  refresh: () => void;
}

/**
 * The experiments panel.
 */
export class Sidebar extends ReactWidget {
  constructor(private readonly _options: ISidebarOptions) {
    super();
    const { model, trans } = _options;
    this.id = 'mlops-nb-sidebar';
    this.addClass('mlops-nb-Sidebar');
    this.title.icon = experimentsIcon;
    this.title.caption = trans.__('Experiments');
    this.node.tabIndex = -1;
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Experiments'));
    model.records.changed.connect(this._onRunChanged, this);
  }

  /** Put the keyboard into the rows; until there are any, into the panel. */
  focusRows(): void {
    const row = this.node.querySelector<HTMLElement>(
      '.mlops-nb-tree [tabindex="0"]'
    );
    (row ?? this.node).focus();
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._options.model.records.changed.disconnect(this._onRunChanged, this);
      super.dispose();
    }
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this.node.addEventListener('keydown', this._onKeyDown);
    this._state.isVisible = this.isVisible;
  }

  protected override onBeforeDetach(msg: Message): void {
    this.node.removeEventListener('keydown', this._onKeyDown);
    super.onBeforeDetach(msg);
  }

  protected override onActivateRequest(msg: Message): void {
    super.onActivateRequest(msg);
    void this.renderPromise?.then(() => {
      this.focusRows();
    });
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._state.isVisible = true;
  }

  protected override onAfterHide(msg: Message): void {
    this._state.isVisible = false;
    super.onAfterHide(msg);
  }

  protected override render(): React.JSX.Element {
    const { model, trans, openRun, refresh } = this._options;
    return (
      <TransContext.Provider value={trans}>
        <UseSignal signal={model.changed}>
          {() => (
            <UseSignal signal={this._state.changed}>
              {() => (
                <SidebarView
                  model={model}
                  state={this._state}
                  openRun={openRun}
                  refresh={refresh}
                />
              )}
            </UseSignal>
          )}
        </UseSignal>
      </TransContext.Provider>
    );
  }

  private readonly _onKeyDown = (event: KeyboardEvent): void => {
    const isTyping = event.target instanceof HTMLInputElement;
    if (event.key === '/' && !isTyping) {
      const input = this.node.querySelector('input');
      if (input) {
        event.preventDefault();
        input.focus();
      }
    } else if (event.key === 'ArrowDown' && isTyping) {
      event.preventDefault();
      this.focusRows();
    }
  };

  private _onRunChanged(_: RunRecords, { run, previous }: IRunChange): void {
    const { trans } = this._options;
    if (previous === null) {
      if (isLive(run) && Date.now() - run.start_time < NEWS_MS) {
        this._state.announce(trans.__('Run %1 started', run.name));
      }
    } else if (previous.status !== run.status) {
      const word = statusWord(run.status, trans);
      this._state.announce(trans.__('Run %1: %2', run.name, word));
    }
  }

  private readonly _state = new SidebarState();
}
