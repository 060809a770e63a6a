import type { Api, IExperiment, IRun, IStatus } from '../api';
import { ApiError, messageOf } from '../request';
import type { Phase } from './runlist';

/** Farther behind than this, reading the lists again is cheaper than catching up. */
const FAR_BEHIND = 5000;

/** What following the store calls. */
export interface ISyncHooks {
  /** Take in runs that are new or changed. */
  merge: (runs: readonly IRun[]) => void;
  /** Read the beginning of every list that is shown. */
  reload: () => Promise<void>;
  /** Forget all runs: they are another store's, or too old to catch up. */
  forget: () => void;
  /** Something that is shown has changed. */
  emit: () => void;
}

/**
 * Follows the store from revision to revision, and knows whether that works.
 *
 * None of its methods rejects; they leave the error in the state.
 */
export class Sync {
  constructor(
    private readonly _api: Api,
    private readonly _hooks: ISyncHooks
  ) {}

  phase: Phase = 'loading';
  error: string | null = null;
  /** True when the server answers but lacks our extension. */
  isServerMissing = false;
  status: IStatus | null = null;
  /** The active experiments, last changed first. */
  experiments: readonly IExperiment[] = [];
  revision = 0;
  /** When the server answered last; Unix milliseconds. */
  seenAt: number | null = null;
  /** Whether the experiments may have other numbers of runs than are shown. */
  mayMiscount = false;

  /** Read everything that is shown again. Overlapping calls share one read. */
  refresh(): Promise<void> {
    this._refreshing ??= this._refresh().finally(() => {
      this._refreshing = null;
    });
    return this._refreshing;
  }

  /** Fetch what changed since the last time. */
  async pull(): Promise<void> {
    if (this._refreshing) {
      await this._refreshing;
    }
    if (this.phase !== 'ready') {
      await this.refresh();
      return;
    }
    try {
      if (await this._pullChanges()) {
        this._hooks.forget();
        await this.refresh();
        return;
      }
      this._hooks.emit();
      if (this.mayMiscount) {
        this.mayMiscount = false;
        this.experiments = sortExperiments(await this._api.experiments());
        this._hooks.emit();
      }
    } catch (error) {
      this._fail(error);
    }
  }

  private async _refresh(): Promise<void> {
    if (this.status === null) {
      this.phase = 'loading';
      this._hooks.emit();
    }
    const isFirst = this.status === null;
    try {
      const status = await this._api.status();
      const behind = status.revision - this.revision;
      if (!isFirst && (behind < 0 || behind > FAR_BEHIND)) {
        this._hooks.forget();
      }
      if (isFirst || behind < 0 || behind > FAR_BEHIND) {
        this.revision = status.revision;
      } else if (await this._pullChanges()) {
        this._hooks.forget();
      }
      this.status = status;
      this.experiments = sortExperiments(await this._api.experiments());
    } catch (error) {
      this._fail(error);
      return;
    }
    this.phase = 'ready';
    this.error = null;
    this.isServerMissing = false;
    this.seenAt = Date.now();
    this._hooks.emit();
    await this._hooks.reload();
  }

  /**
   * Read all changes, page by page.
   *
   * @returns whether the store was replaced by one that is older than what is
   * shown
   */
  private async _pullChanges(): Promise<boolean> {
    for (;;) {
      const changes = await this._api.changes(this.revision);
      this.seenAt = Date.now();
      if (changes.revision < this.revision) {
        this.revision = changes.revision;
        return true;
      }
      const moved = changes.revision > this.revision;
      this.revision = changes.revision;
      this._hooks.merge(changes.runs);
      // A change without a run is one of the experiments themselves.
      this.mayMiscount ||= moved && changes.runs.length === 0;
      if (!changes.more || !moved) {
        return false;
      }
    }
  }

  private _fail(error: unknown): void {
    this.phase = 'error';
    this.error = messageOf(error);
    this.isServerMissing =
      error instanceof ApiError &&
      error.isForeign &&
      (error.status === 404 || error.status === 200);
    this._hooks.emit();
  }

  private _refreshing: Promise<void> | null = null;
}

function sortExperiments(experiments: IExperiment[]): IExperiment[] {
  return experiments
    .filter(experiment => experiment.lifecycle_stage === 'active')
    .sort((a, b) => b.last_update_time - a.last_update_time);
}
