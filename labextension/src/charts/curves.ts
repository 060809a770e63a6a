import type { Point } from '../api';
import { toNumber } from '../format';

/** What the horizontal axis of a chart means. */
export type Axis = 'step' | 'time' | 'relative';

/** One line of a chart: two columns in the order of `xs`. */
export interface ICurve {
  label: string;
  /** Steps, seconds since 1970, or seconds since the start. */
  xs: number[];
  /** `null` where a value cannot be drawn. */
  ys: (number | null)[];
  /** The points that were drawn, by the index of their column. */
  points: Point[];
  /** Its place in the palette, where it is not its place among the curves. */
  look?: number;
}

/** How curves are shown. */
export interface ICurveOptions {
  axis: Axis;
  isLog: boolean;
  /** From 0, as logged, to below 1. */
  smoothing: number;
}

export const DEFAULT_OPTIONS: ICurveOptions = {
  axis: 'step',
  isLog: false,
  smoothing: 0
};

/**
 * The axis that can tell the points apart: by time where all of them were logged
 * at one step.
 */
export function usableAxis(points: readonly Point[], axis: Axis): Axis {
  const first = points[0];
  const isOneStep = first !== undefined && points.every(p => p[0] === first[0]);
  return axis === 'step' && isOneStep && points.length > 1 ? 'time' : axis;
}

/**
 * The points of a series as a line.
 *
 * @param start the time from which relative times count (ms)
 */
export function toCurve(
  label: string,
  points: readonly Point[],
  options: ICurveOptions,
  start: number
): ICurve {
  const { axis, isLog } = options;
  const by = axis === 'step' ? 0 : 1;
  const sorted = [...points].sort((a, b) => a[by] - b[by] || a[1] - b[1]);
  const xs = sorted.map(point =>
    axis === 'step'
      ? point[0]
      : (point[1] - (axis === 'relative' ? start : 0)) / 1000
  );
  const ys = sorted.map(point => {
    const value = toNumber(point[2]);
    return Number.isFinite(value) && !(isLog && value <= 0) ? value : null;
  });
  return { label, xs, ys, points: sorted };
}

/**
 * A moving mean that forgets at a steady rate, without the pull towards 0 at its
 * beginning; gaps stay gaps.
 *
 * @param weight how much of the mean so far is kept, from 0 to below 1
 */
export function smooth(
  ys: readonly (number | null)[],
  weight: number
): (number | null)[] {
  if (weight <= 0) {
    return [...ys];
  }
  let mean = 0;
  let kept = 1;
  return ys.map(value => {
    if (value === null) {
      return null;
    }
    mean = mean * weight + (1 - weight) * value;
    kept *= weight;
    return mean / (1 - kept);
  });
}

/** Columns that share one axis, as uPlot takes them. */
export type Columns = [number[], ...(number | null | undefined)[][]];

/**
 * Curves on one axis: where a curve has no point there is `undefined`, which is
 * drawn through, while `null` is a gap.
 */
export function align(curves: readonly Pick<ICurve, 'xs' | 'ys'>[]): Columns {
  const first = curves[0];
  if (curves.length === 1 && first) {
    return [first.xs, first.ys];
  }
  const xs = [...new Set(curves.flatMap(curve => curve.xs))].sort(
    (a, b) => a - b
  );
  const places = new Map(xs.map((x, place) => [x, place]));
  const columns = curves.map(curve => {
    const ys = new Array<number | null | undefined>(xs.length).fill(undefined);
    curve.xs.forEach((x, index) => {
      const place = places.get(x);
      if (place !== undefined) {
        ys[place] = curve.ys[index];
      }
    });
    return ys;
  });
  return [xs, ...columns];
}

/** The lowest and highest value of a series, or `null` without any. */
export function extremes(
  points: readonly Point[]
): { min: number; max: number } | null {
  let min = Infinity;
  let max = -Infinity;
  for (const point of points) {
    const value = toNumber(point[2]);
    if (Number.isFinite(value)) {
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
  }
  return min <= max ? { min, max } : null;
}

/**
 * The steps that a part of the axis shows, with the neighbour on either side, so
 * that lines run on beyond the edges.
 *
 * @param start the time from which relative times count (ms)
 */
export function stepsWithin(
  points: readonly Point[],
  axis: Axis,
  start: number,
  [from, to]: [number, number]
): [number, number] | null {
  if (axis === 'step') {
    return from <= to ? [Math.floor(from), Math.ceil(to)] : null;
  }
  const zero = axis === 'relative' ? start : 0;
  let low: Point | null = null;
  let high: Point | null = null;
  for (const point of [...points].sort((a, b) => a[1] - b[1])) {
    const x = (point[1] - zero) / 1000;
    if (x <= from || low === null) {
      low = point;
    }
    high = point;
    if (x >= to) {
      break;
    }
  }
  return low && high
    ? [Math.min(low[0], high[0]), Math.max(low[0], high[0])]
    : null;
}
