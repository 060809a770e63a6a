import React from 'react';
import { useTrans } from '../components/trans';
import type { Axis, ICurveOptions } from './curves';

/** The controls over charts: smoothing, scale, axis. */
export function ChartOptions(props: {
  options: ICurveOptions;
  set: (options: ICurveOptions) => void;
  children?: React.ReactNode;
}): React.JSX.Element {
  const { options, set } = props;
  const trans = useTrans();
  return (
    <div className="mlops-nb-chart-options">
      {props.children}
      <label>
        {trans.__('Smoothing')}
        <input
          type="range"
          min={0}
          max={0.99}
          step={0.01}
          value={options.smoothing}
          onChange={event => {
            set({ ...options, smoothing: Number(event.target.value) });
          }}
        />
        <output>{options.smoothing.toFixed(2)}</output>
      </label>
      <label>
        {trans.__('Axis')}
        <select
          className="mlops-nb-select"
          value={options.axis}
          onChange={event => {
            set({ ...options, axis: event.target.value as Axis });
          }}
        >
          <option value="step">{trans.__('Step')}</option>
          <option value="time">{trans.__('Time')}</option>
          <option value="relative">{trans.__('Time since start')}</option>
        </select>
      </label>
      <label>
        <input
          type="checkbox"
          checked={options.isLog}
          onChange={event => {
            set({ ...options, isLog: event.target.checked });
          }}
        />
        {trans.__('Log scale')}
      </label>
    </div>
  );
}
