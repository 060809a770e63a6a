import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { IRun } from '../api';
import type { IRunChange, StoreModel } from '../model';
import type { RunRecords } from '../model/records';
import type { ComparisonPart, IComparison, IRunSeries } from '../pageapi';
import { messageOf } from '../request';

/** A running run changes all the time; its comparison is read this often. */
const QUIET_MS = 2000;

const FIRST: readonly ComparisonPart[] = [
  'metrics',
  'params',
  'environment',
  'explanations'
];

/**
 * Runs side by side, the first being the base: read again when one of them
 * changes, but not while nobody sees it.
 */
export class ComparisonModel implements IDisposable {
  constructor(
    private readonly _store: StoreModel,
    private _runIds: readonly string[]
  ) {
    _store.records.changed.connect(this._onRunChanged, this);
    void this.load();
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get runIds(): readonly string[] {
    return this._runIds;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** What was read last; kept while a newer one is on its way. */
  get value(): IComparison | null {
    return this._value;
  }

  get error(): string | null {
    return this._error;
  }

  /** The records of the runs that are known, in their order. */
  get runs(): IRun[] {
    return this._runIds.flatMap(id => this._store.records.get(id) ?? []);
  }

  /** Compare other runs, or the same from another base. */
  setRuns(runIds: readonly string[]): void {
    this._runIds = runIds;
    this._value = null;
    this._curves.clear();
    void this.load();
  }

  /** Ask for a part that costs more; it stays current from now on. */
  need(part: ComparisonPart): void {
    if (!this._parts.has(part)) {
      this._parts.add(part);
      void this.load();
    }
  }

  /** Whether the value that is shown was asked for with a part. */
  has(part: ComparisonPart): boolean {
    return this._read.has(part);
  }

  /** Read everything that is shown again. Only the last call counts. */
  async load(): Promise<void> {
    const asked = ++this._asked;
    const parts = [...this._parts];
    try {
      await this._learnRuns();
      const value = await this._store.pages.compare(this._runIds, parts);
      if (asked === this._asked) {
        this._value = value;
        this._read = new Set(parts);
        this._error = null;
      }
    } catch (error) {
      if (asked === this._asked) {
        this._error = messageOf(error);
      }
    }
    this._emit();
  }

  /** The curves of a metric, or `null` until they are there. */
  curves(key: string): IRunSeries[] | null {
    return this._curves.get(key) ?? null;
  }

  /** Read the curves of a metric, of all runs or of a part of their steps. */
  async readCurves(
    key: string,
    steps: [number, number] | null
  ): Promise<IRunSeries[]> {
    const points = this._runIds.length > 20 ? 400 : 1000;
    const found = await this._store.pages.manySeries(
      this._runIds,
      key,
      points,
      steps
    );
    if (steps === null) {
      this._curves.set(key, found);
      this._emit();
    }
    return found;
  }

  /** Whether somebody sees it. */
  setActive(isActive: boolean): void {
    this._isActive = isActive;
    if (isActive && this._isStale) {
      this._isStale = false;
      this._reread();
    }
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      window.clearTimeout(this._timer ?? undefined);
      this._store.records.changed.disconnect(this._onRunChanged, this);
      Signal.clearData(this);
    }
  }

  /** The records give params and metrics for the plots. */
  private async _learnRuns(): Promise<void> {
    const missing = this._runIds.filter(id => !this._store.records.get(id));
    await Promise.all(missing.map(id => this._store.readRun(id)));
  }

  private _onRunChanged(_: RunRecords, { run, previous }: IRunChange): void {
    if (!previous || !this._runIds.includes(run.run_id)) {
      return;
    }
    if (!this._isActive) {
      this._isStale = true;
    } else {
      this._timer ??= window.setTimeout(() => {
        this._timer = null;
        this._reread();
      }, QUIET_MS);
    }
  }

  private _reread(): void {
    void this.load();
    for (const key of this._curves.keys()) {
      void this.readCurves(key, null).catch((error: unknown) => {
        this._error = messageOf(error);
        this._emit();
      });
    }
  }

  private _emit(): void {
    if (!this._isDisposed) {
      this._changed.emit();
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _parts = new Set<ComparisonPart>(FIRST);
  private _read: ReadonlySet<ComparisonPart> = new Set();
  private readonly _curves = new Map<string, IRunSeries[]>();
  private _value: IComparison | null = null;
  private _error: string | null = null;
  private _asked = 0;
  private _timer: number | null = null;
  private _isActive = true;
  private _isStale = false;
  private _isDisposed = false;
}
