import type { IRun } from './api';
import { toNumber } from './format';

// The same words as in mlops_nb.core.selectors and mlops_nb.core.comparison.
const LOWER =
  /(^|[_./\-\s])(loss|logloss|nll|cross_?entropy|mse|rmse|mae|mape|smape|rmsle|error|err|wer|cer|perplexity|ppl|bpb|latency|duration|seconds|time|fid|regret|brier|ece|fpr|fnr|hinge|deviance)($|[_./\-\s\d])/;
const NEITHER =
  /^system\/|(^|[_./\-\s])(lr|learning_rate|epochs?|(global_)?steps?|iterations?|iter|grad_norm|total_flos|num_\w+|n_\w+|threshold)$/;

/** Which end of a metric is the good one. */
export type Direction = 'higher' | 'lower' | 'none';

/** How a value stands to one before it. */
export type Verdict = 'better' | 'worse' | 'same';

/** Which end of a metric is the good one, judged by its name. */
export function directionOf(key: string): Direction {
  const name = key.toLowerCase();
  return LOWER.test(name) ? 'lower' : NEITHER.test(name) ? 'none' : 'higher';
}

/** How `value` stands to `before`; `null` where neither end is the good one. */
export function verdictOn(
  key: string,
  value: number,
  before: number
): Verdict | null {
  const direction = directionOf(key);
  if (direction === 'none' || Number.isNaN(value) || Number.isNaN(before)) {
    return null;
  }
  if (value === before) {
    return 'same';
  }
  return value > before === (direction === 'higher') ? 'better' : 'worse';
}

/** The latest value of a metric of a run, or `null` where it has none. */
export function valueOf(run: IRun, key: string): number | null {
  const metric = run.metrics.find(m => m.key === key);
  return metric ? toNumber(metric.value) : null;
}

/**
 * The run with the best value of a metric among those that finished; `null` where
 * there are fewer than two to choose from, or neither end is the good one.
 */
export function bestOf(runs: readonly IRun[], key: string): IRun | null {
  if (directionOf(key) === 'none') {
    return null;
  }
  const rated = runs.flatMap(run => {
    const value = run.status === 'FINISHED' ? valueOf(run, key) : null;
    return value === null || Number.isNaN(value) ? [] : [{ run, value }];
  });
  if (rated.length < 2) {
    return null;
  }
  return rated.reduce((best, other) =>
    verdictOn(key, other.value, best.value) === 'better' ? other : best
  ).run;
}
