import type { Event } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';
import { STORE_CHANGED } from '../api';

/**
 * Probes in a row that must succeed before the fallback ends: the event manager
 * of JupyterLab waits up to 30 s before it connects again.
 */
const STEADY = 4;

/** What the feed listens to, and what it calls. */
export interface ILiveFeedOptions {
  /** The event stream of the server; `null` where the application has none. */
  events: Pick<Event.IManager, 'stream'> | null;
  /** Emitted when JupyterLab loses its server. */
  connectionFailure: ISignal<unknown, Error> | null;
  /** Whether a socket to the event stream opens. */
  probe: () => Promise<boolean>;
  /** How often to look while the event stream cannot be reached (ms). */
  interval: () => number;
  /** Called when the store may have changed. */
  pull: () => Promise<void>;
}

/**
 * Says when the store may have changed.
 *
 * Events of the server say it at once. The feed polls only while no socket to
 * the event stream can be opened, and it pulls once whenever the page becomes
 * visible or the network returns, since events may have been missed.
 */
export class LiveFeed implements IDisposable {
  constructor(private readonly _options: ILiveFeedOptions) {
    _options.events?.stream.connect(this._onEvent, this);
    _options.connectionFailure?.connect(this._onConnectionFailure, this);
    document.addEventListener('visibilitychange', this._onReturn);
    window.addEventListener('online', this._onReturn);
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Whether the feed polls because the event stream is unavailable. */
  get isPolling(): boolean {
    return this._timer !== null;
  }

  /** Find out whether the event stream works; poll while it does not. */
  async check(): Promise<void> {
    const open = this._options.events !== null && (await this._options.probe());
    if (this._isDisposed) {
      return;
    }
    if (!open) {
      this._steady = 0;
      this._timer ??= window.setInterval(
        this._onTick,
        this._options.interval()
      );
    } else if (this._timer !== null && ++this._steady >= STEADY) {
      window.clearInterval(this._timer);
      this._timer = null;
    }
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this._options.events?.stream.disconnect(this._onEvent, this);
    this._options.connectionFailure?.disconnect(
      this._onConnectionFailure,
      this
    );
    document.removeEventListener('visibilitychange', this._onReturn);
    window.removeEventListener('online', this._onReturn);
    if (this._timer !== null) {
      window.clearInterval(this._timer);
      this._timer = null;
    }
  }

  private _onEvent(_: unknown, event: Event.Emission): void {
    // What a hidden page misses it gets at once when it is seen again.
    if (event.schema_id === STORE_CHANGED && !document.hidden) {
      void this._options.pull();
    }
  }

  private _onConnectionFailure(): void {
    if (this._timer === null) {
      void this.check();
    }
  }

  private readonly _onReturn = (): void => {
    if (!document.hidden) {
      void this._options.pull();
    }
  };

  private readonly _onTick = (): void => {
    if (!document.hidden) {
      void this._options.pull();
      void this.check();
    }
  };

  private _isDisposed = false;
  private _timer: number | null = null;
  private _steady = 0;
}
