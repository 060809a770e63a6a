import { describe, expect, it } from 'vitest';
import type { Point } from '../src/api';
import {
  align,
  extremes,
  smooth,
  stepsWithin,
  toCurve,
  usableAxis
} from '../src/charts/curves';
import { indexOfX } from '../src/charts/navigation';

const linear = { axis: 'step' as const, isLog: false, smoothing: 0 };

describe('a curve', () => {
  it('follows the steps and leaves gaps for what is not finite', () => {
    const points: Point[] = [
      [2, 10, 'NaN'],
      [1, 20, 4],
      [3, 30, -1]
    ];
    const curve = toCurve('loss', points, linear, 0);
    expect([curve.xs, curve.ys]).toEqual([
      [1, 2, 3],
      [4, null, -1]
    ]);
    expect(extremes(points)).toEqual({ min: -1, max: 4 });
    expect(extremes([[0, 0, 'NaN']])).toBeNull();
  });

  it('goes by time where all values have one step', () => {
    const points: Point[] = [
      [0, 2000, 2],
      [0, 1000, 1]
    ];
    expect(usableAxis(points, 'step')).toBe('time');
    expect(usableAxis(points.slice(1), 'step')).toBe('step');
    const curve = toCurve('gpu', points, { ...linear, axis: 'time' }, 0);
    expect([curve.xs, curve.ys]).toEqual([
      [1, 2],
      [1, 2]
    ]);
    const since = toCurve('gpu', points, { ...linear, axis: 'relative' }, 500);
    expect(since.xs).toEqual([0.5, 1.5]);
  });

  it('leaves out of a log scale what has no logarithm', () => {
    const points: Point[] = [
      [0, 0, 0],
      [1, 0, 10]
    ];
    expect(toCurve('x', points, { ...linear, isLog: true }, 0).ys).toEqual([
      null,
      10
    ]);
  });

  it('is smoothed without a pull towards zero, and keeps its gaps', () => {
    expect(smooth([3, null, 3], 0.9)).toEqual([
      expect.closeTo(3),
      null,
      expect.closeTo(3)
    ]);
    expect(smooth([0, 10], 0.5)).toEqual([0, expect.closeTo(20 / 3)]);
  });

  it('shares an axis with others: missing is not a gap', () => {
    const [xs, first, second] = align([
      { xs: [1, 3], ys: [10, null] },
      { xs: [2, 3], ys: [20, 30] }
    ]);
    expect(xs).toEqual([1, 2, 3]);
    expect(first).toEqual([10, undefined, null]);
    expect(second).toEqual([undefined, 20, 30]);
  });

  it('tells which steps a part of a time axis shows, with neighbours', () => {
    const points: Point[] = [0, 1, 2, 3, 4].map(step => [
      step * 10,
      step * 1000,
      1
    ]);
    expect(stepsWithin(points, 'time', 0, [1.5, 2.5])).toEqual([10, 30]);
    expect(stepsWithin(points, 'step', 0, [1.5, 2.5])).toEqual([1, 3]);
    expect(stepsWithin([], 'time', 0, [0, 1])).toBeNull();
  });

  it('is found by the last place at or before', () => {
    expect([0, 1, 5, 9].map(x => indexOfX([1, 5], x))).toEqual([-1, 0, 1, 1]);
  });
});
