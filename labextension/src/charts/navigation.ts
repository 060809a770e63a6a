import type uPlot from 'uplot';
import type { ICurve } from './curves';

/** Show a part of the axis, or all of it. */
export function show(plot: uPlot, range: [number, number] | null): void {
  const xs = plot.data[0];
  const first = xs[0];
  const last = xs[xs.length - 1];
  const [min, max] = range ?? [first ?? 0, last ?? 1];
  plot.setScale(
    'x',
    min === max ? { min: min - 1, max: max + 1 } : { min, max }
  );
}

/** Move the cursor by points, within what is shown. */
export function moveBy(plot: uPlot | null, by: number): void {
  if (!plot) {
    return;
  }
  const { min, max } = plot.scales.x ?? {};
  const xs = plot.data[0];
  const now = plot.cursor.idx;
  let next = (now ?? (by > 0 ? -1 : xs.length)) + by;
  // Outside of what is shown, go to its edge.
  if (min !== undefined && max !== undefined) {
    const low = xs.findIndex(x => x >= min);
    const high = xs.findLastIndex(x => x <= max);
    next = Math.min(high, Math.max(low, next));
  }
  const x = xs[next];
  if (x !== undefined) {
    plot.setCursor({ left: plot.valToPos(x, 'x'), top: 0 });
  }
}

/** The part of the axis around the cursor, larger or smaller by a factor. */
export function zoomAround(
  plot: uPlot | null,
  factor: number
): [number, number] | null {
  const { min, max } = plot?.scales.x ?? {};
  if (!plot || min === undefined || max === undefined) {
    return null;
  }
  const centre = plot.data[0][plot.cursor.idx ?? -1] ?? (min + max) / 2;
  const half = ((max - min) / 2) * factor;
  const first = plot.data[0][0] ?? min;
  const last = plot.data[0][plot.data[0].length - 1] ?? max;
  return factor > 1 && centre - half <= first && centre + half >= last
    ? null
    : [centre - half, centre + half];
}

/** The last place of a column, in order, whose value is at most `x`. */
export function indexOfX(xs: readonly number[], x: number): number {
  let low = 0;
  let high = xs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((xs[middle] ?? Infinity) <= x) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low - 1;
}

/** The curve and its point that are nearest to a place of the pointer. */
export function nearest(
  plot: uPlot,
  curves: readonly ICurve[],
  place: number,
  top: number
): { curve: number; index: number } | null {
  const x = plot.data[0][place];
  let best: { curve: number; index: number; far: number } | null = null;
  if (x === undefined) {
    return null;
  }
  curves.forEach((curve, number) => {
    const index = Math.max(0, indexOfX(curve.xs, x));
    const y = curve.ys[index];
    const far =
      y === null || y === undefined
        ? 1e6
        : Math.abs(plot.valToPos(y, 'y') - top);
    if (curve.points.length > 0 && (best === null || far < best.far)) {
      best = { curve: number, index, far };
    }
  });
  return best;
}
