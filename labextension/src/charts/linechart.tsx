import React, {
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useState
} from 'react';
import type uPlot from 'uplot';
import { useTrans } from '../components/trans';
import { formatDuration, formatTime, formatValue } from '../format';
import { align, type Axis, type ICurve, smooth } from './curves';
import { indexOfX, moveBy, nearest, show, zoomAround } from './navigation';
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
  const looks = curves.map((curve, index) => curve.look ?? index).join(' ');
  const form = useMemo((): IPlotForm => {
    const places = looks.split(' ').map(Number);
    const isMany = places.length > 1;
    return {
      axis,
      isLog,
      height: props.height ?? 180,
      lines: Array.from({ length: count }, (_, index) => {
        const colour = places[index % places.length] ?? 0;
        const isRaw = index >= places.length;
        const weight = isRaw
          ? 'faint'
          : isMany && colour === 0
            ? 'bold'
            : 'normal';
        return { colour, weight };
      })
    };
  }, [axis, isLog, count, looks, props.height]);

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
