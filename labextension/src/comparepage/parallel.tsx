import React, { useState } from 'react';
import type { IRun } from '../api';
import { colourOf, dashOf } from '../charts/palette';
import { useTrans } from '../components/trans';
import type { IScale } from './dimensions';

const WIDTH = 1000;
const HEIGHT = 300;
const TOP = 34;
const BOTTOM = 20;
const SIDE = 70;

/** Each run as a line through its values, one axis for each param or metric. */
export function Parallel(props: {
  scales: readonly IScale[];
  runs: readonly IRun[];
  openRun: (runId: string) => void;
}): React.JSX.Element {
  const { scales, runs } = props;
  const trans = useTrans();
  const [near, setNear] = useState<number | null>(null);
  const gap = (WIDTH - 2 * SIDE) / Math.max(1, scales.length - 1);
  const xOf = (axis: number) =>
    scales.length === 1 ? WIDTH / 2 : SIDE + axis * gap;
  const yOf = (at: number) => HEIGHT - BOTTOM - at * (HEIGHT - TOP - BOTTOM);
  const said = (run: IRun, index: number) =>
    `${run.name}: ` +
    scales
      .map(
        scale => `${scale.dimension.name} ${scale.places[index]?.text ?? '–'}`
      )
      .join(', ');
  return (
    <>
      <svg
        className="mlops-nb-svg"
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="group"
        aria-label={trans.__('Parallel coordinates')}
      >
        {runs.map((run, index) => {
          const path = pathOf(scales, index, xOf, yOf);
          const open = () => {
            props.openRun(run.run_id);
          };
          return (
            <g
              key={run.run_id}
              role="button"
              tabIndex={0}
              aria-label={said(run, index)}
              className="mlops-nb-svg-run"
              data-far={near !== null && near !== index}
              onMouseEnter={() => {
                setNear(index);
              }}
              onMouseLeave={() => {
                setNear(null);
              }}
              onFocus={() => {
                setNear(index);
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
              <path d={path} className="mlops-nb-svg-reach" />
              <path
                d={path}
                stroke={`var(${colourOf(index)})`}
                strokeWidth={index === 0 ? 3 : 1.5}
                strokeDasharray={dashOf(index).join(' ')}
                fill="none"
              />
            </g>
          );
        })}
        {scales.map((scale, axis) => (
          <g key={scale.dimension.id} className="mlops-nb-svg-axis">
            <line x1={xOf(axis)} x2={xOf(axis)} y1={yOf(0)} y2={yOf(1)} />
            <text x={xOf(axis)} y={14} textAnchor="middle" fontWeight="600">
              {short(scale.dimension.name)}
              {scale.isLog ? ` ${trans.__('(log)')}` : ''}
            </text>
            {scale.ticks.map(tick => (
              <text key={tick.text} x={xOf(axis) + 6} y={yOf(tick.at) + 4}>
                {tick.text}
              </text>
            ))}
          </g>
        ))}
      </svg>
      <p className="mlops-nb-readout" dir="auto">
        {near !== null && runs[near] ? said(runs[near], near) : ''}
      </p>
    </>
  );
}

/** A name that leaves room for its neighbours. */
function short(name: string): string {
  return name.length > 16 ? `${name.slice(0, 15)}…` : name;
}

/** The line of a run; where it has no value, the line has a gap. */
function pathOf(
  scales: readonly IScale[],
  index: number,
  xOf: (axis: number) => number,
  yOf: (at: number) => number
): string {
  let isDown = false;
  const parts: string[] = [];
  scales.forEach((scale, axis) => {
    const place = scale.places[index];
    if (place) {
      const y = yOf(place.at);
      const x = xOf(axis);
      parts.push(`${isDown ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`);
    }
    isDown = Boolean(place);
  });
  return parts.join('');
}
