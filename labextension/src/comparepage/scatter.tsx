import React, { useState } from 'react';
import type { IRun } from '../api';
import { colourOf } from '../charts/palette';
import { useTrans } from '../components/trans';
import type { IScale } from './dimensions';

const WIDTH = 640;
const HEIGHT = 340;
const LEFT = 80;
const REST = 34;

/** Each run as a point; the base is a square. */
export function Scatter(props: {
  x: IScale;
  y: IScale;
  runs: readonly IRun[];
  openRun: (runId: string) => void;
}): React.JSX.Element {
  const { x, y, runs } = props;
  const trans = useTrans();
  const [near, setNear] = useState<string | null>(null);
  const xOf = (at: number) => LEFT + 14 + at * (WIDTH - LEFT - 60);
  const yOf = (at: number) =>
    HEIGHT - REST - 12 - at * (HEIGHT - 2 * REST - 10);
  const nameOf = (scale: IScale) =>
    scale.dimension.name + (scale.isLog ? ' (log)' : '');
  return (
    <>
      <svg
        className="mlops-nb-svg mlops-nb-scatter"
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="group"
        aria-label={trans.__('%1 by %2', nameOf(y), nameOf(x))}
      >
        <g className="mlops-nb-svg-axis">
          <line
            x1={LEFT}
            x2={WIDTH - 20}
            y1={HEIGHT - REST}
            y2={HEIGHT - REST}
          />
          <line x1={LEFT} x2={LEFT} y1={16} y2={HEIGHT - REST} />
          <text x={WIDTH / 2} y={HEIGHT - 4} textAnchor="middle">
            {nameOf(x)}
          </text>
          <text x={4} y={12} fontWeight="600">
            {nameOf(y)}
          </text>
          {x.ticks.map(tick => (
            <text
              key={tick.text}
              x={xOf(tick.at)}
              y={HEIGHT - REST + 14}
              textAnchor="middle"
            >
              {tick.text}
            </text>
          ))}
          {y.ticks.map(tick => (
            <text
              key={tick.text}
              x={LEFT - 6}
              y={yOf(tick.at) + 4}
              textAnchor="end"
            >
              {tick.text}
            </text>
          ))}
        </g>
        {runs.map((run, index) => {
          const across = x.places[index];
          const up = y.places[index];
          if (!across || !up) {
            return null;
          }
          const open = () => {
            props.openRun(run.run_id);
          };
          const text = `${run.name}: ${nameOf(x)} ${across.text}, ${nameOf(y)} ${up.text}`;
          const [cx, cy] = [xOf(across.at), yOf(up.at)];
          const fill = `var(${colourOf(index)})`;
          return (
            <g
              key={run.run_id}
              role="button"
              tabIndex={0}
              aria-label={text}
              className="mlops-nb-svg-run"
              onMouseEnter={() => {
                setNear(text);
              }}
              onMouseLeave={() => {
                setNear(null);
              }}
              onFocus={() => {
                setNear(text);
              }}
              onBlur={() => {
                setNear(null);
              }}
              onClick={open}
              onKeyDown={event => {
                if (event.key === 'Enter') {
                  open();
                }
              }}
            >
              <circle cx={cx} cy={cy} r={12} className="mlops-nb-svg-reach" />
              {index === 0 ? (
                <rect
                  x={cx - 6}
                  y={cy - 6}
                  width={12}
                  height={12}
                  fill={fill}
                />
              ) : (
                <circle cx={cx} cy={cy} r={5} fill={fill} />
              )}
            </g>
          );
        })}
      </svg>
      <p className="mlops-nb-readout" dir="auto">
        {near ?? ''}
      </p>
    </>
  );
}
