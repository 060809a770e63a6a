import React, { useEffect, useMemo, useRef, useState } from 'react';
import type { Point } from '../api';
import {
  DEFAULT_OPTIONS,
  type ICurve,
  type ICurveOptions,
  stepsWithin,
  toCurve,
  usableAxis
} from '../charts/curves';
import { LineChart } from '../charts/linechart';
import { ChartOptions } from '../charts/options';
import { colourOf, dashOf } from '../charts/palette';
import { Loading } from '../components/states';
import { useTrans } from '../components/trans';
import type { IComparison, IRunSeries } from '../pageapi';
import { messageOf } from '../request';
import type { ComparisonModel } from './model';

const ZOOM_MS = 80;

/** One metric of all runs in one chart. */
export function CompareCurves(props: {
  model: ComparisonModel;
  value: IComparison;
  theme: number;
  openRun: (runId: string, metric: string) => void;
}): React.JSX.Element {
  const { model, value } = props;
  const trans = useTrans();
  const keys = (value.metrics ?? []).map(row => row.key);
  const [key, setKey] = useState(
    () => keys.find(name => hasCourse(model, name)) ?? keys[0] ?? ''
  );
  const [options, setOptions] = useState<ICurveOptions>(DEFAULT_OPTIONS);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const [range, setRange] = useState<[number, number] | null>(null);
  const [fine, setFine] = useState<IRunSeries[] | null>(null);
  const [error, setError] = useState<string | null>(null);
  const whole = model.curves(key);
  const all = useMemo(
    () => (whole ?? []).flatMap(series => series.points),
    [whole]
  );
  const axis = usableAxis(all, options.axis);
  const starts = useRef(new Map<string, number>());
  starts.current = new Map(value.runs.map(run => [run.run_id, run.start_time]));

  useEffect(() => {
    setRange(null);
    setFine(null);
    setError(null);
    if (key !== '' && model.curves(key) === null) {
      model.readCurves(key, null).catch((reason: unknown) => {
        setError(messageOf(reason));
      });
    }
  }, [model, key, model.runIds]);

  useEffect(() => {
    if (!range || !whole) {
      setFine(null);
      return;
    }
    let isGone = false;
    const spans = whole.flatMap(series => {
      const start = starts.current.get(series.run_id) ?? 0;
      return stepsWithin(series.points, axis, start, range) ?? [];
    });
    const timer = window.setTimeout(() => {
      const steps: [number, number] = [Math.min(...spans), Math.max(...spans)];
      model.readCurves(key, spans.length > 0 ? steps : null).then(
        found => {
          if (!isGone) {
            setFine(found);
          }
        },
        (reason: unknown) => {
          setError(messageOf(reason));
        }
      );
    }, ZOOM_MS);
    return () => {
      isGone = true;
      window.clearTimeout(timer);
    };
  }, [model, key, range, axis]);

  const shown = value.runs.filter(run => !hidden.has(run.run_id));
  const curves = useMemo(
    () =>
      curvesOf(value, (range && fine) ?? whole ?? [], hidden, options, axis),
    [value, range, fine, whole, hidden, options, axis]
  );
  return (
    <>
      <ChartOptions options={options} set={setOptions}>
        <label>
          {trans.__('Metric')}
          <select
            className="mlops-nb-select"
            value={key}
            onChange={event => {
              setKey(event.target.value);
            }}
          >
            {keys.map(name => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
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
      </ChartOptions>
      {error !== null && <p role="alert">{error}</p>}
      {whole === null ? (
        <Loading label={trans.__('Loading the curves…')} />
      ) : (
        <LineChart
          curves={curves}
          axis={axis}
          isLog={options.isLog}
          smoothing={options.smoothing}
          range={range}
          setRange={setRange}
          theme={props.theme}
          height={360}
          label={trans._n('%2 of %1 run', '%2 of %1 runs', curves.length, key)}
          pick={curve => {
            const run = shown[curve];
            if (run) {
              props.openRun(run.run_id, key);
            }
          }}
          pickLabel={trans.__('Click: open the run')}
        />
      )}
      <ul className="mlops-nb-legend" aria-label={trans.__('Runs')}>
        {value.runs.map((run, index) => (
          <li key={run.run_id}>
            <label>
              <input
                type="checkbox"
                checked={!hidden.has(run.run_id)}
                onChange={() => {
                  const next = new Set(hidden);
                  if (!next.delete(run.run_id)) {
                    next.add(run.run_id);
                  }
                  setHidden(next);
                }}
              />
              <LineSample index={index} isBase={index === 0} />
              <span dir="auto">{run.name}</span>
            </label>
          </li>
        ))}
      </ul>
    </>
  );
}

/** The curves that are shown; each keeps the look of its run's place. */
function curvesOf(
  value: IComparison,
  series: readonly IRunSeries[],
  hidden: ReadonlySet<string>,
  options: ICurveOptions,
  axis: ICurveOptions['axis']
): ICurve[] {
  const points = new Map<string, Point[]>(
    series.map(one => [one.run_id, one.points])
  );
  const names = new Map<string, number>();
  return value.runs.flatMap((run, look) => {
    const count = (names.get(run.name) ?? 0) + 1;
    names.set(run.name, count);
    const label =
      count > 1 ? `${run.name} (${run.run_id.slice(0, 4)})` : run.name;
    return hidden.has(run.run_id)
      ? []
      : {
          ...toCurve(
            label,
            points.get(run.run_id) ?? [],
            { ...options, axis },
            run.start_time
          ),
          look
        };
  });
}

/** Whether any run has more than one step of a metric. */
function hasCourse(model: ComparisonModel, key: string): boolean {
  return model.runs.some(run =>
    run.metrics.some(metric => metric.key === key && metric.step > 0)
  );
}

/** How the line of a run looks. */
export function LineSample(props: {
  index: number;
  isBase: boolean;
}): React.JSX.Element {
  return (
    <svg width="28" height="10" aria-hidden="true">
      <line
        x1="0"
        y1="5"
        x2="28"
        y2="5"
        stroke={`var(${colourOf(props.index)})`}
        strokeWidth={props.isBase ? 3 : 1.5}
        strokeDasharray={dashOf(props.index).join(' ')}
      />
    </svg>
  );
}
