import React, { useMemo, useState } from 'react';
import type { IRun } from '../api';
import { useTrans } from '../components/trans';
import type { IComparison } from '../pageapi';
import { type IDimension, dimensionsOf, scaleOf } from './dimensions';
import { Parallel } from './parallel';
import { Scatter } from './scatter';

const MOST_AXES = 10;

/** How params and metrics go together over the runs: two plots. */
export function Plots(props: {
  value: IComparison;
  runs: readonly IRun[];
  openRun: (runId: string) => void;
}): React.JSX.Element {
  const { value, runs } = props;
  const trans = useTrans();
  const all = useMemo(() => dimensionsOf(value), [value]);
  const [chosen, setChosen] = useState<ReadonlySet<string> | null>(null);
  const params = all.filter(dimension => !dimension.isMetric);
  const metrics = all.filter(dimension => dimension.isMetric);
  const axes = all.filter(({ id }, index) =>
    chosen
      ? chosen.has(id)
      : index < params.length
        ? index < MOST_AXES - 3
        : index < params.length + 3
  );
  const scales = useMemo(
    () => axes.map(dimension => scaleOf(dimension, runs)),
    [axes.map(axis => axis.id).join('\n'), runs]
  );
  if (all.length < 2) {
    return (
      <p className="mlops-nb-none">
        {trans.__(
          'Plots need two things that the runs have: params that differ, or metrics.'
        )}
      </p>
    );
  }
  return (
    <div className="mlops-nb-stack">
      <section>
        <h2>{trans.__('Parallel coordinates')}</h2>
        <details>
          <summary>{trans.__('Axes')}</summary>
          <ul className="mlops-nb-legend">
            {all.map(({ id, name }) => (
              <li key={id}>
                <label>
                  <input
                    type="checkbox"
                    checked={axes.some(axis => axis.id === id)}
                    onChange={event => {
                      const next = new Set(axes.map(axis => axis.id));
                      if (event.target.checked) {
                        next.add(id);
                      } else {
                        next.delete(id);
                      }
                      setChosen(next);
                    }}
                  />
                  <span dir="auto">{name}</span>
                </label>
              </li>
            ))}
          </ul>
        </details>
        <Parallel scales={scales} runs={runs} openRun={props.openRun} />
      </section>
      <section>
        <h2>{trans.__('Scatter')}</h2>
        <ScatterChoice
          all={all}
          first={params[0] ?? metrics[1] ?? null}
          second={metrics[0] ?? null}
          runs={runs}
          openRun={props.openRun}
        />
      </section>
    </div>
  );
}

function ScatterChoice(props: {
  all: readonly IDimension[];
  first: IDimension | null;
  second: IDimension | null;
  runs: readonly IRun[];
  openRun: (runId: string) => void;
}): React.JSX.Element | null {
  const { all, runs } = props;
  const trans = useTrans();
  const [ids, setIds] = useState<[string | null, string | null]>([null, null]);
  const x = all.find(({ id }) => id === ids[0]) ?? props.first ?? all[0];
  const y = all.find(({ id }) => id === ids[1]) ?? props.second ?? all[1];
  if (!x || !y) {
    return null;
  }
  const choice = (
    label: string,
    now: IDimension,
    choose: (id: string) => void
  ) => (
    <label>
      {label}
      <select
        className="mlops-nb-select"
        value={now.id}
        onChange={event => {
          choose(event.target.value);
        }}
      >
        {all.map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <>
      <div className="mlops-nb-chart-options">
        {choice(trans.__('Across'), x, id => {
          setIds([id, y.id]);
        })}
        {choice(trans.__('Up'), y, id => {
          setIds([x.id, id]);
        })}
      </div>
      <Scatter
        x={scaleOf(x, runs)}
        y={scaleOf(y, runs)}
        runs={runs}
        openRun={props.openRun}
      />
    </>
  );
}
