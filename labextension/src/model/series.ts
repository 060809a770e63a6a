import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { Api, ISeries } from '../api';
import { messageOf } from '../request';

/** How many metrics one request asks for: addresses have a length. */
const BATCH = 25;

/** What a chart of a part of a series shows. */
interface IWindow {
  steps: readonly [number, number];
  series: ISeries | null;
}

/**
 * The metrics of a run that some chart wants, each thinned by the server to what
 * a chart can show; of a part that is zoomed into, as fine as it gets.
 */
export class SeriesStore implements IDisposable {
  constructor(
    private readonly _api: Api,
    readonly runId: string
  ) {}

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Why the last read failed. */
  get error(): string | null {
    return this._error;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** A series as it was last read, or `null` before. */
  get(key: string): ISeries | null {
    return this._series.get(key) ?? null;
  }

  /** The part of a series that was zoomed into, once it is there. */
  zoomed(key: string): ISeries | null {
    return this._windows.get(key)?.series ?? null;
  }

  /**
   * Say that a chart shows a series from now on.
   *
   * @returns what ends it
   */
  want(key: string): () => void {
    this._wanted.set(key, (this._wanted.get(key) ?? 0) + 1);
    if (!this._series.has(key)) {
      this._missing.add(key);
      // Charts that appear together ask together.
      this._timer ??= window.setTimeout(() => {
        this._timer = null;
        const keys = [...this._missing];
        this._missing.clear();
        void this._read(keys);
      });
    }
    return () => {
      const count = (this._wanted.get(key) ?? 1) - 1;
      if (count > 0) {
        this._wanted.set(key, count);
      } else {
        this._wanted.delete(key);
        this._windows.delete(key);
      }
    };
  }

  /** Read a part of a series finer; `null` goes back to all of it. */
  async zoom(
    key: string,
    steps: readonly [number, number] | null
  ): Promise<void> {
    if (steps === null) {
      this._windows.delete(key);
      this._changed.emit();
      return;
    }
    const window: IWindow = { steps, series: null };
    const before = this._windows.get(key);
    window.series = before?.series ?? null;
    this._windows.set(key, window);
    await this._readWindow(key, window);
  }

  /** Read everything that is wanted again. */
  async refresh(): Promise<void> {
    const keys = [...this._wanted.keys()];
    for (const key of this._series.keys()) {
      if (!this._wanted.has(key)) {
        this._series.delete(key);
      }
    }
    await this._read(keys);
    await Promise.all(
      [...this._windows].map(([key, window]) => this._readWindow(key, window))
    );
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      window.clearTimeout(this._timer ?? undefined);
      Signal.clearData(this);
    }
  }

  private async _read(keys: string[]): Promise<void> {
    try {
      for (let from = 0; from < keys.length; from += BATCH) {
        const found = await this._api.series(
          this.runId,
          keys.slice(from, from + BATCH)
        );
        found.forEach(series => this._series.set(series.key, series));
        this._error = null;
        this._emit();
      }
    } catch (error) {
      this._error = messageOf(error);
      this._emit();
    }
  }

  private async _readWindow(key: string, window: IWindow): Promise<void> {
    try {
      const [series] = await this._api.series(
        this.runId,
        [key],
        1000,
        window.steps
      );
      // A later zoom may have overtaken this one.
      if (series && this._windows.get(key) === window) {
        window.series = series;
        this._emit();
      }
    } catch (error) {
      this._error = messageOf(error);
      this._emit();
    }
  }

  private _emit(): void {
    if (!this._isDisposed) {
      this._changed.emit();
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _series = new Map<string, ISeries>();
  private readonly _windows = new Map<string, IWindow>();
  private readonly _wanted = new Map<string, number>();
  private readonly _missing = new Set<string>();
  private _timer: number | null = null;
  private _error: string | null = null;
  private _isDisposed = false;
}
