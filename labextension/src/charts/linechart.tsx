import React, { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import type uPlot from 'uplot';
import { useTrans } from '../components/trans';
import { formatDuration, formatTime, formatValue } from '../format';
import { align, type Axis, type ICurve, smooth } from './curves';
import { type IMark, type IPlotForm, plotOptions } from './plotoptions';

const MOST_NAMED = 12;

export interface ILineChartProps {
  curves: readonly ICurve[];
  axis: Axis;
  isLog: boolean;
  smoothing: number;
  /** The part of the axis that is shown, or `null` for all of it. */
  range: [number, number] | null;
  setRange: (range: [number, number] | null) => void;
  /** A new number makes the chart read the colours of the theme again. */
  theme: number;
  label: string;
  height?: number;
  marks?: readonly IMark[];
  /** Follow a point to what logged it. */
  pick?: (curve: number, point: ICurve['points'][number]) => void;
  pickLabel?: string;
}

/**
 * Curves, drawn by uPlot, which is fetched when the first chart is shown.
 *
 * By mouse: drag to zoom, double-click for all, click to follow a point. By keys:
 * arrows move along, + and − zoom, 0 shows all, Enter follows.
 */
export function LineChart(props: ILineChartProps): React.JSX.Element {
  const { curves, axis, isLog, smoothing, range, theme } = props;
  const trans = useTrans();
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [place, setPlace] = useState<number | null>(null);
  const pressed = useRef(0);
  const latest = useRef(props);
  latest.current = props;

  const data = useMemo(() => {
    const raw = align(curves);
    if (smoothing <= 0) {
      return raw;
    }
    const smoothed = align(
      curves.map(curve => ({ xs: curve.xs, ys: smooth(curve.ys, smoothing) }))
    ).slice(1) as (number | null | undefined)[][];
    // The values as logged stay, faint, where one curve is alone.
    return curves.length === 1
      ? [raw[0], ...smoothed, ...raw.slice(1)]
      : [raw[0], ...smoothed];
  }, [curves, smoothing]);
  const drawn = useRef(data);
  drawn.current = data;

  const count = data.length - 1;
  const form = useMemo((): IPlotForm => {
    const isMany = curves.length > 1;
    return {
      axis,
      isLog,
      height: props.height ?? 180,
      lines: Array.from({ length: count }, (_, index) => ({
        colour: index % Math.max(1, curves.length),
        weight:
          index >= curves.length
            ? 'faint'
            : isMany
              ? index === 0
                ? 'bold'
                : 'normal'
              : 'normal'
      }))
    };
  }, [axis, isLog, count, curves.length, props.height]);

  useEffect(() => {
    const node = host.current;
    if (!node) {
      return;
    }
    let isGone = false;
    const observer = new ResizeObserver(() => {
      if (node.clientWidth > 0) {
        plot.current?.setSize({ width: node.clientWidth, height: form.height });
      }
    });
    void import('uplot').then(({ default: UPlot }) => {
      if (isGone) {
        return;
      }
      plot.current = new UPlot(
        plotOptions(
          node,
          form,
          () => latest.current.marks ?? [],
          setPlace,
          zoomed => {
            latest.current.setRange(zoomed);
          }
        ),
        drawn.current as uPlot.AlignedData,
        node
      );
      show(plot.current, latest.current.range);
      observer.observe(node);
    });
    return () => {
      isGone = true;
      observer.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [form, theme]);

  useEffect(() => {
    if (plot.current) {
      plot.current.setData(data as uPlot.AlignedData, false);
      show(plot.current, range);
    }
  }, [data, range, props.marks]);

  const pick = useCallback(() => {
    const chart = plot.current;
    const { idx, top } = chart?.cursor ?? {};
    if (!chart || idx === undefined || idx === null) {
      return;
    }
    const { curves, pick } = latest.current;
    const found = nearest(chart, curves, idx, top ?? 0);
    const point = found && curves[found.curve]?.points[found.index];
    if (point) {
      pick?.(found.curve, point);
    }
  }, []);

  const keys: Record<string, () => void> = {
    ArrowLeft: () => {
      moveBy(plot.current, -1);
    },
    ArrowRight: () => {
      moveBy(plot.current, 1);
    },
    '+': () => {
      props.setRange(zoomAround(plot.current, 0.5));
    },
    '-': () => {
      props.setRange(zoomAround(plot.current, 2));
    },
    '0': () => {
      props.setRange(null);
    },
    Enter: pick
  };

  return (
    <div className="mlops-nb-plot">
      <div
        ref={host}
        role="application"
        tabIndex={0}
        aria-roledescription={trans.__('chart')}
        aria-label={props.label}
        title={props.pick ? props.pickLabel : undefined}
        className="mlops-nb-chart"
        style={{ height: form.height }}
        data-pickable={props.pick !== undefined}
        onMouseDown={event => {
          pressed.current = event.clientX;
        }}
        onClick={event => {
          // The end of a drag, which zooms, is a click as well.
          if (
            event.detail === 1 &&
            Math.abs(event.clientX - pressed.current) < 4
          ) {
            pick();
          }
        }}
        onDoubleClick={() => {
          props.setRange(null);
        }}
        onKeyDown={event => {
          const act = keys[event.key];
          if (act) {
            event.preventDefault();
            act();
          }
        }}
      />
      <Readout curves={curves} axis={axis} place={place} xs={data[0] ?? []} />
    </div>
  );
}

/** The values under the pointer; empty, but as high, without one. */
function Readout(props: {
  curves: readonly ICurve[];
  axis: Axis;
  place: number | null;
  xs: readonly (number | null | undefined)[];
}): React.JSX.Element {
  const { curves, axis, place } = props;
  const trans = useTrans();
  const x = place === null ? undefined : props.xs[place];
  if (x === undefined || x === null) {
    return <p className="mlops-nb-readout" />;
  }
  const at =
    axis === 'step'
      ? trans.__('step %1', x.toLocaleString())
      : axis === 'time'
        ? formatTime(x * 1000)
        : trans.__('after %1', formatDuration(x * 1000));
  const values = curves
    .map(curve => ({ curve, y: curve.ys[indexOfX(curve.xs, x)] }))
    .filter(({ y }) => y !== undefined && y !== null);
  return (
    <p className="mlops-nb-readout" role="status">
      <span>{at}</span>
      {values.slice(0, MOST_NAMED).map(({ curve, y }) => (
        <span key={curve.label} dir="auto">
          {curves.length > 1 ? `${curve.label}: ` : ''}
          <b>{formatValue(y ?? NaN, 6)}</b>
        </span>
      ))}
      {values.length > MOST_NAMED && (
        <span>{trans.__('and %1 more', values.length - MOST_NAMED)}</span>
      )}
    </p>
  );
}

function show(plot: uPlot, range: [number, number] | null): void {
  const xs = plot.data[0];
  const first = xs[0];
  const last = xs[xs.length - 1];
  const [min, max] = range ?? [first ?? 0, last ?? 1];
  plot.setScale('x', min === max ? { min: min - 1, max: max + 1 } : { min, max });
}

function moveBy(plot: uPlot | null, by: number): void {
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

function zoomAround(
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

function nearest(
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
