import React, { useEffect, useMemo, useRef, useState } from 'react';
import type { Point } from '../api';
import {
  extremes,
  type ICurveOptions,
  stepsWithin,
  toCurve,
  usableAxis
} from '../charts/curves';
import { LineChart } from '../charts/linechart';
import type { IMark } from '../charts/plotoptions';
import { useTrans } from '../components/trans';
import { formatValue } from '../format';
import type { SeriesStore } from '../model/series';
import { useSeen } from '../rendering/seen';

/** Dragging on makes one read, not one for each pixel. */
const ZOOM_MS = 60;

/** One metric: its curve, or its value where there is only one. */
export function MetricCard(props: {
  metricKey: string;
  series: SeriesStore;
  options: ICurveOptions;
  start: number;
  theme: number;
  marks: readonly IMark[];
  isTarget: boolean;
  pick: ((key: string, point: Point) => void) | null;
}): React.JSX.Element {
  const { metricKey, series, options, start, isTarget } = props;
  const trans = useTrans();
  const figure = useRef<HTMLElement>(null);
  const isSeen = useSeen(figure, false);
  const [range, setRange] = useState<[number, number] | null>(null);
  useEffect(
    () => (isSeen ? series.want(metricKey) : undefined),
    [series, metricKey, isSeen]
  );
  useEffect(() => {
    if (isTarget) {
      figure.current?.scrollIntoView({ block: 'center' });
      figure.current?.focus({ preventScroll: true });
    }
  }, [isTarget]);

  const whole = series.get(metricKey);
  const zoomed = series.zoomed(metricKey);
  const axis = usableAxis(whole?.points ?? [], options.axis);
  useEffect(() => {
    setRange(null);
  }, [axis]);
  useEffect(() => {
    const steps =
      range && whole ? stepsWithin(whole.points, axis, start, range) : null;
    const timer = window.setTimeout(() => {
      void series.zoom(metricKey, steps);
    }, ZOOM_MS);
    return () => {
      window.clearTimeout(timer);
    };
    // Newer points must not start the zoom again: the store renews it itself.
  }, [series, metricKey, axis, start, range]);

  const points = (range ? zoomed?.points : null) ?? whole?.points ?? NONE;
  const curves = useMemo(
    () => [toCurve(metricKey, points, { ...options, axis }, start)],
    [metricKey, points, options, axis, start]
  );
  const last = whole?.points[whole.points.length - 1];
  const ends = useMemo(() => extremes(whole?.points ?? NONE), [whole]);
  const isSingle = whole !== null && whole.points.length < 2;
  const facts = whole
    ? [
        trans._n('%1 value', '%1 values', whole.total),
        ...(ends
          ? [
              trans.__('min %1', formatValue(ends.min)),
              trans.__('max %1', formatValue(ends.max))
            ]
          : [])
      ]
    : [];
  const { pick } = props;
  return (
    <figure
      ref={figure}
      tabIndex={-1}
      className={isSingle ? 'mlops-nb-card mlops-nb-single' : 'mlops-nb-card'}
      data-metric={metricKey}
      data-target={isTarget}
    >
      <figcaption>
        <span className="mlops-nb-card-name" title={metricKey} dir="auto">
          {metricKey}
        </span>
        {range && (
          <button
            type="button"
            className="mlops-nb-link"
            onClick={() => {
              setRange(null);
            }}
          >
            {trans.__('Show all')}
          </button>
        )}
        {!isSingle && last && (
          <b className="mlops-nb-card-last">{formatValue(last[2])}</b>
        )}
      </figcaption>
      {isSingle ? (
        <p className="mlops-nb-big">{last ? formatValue(last[2]) : '–'}</p>
      ) : (
        <>
          {isSeen && whole ? (
            <LineChart
              curves={curves}
              axis={axis}
              isLog={options.isLog}
              smoothing={options.smoothing}
              range={range}
              setRange={setRange}
              theme={props.theme}
              marks={props.marks}
              label={`${metricKey}: ${facts.join(', ')}`}
              pick={
                pick
                  ? (_, point) => {
                      pick(metricKey, point);
                    }
                  : undefined
              }
              pickLabel={trans.__('Click: go to the cell that logged it')}
            />
          ) : (
            <div className="mlops-nb-chart-space" />
          )}
          <p className="mlops-nb-card-facts">
            {facts.join(' · ')}
            {!whole && (series.error ?? trans.__('Loading…'))}
          </p>
        </>
      )}
    </figure>
  );
}

const NONE: readonly Point[] = [];
