import type { Api, ICell, IRun } from '../api';
import { toNumber } from '../format';
import { isLive } from './records';

const KEPT = 60;

/** How a metric of a running run went, and the cell that logged it last. */
export interface ITrail {
  key: string;
  values: number[];
  cell: ICell | null;
}

interface ITraced extends ITrail {
  revision: number;
  /** The `index` of the execution that `cell` was asked for. */
  asked: number | null;
}

/**
 * The course of the metrics that are drawn beside running runs.
 *
 * The past is asked for once a run; what follows comes with the changes of the run
 * and costs no request. The cell is asked for when it becomes another one.
 */
export class Trails {
  /**
   * @param changed called when a trail has more than before
   */
  constructor(
    private readonly _api: Api,
    private readonly _changed: () => void
  ) {}

  /** The course of `key` in `run` as far as it is known by now. */
  of(run: IRun, key: string): ITrail {
    const name = `${run.run_id}/${key}`;
    let trail = this._trails.get(name);
    if (!trail) {
      trail = { key, values: [], cell: null, revision: 0, asked: null };
      this._trails.set(name, trail);
      void this._readPast(run.run_id, trail);
    }
    this._follow(run, trail);
    return trail;
  }

  /** Forget the runs that have ended. */
  prune(live: (runId: string) => IRun | null): void {
    for (const name of this._trails.keys()) {
      const run = live(name.slice(0, name.indexOf('/')));
      if (!run || !isLive(run)) {
        this._trails.delete(name);
      }
    }
  }

  private _follow(run: IRun, trail: ITraced): void {
    if (run.revision <= trail.revision) {
      return;
    }
    const isFirst = trail.revision === 0;
    trail.revision = run.revision;
    const metric = run.metrics.find(m => m.key === trail.key);
    if (!metric) {
      return;
    }
    if (!isFirst) {
      push(trail.values, toNumber(metric.value));
    }
    if (metric.cell !== null && metric.cell !== trail.asked) {
      trail.asked = metric.cell;
      void this._readCell(run.run_id, trail, metric.cell);
    }
  }

  private async _readPast(runId: string, trail: ITraced): Promise<void> {
    try {
      const [series] = await this._api.series(runId, [trail.key], KEPT);
      const past = series?.points.map(([, , value]) => toNumber(value)) ?? [];
      trail.values = [...past, ...trail.values].slice(-KEPT);
      this._changed();
    } catch {
      // The sparkline begins where we are; the list itself tells what is wrong.
    }
  }

  private async _readCell(
    runId: string,
    trail: ITraced,
    index: number
  ): Promise<void> {
    try {
      const cells = await this._api.cells(runId);
      trail.cell = cells.find(cell => cell.index === index) ?? null;
      this._changed();
    } catch {
      // The row goes without its cell; the next cell is asked for again.
    }
  }

  private readonly _trails = new Map<string, ITraced>();
}

function push(values: number[], value: number): void {
  values.push(value);
  if (values.length > KEPT) {
    values.shift();
  }
}
