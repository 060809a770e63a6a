import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { Api, ICell, IExperiment, IRun, IRunPatch, IStatus } from '../api';
import type { PageApi } from '../pageapi';
import { RunDetail } from './detail';
import { type IScope, ProjectRuns } from './project';
import { type IRunChange, isLive, RunRecords } from './records';
import { Registry } from './registry';
import { type Phase, RunList } from './runlist';
import { Selection } from './selection';
import { Sync } from './sync';
import { Trails } from './trails';
import { UNSEEN_MS, Viewers } from './viewers';

/** Between two reads of what only the server can order. */
const REORDER_MS = 1000;

/**
 * The runs of the project, kept current.
 *
 * It alone holds state; views draw it on `changed` and act through its methods.
 * Methods that change a run reject with an `ApiError`; those that read never
 * reject, they leave the error in the state.
 */
export class StoreModel implements IDisposable {
  constructor(private readonly _api: Api) {
    this.project = new ProjectRuns(_api);
    this.registry = new Registry(_api);
    this.running = new RunList(
      _api,
      { query: "attributes.status = 'RUNNING'" },
      isLive
    );
    this.trails = new Trails(_api, () => {
      this._changed.emit();
    });
    this._sync = new Sync(_api, {
      merge: runs => this.records.merge(runs),
      reload: () => this._reload(),
      forget: () => {
        this.records.clear();
        for (const list of this._lists()) {
          list.clear();
        }
      },
      emit: () => {
        this._changed.emit();
      }
    });
    this.records.changed.connect(this._offer, this);
  }

  readonly records = new RunRecords();
  readonly selection = new Selection();
  readonly project: ProjectRuns;
  readonly registry: Registry;
  readonly running: RunList;
  readonly trails: Trails;
  /** Who looks: with nobody there, changes are asked for less often. */
  readonly viewers = new Viewers(() => {
    if (this.phase !== 'loading') {
      void this.pull();
    }
  });

  /** What the models of pages ask the server. */
  get pages(): PageApi {
    return this._api.pages;
  }

  /** The revision of the store up to which everything is known. */
  get revision(): number {
    return this._sync.revision;
  }

  /** Emitted when anything that a list shows has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  get phase(): Phase {
    return this._sync.phase;
  }

  get error(): string | null {
    return this._sync.error;
  }

  get isServerMissing(): boolean {
    return this._sync.isServerMissing;
  }

  get status(): IStatus | null {
    return this._sync.status;
  }

  /** From when what is shown is: the last answer; Unix milliseconds. */
  get seenAt(): number | null {
    return this._sync.seenAt;
  }

  /** The active experiments, last changed first. */
  get experiments(): readonly IExperiment[] {
    return this._sync.experiments;
  }

  experiment(experimentId: string): IExperiment | null {
    return this.experiments.find(e => e.experiment_id === experimentId) ?? null;
  }

  /** The path of the notebook in front, as the store knows it. */
  get notebook(): string | null {
    return this._notebook;
  }

  get notebookRuns(): RunList | null {
    return this._byNotebook.get(this._notebook ?? '') ?? null;
  }

  /** Read everything that is shown again. Overlapping calls share one read. */
  refresh(): Promise<void> {
    return this._sync.refresh();
  }

  /**
   * Fetch what changed since the last time; a little later while nobody looks.
   *
   * Calls overlap freely: one fetch is under way and at most one waits.
   */
  async pull(): Promise<void> {
    const wait = this._pulledAt + UNSEEN_MS - Date.now();
    if (!this.viewers.isSeen && wait > 0) {
      this._pullTimer ??= setTimeout(() => {
        this._pullTimer = null;
        void this.pull();
      }, wait);
      return;
    }
    this._pullAgain = true;
    if (this._pulling) {
      return;
    }
    this._pulling = true;
    try {
      while (this._pullAgain && !this._isDisposed) {
        this._pullAgain = false;
        this._pulledAt = Date.now();
        const before = this._sync.revision;
        await this._sync.pull();
        if (this._sync.revision > before) {
          this.trails.prune(id => this.records.get(id));
          await this._reorder();
        }
      }
    } finally {
      this._pulling = false;
    }
  }

  /** List other runs of the project, or in another order. */
  async setScope(scope: Partial<IScope>): Promise<void> {
    this.records.merge(await this.project.apply(scope));
    this._changed.emit();
  }

  /** Follow the notebook in front. */
  setNotebook(path: string | null): void {
    if (path === this._notebook) {
      return;
    }
    this._notebook = path;
    if (path !== null && !this._byNotebook.has(path)) {
      const quoted = path.replaceAll("'", "''");
      const list = new RunList(
        this._api,
        { query: `tags.\`mlops.notebook\` = '${quoted}'` },
        run => run.tags['mlops.notebook'] === path
      );
      this._byNotebook.set(path, list);
      void this.load(list);
    }
    this._changed.emit();
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

  async loadModels(): Promise<void> {
    await this.registry.load();
    this._changed.emit();
  }

  /** Change a run: its name, its tags, its stage. */
  async patch(runId: string, patch: IRunPatch): Promise<IRun> {
    const run = await this._api.patchRun(runId, patch);
    this.records.merge([run]);
    this._changed.emit();
    return run;
  }

  rename(runId: string, name: string): Promise<IRun> {
    return this.patch(runId, { name });
  }

  /** Delete softly: `restore` brings the run back. */
  delete(runId: string): Promise<IRun> {
    return this.patch(runId, { lifecycle_stage: 'deleted' });
  }

  restore(runId: string): Promise<IRun> {
    return this.patch(runId, { lifecycle_stage: 'active' });
  }

  /** A run as the server has it now. */
  async readRun(runId: string): Promise<IRun> {
    const run = await this._api.run(runId);
    this.records.merge([run]);
    return run;
  }

  cells(runId: string): Promise<ICell[]> {
    return this._api.cells(runId);
  }

  /** Write the cells of a run as a new notebook; see `Api.restoreNotebook`. */
  restoreNotebook(runId: string, folder?: string): Promise<string> {
    return this._api.restoreNotebook(runId, folder);
  }

  /** Everything about one run; the caller disposes it. */
  detail(runId: string): RunDetail {
    return this.viewers.add(new RunDetail(this.records, this._api, runId));
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      clearTimeout(this._pullTimer ?? undefined);
      Signal.clearData(this.records);
      Signal.clearData(this.selection);
      Signal.clearData(this);
    }
  }

  private _lists(): RunList[] {
    return [this.running, this.project.list, ...this._byNotebook.values()];
  }

  private async _reload(): Promise<void> {
    const { project, notebookRuns } = this;
    const lists = [this.running, ...(notebookRuns ? [notebookRuns] : [])];
    await Promise.all([
      ...lists.map(list => this.load(list)),
      project.refusal ? this.setScope({}) : this.load(project.list),
      ...(this.registry.phase === 'loading' ? [] : [this.loadModels()])
    ]);
  }

  /** Ask again for what only the server can order, not more than once a second. */
  private async _reorder(): Promise<void> {
    const { list } = this.project;
    if (!list.isServerOrdered || this._reorderTimer !== null) {
      return;
    }
    this._reorderTimer = setTimeout(() => {
      this._reorderTimer = null;
      if (this._isOrderStale && !this._isDisposed) {
        this._isOrderStale = false;
        void this._reorder();
      }
    }, REORDER_MS);
    await this.load(list);
  }

  /** Offer a run that is new or changed to every list, whoever read it. */
  private _offer(_: RunRecords, { run, previous }: IRunChange): void {
    this._sync.mayMiscount ||=
      run.lifecycle_stage !== previous?.lifecycle_stage;
    this._isOrderStale ||= this._reorderTimer !== null;
    for (const list of this._lists()) {
      list.merge(run);
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _sync: Sync;
  private readonly _byNotebook = new Map<string, RunList>();
  private _isDisposed = false;
  private _notebook: string | null = null;
  private _pulling = false;
  private _pullAgain = false;
  private _pulledAt = 0;
  private _pullTimer: ReturnType<typeof setTimeout> | null = null;
  private _reorderTimer: ReturnType<typeof setTimeout> | null = null;
  private _isOrderStale = false;
}
