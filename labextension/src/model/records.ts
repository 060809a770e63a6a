import { type ISignal, Signal } from '@lumino/signaling';
import type { IRun } from '../api';
import type { RunList } from './runlist';

/** A run as it is now and as it was known before. */
export interface IRunChange {
  run: IRun;
  previous: IRun | null;
}

/**
 * The one place where the records of runs are kept.
 */
export class RunRecords {
  /** Emitted for every run that is new or has a newer revision. */
  get changed(): ISignal<this, IRunChange> {
    return this._changed;
  }

  get(runId: string): IRun | null {
    return this._runs.get(runId) ?? null;
  }

  /** The active runs, newest first. */
  active(): IRun[] {
    return newestFirst(
      [...this._runs.values()].filter(run => run.lifecycle_stage === 'active')
    );
  }

  /** The records of a list, in its order. */
  of(list: RunList): IRun[] {
    const runs: IRun[] = [];
    for (const id of list.ids) {
      const run = this._runs.get(id);
      if (run) {
        runs.push(run);
      }
    }
    return runs;
  }

  /**
   * Take runs in, unless a newer revision is known.
   *
   * @returns those that were taken
   */
  merge(runs: readonly IRun[]): IRunChange[] {
    const fresh: IRunChange[] = [];
    for (const run of runs) {
      const previous = this._runs.get(run.run_id) ?? null;
      if (!previous || previous.revision < run.revision) {
        this._runs.set(run.run_id, run);
        fresh.push({ run, previous });
      }
    }
    for (const change of fresh) {
      this._changed.emit(change);
    }
    return fresh;
  }

  clear(): void {
    this._runs.clear();
  }

  private readonly _changed = new Signal<this, IRunChange>(this);
  private readonly _runs = new Map<string, IRun>();
}

/** Whether a run may still change by itself. */
export function isLive(run: IRun): boolean {
  return run.status === 'RUNNING' || run.status === 'SCHEDULED';
}

function newestFirst(runs: IRun[]): IRun[] {
  return runs.sort((a, b) => b.start_time - a.start_time);
}
