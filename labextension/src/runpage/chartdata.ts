import type { ISeries } from '../api';
import { toNumber } from '../format';

/** What a chart draws: two columns, and what they mean. */
export interface IChartData {
  xs: number[];
  /** `null` where a value cannot be drawn. */
  ys: (number | null)[];
  /** Whether `xs` are seconds since 1970 instead of steps. */
  isTime: boolean;
  min: number | null;
  max: number | null;
}

/**
 * The points of a series as columns, in the order of their steps; by time where
 * every value was logged at the same step.
 *
 * @param isLog leave out what a logarithm cannot show
 */
export function toChart(series: ISeries, isLog: boolean): IChartData {
  const { points } = series;
  const first = points[0];
  const isTime = first !== undefined && points.every(p => p[0] === first[0]);
  const x = isTime ? 1 : 0;
  const sorted = [...points].sort((a, b) => a[x] - b[x] || a[1] - b[1]);
  let min: number | null = null;
  let max: number | null = null;
  const ys = sorted.map(point => {
    const value = toNumber(point[2]);
    if (!Number.isFinite(value)) {
      return null;
    }
    min = min === null ? value : Math.min(min, value);
    max = max === null ? value : Math.max(max, value);
    return isLog && value <= 0 ? null : value;
  });
  const xs = sorted.map(point => (isTime ? point[1] / 1000 : point[0]));
  return { xs, ys, isTime, min, max };
}
