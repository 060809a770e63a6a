import type { IRun } from '../api';
import { bestOf, type Verdict, valueOf, verdictOn } from '../direction';
import { mainMetric } from '../format';

/** A run of the notebook in front, as its row tells of it. */
export interface INotebookRun {
  run: IRun;
  isBest: boolean;
  /** How its value stands to that of the run before it. */
  verdict: Verdict | null;
  /** The run before it that has the metric. */
  before: IRun | null;
  /** The earlier attempts of the same series, newest first. */
  earlier: INotebookRun[];
}

/** The name of the series that a run is an attempt of, or `null`. */
export function seriesOf(run: IRun): string | null {
  return run.tags['mlops.series'] ?? null;
}

/**
 * The runs of a notebook with what sets them apart; attempts of a series are
 * folded behind the newest one.
 *
 * @param runs newest first
 * @param metric the metric to judge by, or empty for each run's own
 */
export function judge(runs: readonly IRun[], metric: string): INotebookRun[] {
  const keyOf = (run: IRun) => metric || (mainMetric(run.metrics)?.key ?? '');
  // What most people want to know is how the newest metric has developed.
  const headline = runs.map(keyOf).find(key => key !== '') ?? '';
  const best = headline === '' ? null : bestOf(runs, headline);
  const judged = runs.map((run, index): INotebookRun => {
    const key = keyOf(run);
    const value = key === '' ? null : valueOf(run, key);
    const before =
      value === null || run.status === 'FAILED'
        ? null
        : (runs.slice(index + 1).find(older => valueOf(older, key) !== null) ??
          null);
    const last = before && valueOf(before, key);
    return {
      run,
      isBest: run === best,
      verdict:
        value === null || last === null ? null : verdictOn(key, value, last),
      before,
      earlier: []
    };
  });
  const newest = new Map<string, INotebookRun>();
  return judged.filter(one => {
    const series = seriesOf(one.run);
    const known = series === null ? undefined : newest.get(series);
    if (known) {
      known.earlier.push(one);
      return false;
    }
    if (series !== null) {
      newest.set(series, one);
    }
    return true;
  });
}
