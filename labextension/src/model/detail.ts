import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { Api, IArtifact, ICell, IRun, ISeries } from '../api';
import { messageOf } from '../request';
import type { IRunChange, RunRecords } from './records';
import type { Phase } from './runlist';

/** One part of a run page: its state and, once read, its value. */
export interface ILoadable<T> {
  phase: Phase;
  /** The last value read; kept while a newer one is on its way. */
  value: T | null;
  error: string | null;
}

export type DetailPart = 'series' | 'cells' | 'artifacts';

/** Between two reads of the same run, so that fast logging costs little. */
const QUIET_MS = 400;

/**
 * Everything about one run, read when a view asks for it and again whenever the
 * run changes.
 */
export class RunDetail implements IDisposable {
  constructor(
    private readonly _records: RunRecords,
    private readonly _api: Api,
    readonly runId: string
  ) {
    _records.changed.connect(this._onRunChanged, this);
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  get run(): IRun | null {
    return this._records.get(this.runId);
  }

  /** Why the run cannot be shown. */
  get error(): string | null {
    return this._error;
  }

  get series(): ILoadable<ISeries[]> {
    return this._series;
  }

  get cells(): ILoadable<ICell[]> {
    return this._cells;
  }

  get artifacts(): ILoadable<IArtifact[]> {
    return this._artifacts;
  }

  /** Read the run itself, and again every part that a view has asked for. */
  async load(): Promise<void> {
    try {
      const run = await this._api.run(this.runId);
      this._error = null;
      this._records.merge([run]);
    } catch (error) {
      this._error = messageOf(error);
    }
    this._emit();
    await this._readParts();
  }

  /** Ask for a part; it stays current from now on. */
  need(part: DetailPart): void {
    if (!this._needed.has(part)) {
      this._needed.add(part);
      void this._read(part);
    }
  }

  /** Read a part again after it failed. */
  async retry(part: DetailPart): Promise<void> {
    await this._read(part);
  }

  artifactUrl(path: string): string {
    return this._api.artifactUrl(this.runId, path);
  }

  artifactBytes(path: string): Promise<ArrayBuffer> {
    return this._api.artifactBytes(this.runId, path);
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      window.clearTimeout(this._timer ?? undefined);
      this._records.changed.disconnect(this._onRunChanged, this);
      Signal.clearData(this);
    }
  }

  private _onRunChanged(_: RunRecords, { run, previous }: IRunChange): void {
    if (run.run_id !== this.runId) {
      return;
    }
    this._emit();
    if (previous && this._timer === null) {
      this._timer = window.setTimeout(() => {
        this._timer = null;
        this._reads = this._reads.then(() => this._readParts());
      }, QUIET_MS);
    }
  }

  private async _readParts(): Promise<void> {
    await Promise.all([...this._needed].map(part => this._read(part)));
  }

  private async _read(part: DetailPart): Promise<void> {
    if (part === 'series') {
      await this._fill(this._series, () => this._api.series(this.runId));
    } else if (part === 'cells') {
      await this._fill(this._cells, () => this._api.cells(this.runId));
    } else {
      await this._fill(this._artifacts, () => this._api.artifacts(this.runId));
    }
  }

  private async _fill<T>(
    part: ILoadable<T>,
    read: () => Promise<T>
  ): Promise<void> {
    if (part.value === null) {
      part.phase = 'loading';
      this._emit();
    }
    try {
      part.value = await read();
      part.phase = 'ready';
      part.error = null;
    } catch (error) {
      part.phase = 'error';
      part.error = messageOf(error);
    }
    this._emit();
  }

  private _emit(): void {
    if (!this._isDisposed) {
      this._changed.emit();
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _needed = new Set<DetailPart>();
  private readonly _series = unread<ISeries[]>();
  private readonly _cells = unread<ICell[]>();
  private readonly _artifacts = unread<IArtifact[]>();
  private _isDisposed = false;
  private _error: string | null = null;
  private _timer: number | null = null;
  private _reads: Promise<void> = Promise.resolve();
}

function unread<T>(): ILoadable<T> {
  return { phase: 'loading', value: null, error: null };
}
