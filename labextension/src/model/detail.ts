import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { Api, IArtifact, ICell, IRun, IRunPatch } from '../api';
import type {
  IComparison,
  IEnvironment,
  IModelDescription,
  IProvenance,
  ResultName
} from '../pageapi';
import { messageOf } from '../request';
import type { IRunChange, RunRecords } from './records';
import type { Phase } from './runlist';
import { SeriesStore } from './series';

/** One part of a run page: its state and, once read, its value. */
export interface ILoadable<T> {
  phase: Phase;
  /** The last value read; kept while a newer one is on its way. */
  value: T | null;
  error: string | null;
}

/** The parts of a run, and what each of them is. */
export interface IDetailParts {
  cells: ICell[];
  artifacts: IArtifact[];
  environment: IEnvironment;
  models: IModelDescription[];
  /** What changed since the attempt before; `null` without one. */
  progress: IComparison | null;
}

export type DetailPart = keyof IDetailParts;

/** Between two reads of the same run, so that fast logging costs little. */
const QUIET_MS = 400;

/**
 * Everything about one run, read when a view asks for it and again whenever the
 * run changes, but not while nobody sees it.
 */
export class RunDetail implements IDisposable {
  constructor(
    private readonly _records: RunRecords,
    private readonly _api: Api,
    readonly runId: string
  ) {
    this.series = new SeriesStore(_api, runId);
    this.series.changed.connect(this._emit, this);
    _records.changed.connect(this._onRunChanged, this);
  }

  /** The metrics, for charts. */
  readonly series: SeriesStore;

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

  /** A part as it was last read. */
  part<P extends DetailPart>(part: P): ILoadable<IDetailParts[P]> {
    return this._parts[part];
  }

  /** Whether somebody sees the run; while nobody does, nothing is read. */
  setActive(isActive: boolean): void {
    this._isActive = isActive;
    if (isActive && this._isStale) {
      this._isStale = false;
      this._reads = this._reads.then(() => this._readParts());
    }
  }

  /** Read the run itself, and again every part that a view has asked for. */
  load(): Promise<void> {
    this._loading ??= this._load().finally(() => {
      this._loading = null;
    });
    return this._loading;
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

  /** Which executions explain a result. */
  provenance(result: ResultName): Promise<IProvenance> {
    return this._api.pages.provenance(this.runId, result);
  }

  /** Change the run; rejects with an `ApiError`. A tag that is null goes. */
  async patch(
    patch: Omit<IRunPatch, 'tags'> & { tags?: Record<string, string | null> }
  ): Promise<void> {
    const run = await this._api.patchRun(this.runId, patch);
    this._records.merge([run]);
    this._emit();
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
      this.series.dispose();
      Signal.clearData(this);
    }
  }

  private async _load(): Promise<void> {
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

  private _onRunChanged(_: RunRecords, { run, previous }: IRunChange): void {
    if (run.run_id !== this.runId) {
      return;
    }
    if (!this._isActive) {
      this._isStale = true;
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
    this._emit();
    await Promise.all([
      this.series.refresh(),
      ...[...this._needed].map(part => this._read(part))
    ]);
  }

  private async _read(part: DetailPart): Promise<void> {
    const state = this._parts[part] as ILoadable<unknown>;
    if (state.value === null) {
      state.phase = 'loading';
      this._emit();
    }
    try {
      state.value = await this._fetch(part);
      state.phase = 'ready';
      state.error = null;
    } catch (error) {
      state.phase = 'error';
      state.error = messageOf(error);
    }
    this._emit();
  }

  private _fetch(part: DetailPart): Promise<unknown> {
    const { _api: api, runId } = this;
    const reads: Record<DetailPart, () => Promise<unknown>> = {
      cells: () => api.cells(runId),
      artifacts: () => api.artifacts(runId),
      environment: () => api.pages.environment(runId),
      models: () => api.pages.models(runId),
      progress: () => this._progress()
    };
    return reads[part]();
  }

  /** What changed since the attempt before this one in its series. */
  private async _progress(): Promise<IComparison | null> {
    const { run } = this;
    const series = run?.tags['mlops.series'];
    if (!run || series === undefined) {
      return null;
    }
    const quoted = `'${series.replaceAll("'", "''")}'`;
    const { runs } = await this._api.searchRuns({
      experiment_ids: [run.experiment_id],
      query:
        `tags.\`mlops.series\` = ${quoted}` +
        ` and attributes.start_time < ${run.start_time}`,
      order_by: ['attributes.start_time DESC'],
      max_results: 1
    });
    const before = runs[0]?.run_id;
    return before === undefined
      ? null
      : this._api.pages.compare([before, this.runId], ['metrics', 'params']);
  }

  private _emit(): void {
    if (!this._isDisposed) {
      this._changed.emit();
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _needed = new Set<DetailPart>();
  private readonly _parts: { [P in DetailPart]: ILoadable<IDetailParts[P]> } = {
    cells: unread(),
    artifacts: unread(),
    environment: unread(),
    models: unread(),
    progress: unread()
  };
  private _isDisposed = false;
  private _isActive = true;
  private _isStale = false;
  private _error: string | null = null;
  private _timer: number | null = null;
  private _loading: Promise<void> | null = null;
  private _reads: Promise<void> = Promise.resolve();
}

function unread<T>(): ILoadable<T> {
  return { phase: 'loading', value: null, error: null };
}
