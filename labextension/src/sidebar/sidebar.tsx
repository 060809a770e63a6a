import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';
import React from 'react';
import { TransContext } from '../components/trans';
import { statusWord } from '../components/status';
import { experimentsIcon } from '../icons';
import type { IRunChange, RunRecords } from '../model';
import { isLive } from '../model';
import type { IRunner } from '../runnerapi';
import type { ISidebarContext } from './context';
import { stateWord } from './runnerrow';
import { SidebarView } from './view';

/** A run that started longer ago than this is old news. */
const NEWS_MS = 60_000;
/** Between two reads of the registry, which tells nobody when it changes. */
const MODELS_MS = 10_000;

/**
 * The experiments panel.
 *
 * While it is hidden it draws nothing, and does not keep the model current.
 */
export class Sidebar extends ReactWidget {
  constructor(
    private readonly _context: ISidebarContext,
    private readonly _trans: TranslationBundle
  ) {
    super();
    const { model, choices } = _context;
    this.id = 'mlops-nb-sidebar';
    this.addClass('mlops-nb-Sidebar');
    this.title.icon = experimentsIcon;
    this.title.caption = _trans.__('Experiments');
    this.node.tabIndex = -1;
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', _trans.__('Experiments'));
    model.records.changed.connect(this._onRunChanged, this);
    model.changed.connect(this._onModelChanged, this);
    model.selection.changed.connect(this._touch, this);
    choices.changed.connect(this._touch, this);
    _context.endpoints.changed.connect(this._touch, this);
    _context.runners.changed.connect(this._onRunnersChanged, this);
  }

  /** Put the keyboard into the rows; until there are any, into the panel. */
  focusRows(): void {
    const row = this.node.querySelector<HTMLElement>(
      '.mlops-nb-tree [tabindex="0"]'
    );
    (row ?? this.node).focus();
  }

  /** Put the keyboard into the filter. */
  focusFilter(): void {
    this.node.querySelector<HTMLElement>('.mlops-nb-filter input')?.focus();
  }

  override dispose(): void {
    if (!this.isDisposed) {
      const { model, choices } = this._context;
      this._viewer?.dispose();
      model.records.changed.disconnect(this._onRunChanged, this);
      model.changed.disconnect(this._onModelChanged, this);
      model.selection.changed.disconnect(this._touch, this);
      choices.changed.disconnect(this._touch, this);
      this._context.endpoints.changed.disconnect(this._touch, this);
      this._context.runners.changed.disconnect(this._onRunnersChanged, this);
      super.dispose();
    }
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this.node.addEventListener('keydown', this._onKeyDown);
    if (this.isVisible) {
      this._show();
    }
  }

  protected override onBeforeDetach(msg: Message): void {
    this.node.removeEventListener('keydown', this._onKeyDown);
    this._hide();
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
    this._show();
  }

  protected override onAfterHide(msg: Message): void {
    this._hide();
    super.onAfterHide(msg);
  }

  protected override render(): React.JSX.Element {
    const context = this._context;
    return (
      <TransContext.Provider value={this._trans}>
        <UseSignal signal={context.state.changed}>
          {() => <SidebarView context={context} />}
        </UseSignal>
      </TransContext.Provider>
    );
  }

  private _show(): void {
    const { endpoints, model, runners, state } = this._context;
    state.isVisible = true;
    endpoints.isSeen = true;
    runners.isSeen = true;
    this._viewer ??= model.viewers.add(new Viewer());
    this._readModels();
  }

  private _hide(): void {
    this._context.state.isVisible = false;
    this._context.endpoints.isSeen = false;
    this._context.runners.isSeen = false;
    this._viewer?.dispose();
    this._viewer = null;
  }

  private _touch(): void {
    this._context.state.touch();
  }

  private _onModelChanged(): void {
    this._touch();
    if (this._viewer) {
      this._readModels();
    }
  }

  private _readModels(): void {
    const { model } = this._context;
    const isDue = Date.now() - this._modelsReadAt > MODELS_MS;
    if (isDue && model.status !== null && model.phase === 'ready') {
      this._modelsReadAt = Date.now();
      void model.loadModels();
    }
  }

  private readonly _onKeyDown = (event: KeyboardEvent): void => {
    const isTyping =
      event.target instanceof HTMLInputElement ||
      event.target instanceof HTMLSelectElement;
    if (event.key === '/' && !isTyping) {
      event.preventDefault();
      this.focusFilter();
    } else if (
      event.key === 'ArrowDown' &&
      event.target instanceof HTMLInputElement &&
      // Else the arrows choose a hint.
      event.target.getAttribute('aria-expanded') !== 'true'
    ) {
      event.preventDefault();
      this.focusRows();
    }
  };

  private _onRunChanged(_: RunRecords, { run, previous }: IRunChange): void {
    const { state } = this._context;
    const trans = this._trans;
    if (previous === null) {
      if (isLive(run) && Date.now() - run.start_time < NEWS_MS) {
        state.announce(trans.__('Run %1 started', run.name));
      }
    } else if (previous.status !== run.status) {
      const word = statusWord(run.status, trans);
      state.announce(trans.__('Run %1: %2', run.name, word));
    }
  }

  private _onRunnersChanged(): void {
    const { runners, state } = this._context;
    const trans = this._trans;
    const seen = new Map(runners.list.map(one => [one.id, one]));
    const before = this._runners;
    this._runners = seen;
    const news: string[] = [];
    const now = Date.now() + runners.api.ahead;
    for (const one of seen.values()) {
      const word = stateWord(one, trans);
      const old = before.get(one.id);
      if (
        old
          ? stateWord(old, trans) !== word
          : now - one.created * 1000 < NEWS_MS
      ) {
        news.push(trans.__('Runner %1: %2', one.name, word));
      }
    }
    for (const [id, one] of before) {
      if (!seen.has(id)) {
        news.push(trans.__('Runner %1 is gone', one.name));
      }
    }
    if (news.length > 0) {
      state.announce(news.join('. '));
    }
    this._touch();
  }

  private _viewer: Viewer | null = null;
  /** As they were told last, by id. */
  private _runners: ReadonlyMap<string, IRunner> = new Map();
  private _modelsReadAt = 0;
}

/** Stands for a panel that is seen. */
class Viewer implements IDisposable {
  isDisposed = false;

  dispose(): void {
    this.isDisposed = true;
  }
}
