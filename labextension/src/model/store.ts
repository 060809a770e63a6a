import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { Api, IExperiment, IRun, IRunPatch, IStatus } from '../api';
import type { PageApi } from '../pageapi';
import { ApiError, messageOf } from '../request';
import { RunDetail } from './detail';
import { RunFilter } from './filter';
import { type IRunChange, isLive, RunRecords } from './records';
import { type Phase, RunList } from './runlist';

/**
 * The runs of the project, kept current.
 *
 * It alone holds state; views draw it on `changed` and act through its methods.
 * Methods that change a run reject with an `ApiError`; those that read never
 * reject, they leave the error in the state.
 */
export class StoreModel implements IDisposable {
  constructor(private readonly _api: Api) {
    this.filter = new RunFilter(_api);
    this.running = new RunList(
      _api,
      { query: "attributes.status = 'RUNNING'" },
      isLive
    );
    this.records.changed.connect(this._offer, this);
  }

  readonly records = new RunRecords();
  readonly filter: RunFilter;
  readonly running: RunList;

  /** What the models of pages ask the server. */
  get pages(): PageApi {
    return this._api.pages;
  }

  /** Emitted when anything that a list shows has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  get phase(): Phase {
    return this._phase;
  }

  get error(): string | null {
    return this._error;
  }

  /** True when the server answers but lacks our extension. */
  get isServerMissing(): boolean {
    return this._isServerMissing;
  }

  get status(): IStatus | null {
    return this._status;
  }

  /** The revision of the store up to which everything is known. */
  get revision(): number {
    return this._revision;
  }

  /** The active experiments, last changed first. */
  get experiments(): readonly IExperiment[] {
    return this._experiments;
  }

  experiment(experimentId: string): IExperiment | null {
    return (
      this._experiments.find(e => e.experiment_id === experimentId) ?? null
    );
  }

  /** The path of the notebook in front, as the store knows it. */
  get notebook(): string | null {
    return this._notebook;
  }

  /** The runs of the notebook in front. */
  get notebookRuns(): RunList | null {
    return this._byNotebook.get(this._notebook ?? '') ?? null;
  }

  /** The runs of an experiment, or `null` before `openExperiment`. */
  experimentRuns(experimentId: string): RunList | null {
    return this._byExperiment.get(experimentId) ?? null;
  }

  /** Read everything that is shown again. Overlapping calls share one read. */
  refresh(): Promise<void> {
    this._refreshing ??= this._refresh().finally(() => {
      this._refreshing = null;
    });
    return this._refreshing;
  }

  /**
   * Fetch what changed since the last time.
   *
   * Calls overlap freely: one fetch is under way and at most one waits.
   */
  async pull(): Promise<void> {
    this._pullAgain = true;
    if (this._pulling) {
      return;
    }
    this._pulling = true;
    try {
      while (this._pullAgain && !this._isDisposed) {
        this._pullAgain = false;
        await this._pullOnce();
      }
    } finally {
      this._pulling = false;
    }
  }

  /** Show the runs that match `text`; an empty text ends filtering. */
  async setFilter(text: string): Promise<void> {
    this.records.merge(await this.filter.apply(text));
    this._changed.emit();
  }

  /** Follow the notebook in front. */
  setNotebook(path: string | null): void {
    if (path === this._notebook) {
      return;
    }
    this._notebook = path;
    if (path !== null && !this._byNotebook.has(path)) {
      const quote = path.includes("'") ? '"' : "'";
      const list = new RunList(
        this._api,
        { query: `tags.\`mlops.notebook\` = ${quote}${path}${quote}` },
        run => run.tags['mlops.notebook'] === path
      );
      this._byNotebook.set(path, list);
      void this.load(list);
    }
    this._changed.emit();
  }

  /** Read the runs of an experiment unless they are there. */
  openExperiment(experimentId: string): void {
    if (!this._byExperiment.has(experimentId)) {
      const list = new RunList(
        this._api,
        { experiment_ids: [experimentId] },
        run => run.experiment_id === experimentId
      );
      this._byExperiment.set(experimentId, list);
      void this.load(list);
    }
  }

  /** Read the first page of a list, or read it again. */
  async load(list: RunList): Promise<void> {
    this.records.merge(await list.load());
    this._changed.emit();
  }

  /** Read the page behind the last one of a list. */
  async loadMore(list: RunList): Promise<void> {
    const more = list.loadMore();
    this._changed.emit();
    this.records.merge(await more);
    this._changed.emit();
  }

  rename(runId: string, name: string): Promise<IRun> {
    return this._patch(runId, { name });
  }

  /** Delete softly: `restore` brings the run back. */
  delete(runId: string): Promise<IRun> {
    return this._patch(runId, { lifecycle_stage: 'deleted' });
  }

  restore(runId: string): Promise<IRun> {
    return this._patch(runId, { lifecycle_stage: 'active' });
  }

  /** Read the record of a run; rejects with an `ApiError`. */
  async readRun(runId: string): Promise<void> {
    this.records.merge([await this._api.run(runId)]);
  }

  /** Everything about one run; the caller disposes it. */
  detail(runId: string): RunDetail {
    return new RunDetail(this.records, this._api, runId);
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      Signal.clearData(this.records);
      Signal.clearData(this);
    }
  }

  private async _refresh(): Promise<void> {
    if (this._status === null) {
      this._phase = 'loading';
      this._changed.emit();
    }
    try {
      this._status = await this._api.status();
      this._revision = this._status.revision;
      this._experiments = sortExperiments(await this._api.experiments());
    } catch (error) {
      this._fail(error);
      return;
    }
    this._phase = 'ready';
    this._error = null;
    this._isServerMissing = false;
    this._changed.emit();
    const notebookRuns = this.notebookRuns;
    const lists = [
      this.running,
      ...this._byExperiment.values(),
      ...(notebookRuns ? [notebookRuns] : [])
    ];
    await Promise.all(lists.map(list => this.load(list)));
    await this.setFilter(this.filter.text);
  }

  private async _pullOnce(): Promise<void> {
    if (this._refreshing) {
      await this._refreshing;
    }
    if (this._phase !== 'ready') {
      await this.refresh();
      return;
    }
    try {
      const before = this._revision;
      if (await this._pullChanges()) {
        this.records.clear();
        await this.refresh();
        return;
      }
      this._changed.emit();
      if (this._mayMiscount) {
        this._mayMiscount = false;
        this._experiments = sortExperiments(await this._api.experiments());
        this._changed.emit();
      }
      if (this.filter.text !== '' && this._revision > before) {
        await this.setFilter(this.filter.text);
      }
    } catch (error) {
      this._fail(error);
    }
  }

  /**
   * Read all changes, page by page.
   *
   * @returns whether the store was replaced by one that is older than what is
   * shown
   */
  private async _pullChanges(): Promise<boolean> {
    for (;;) {
      const changes = await this._api.changes(this._revision);
      if (changes.revision < this._revision) {
        return true;
      }
      const moved = changes.revision > this._revision;
      this._revision = changes.revision;
      this.records.merge(changes.runs);
      // A change without a run is one of the experiments themselves.
      this._mayMiscount ||= moved && changes.runs.length === 0;
      if (!changes.more || !moved) {
        return false;
      }
    }
  }

  private async _patch(runId: string, patch: IRunPatch): Promise<IRun> {
    const run = await this._api.patchRun(runId, patch);
    this.records.merge([run]);
    this._changed.emit();
    return run;
  }

  private _fail(error: unknown): void {
    this._phase = 'error';
    this._error = messageOf(error);
    this._isServerMissing =
      error instanceof ApiError &&
      error.isForeign &&
      (error.status === 404 || error.status === 200);
    this._changed.emit();
  }

  /** Offer a run that is new or changed to every list, whoever read it. */
  private _offer(_: RunRecords, { run, previous }: IRunChange): void {
    this._mayMiscount ||= run.lifecycle_stage !== previous?.lifecycle_stage;
    this.running.merge(run);
    this.filter.found?.merge(run);
    for (const lists of [this._byExperiment, this._byNotebook]) {
      for (const list of lists.values()) {
        list.merge(run);
      }
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _byExperiment = new Map<string, RunList>();
  private readonly _byNotebook = new Map<string, RunList>();
  private _isDisposed = false;
  private _phase: Phase = 'loading';
  private _error: string | null = null;
  private _isServerMissing = false;
  private _status: IStatus | null = null;
  private _experiments: IExperiment[] = [];
  private _notebook: string | null = null;
  /** Whether the experiments may have other numbers of runs than are shown. */
  private _mayMiscount = false;
  private _revision = 0;
  private _refreshing: Promise<void> | null = null;
  private _pulling = false;
  private _pullAgain = false;
}

function sortExperiments(experiments: IExperiment[]): IExperiment[] {
  return experiments
    .filter(experiment => experiment.lifecycle_stage === 'active')
    .sort((a, b) => b.last_update_time - a.last_update_time);
}
