import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';
import type { IRun } from '../api';
import { StatusMark } from '../components/status';
import { useTrans } from '../components/trans';
import {
  formatAgo,
  formatClock,
  formatTime,
  formatValue,
  mainMetric,
  runDuration
} from '../format';
import { isLive } from '../model';

const MAX_PARAMS = 3;
const DIGITS = 4;

/** A run in two lines: what it is and its score, how it was made and when. */
export function RunRow(props: { run: IRun; now: number }): React.JSX.Element {
  const { run, now } = props;
  const trans = useTrans();
  const metric = mainMetric(run.metrics);
  const live = isLive(run);
  return (
    <>
      <StatusMark status={run.status} />
      <span className="mlops-nb-row-line">
        <span className="mlops-nb-row-name" title={run.name} dir="auto">
          {run.name}
        </span>
        {metric && (
          <span
            className="mlops-nb-row-metric"
            title={`${metric.key} ${metric.value}`}
          >
            <span className="mlops-nb-row-key">{metric.key}</span>{' '}
            <b>{formatValue(metric.value, DIGITS)}</b>
          </span>
        )}
      </span>
      <span className="mlops-nb-row-line mlops-nb-row-second">
        <span
          className={
            run.reason === null ? 'mlops-nb-row-more' : 'mlops-nb-row-reason'
          }
          title={detailTitle(run)}
          dir="auto"
        >
          {run.reason ?? summary(run, trans)}
        </span>
        <time
          className="mlops-nb-row-time"
          dateTime={new Date(run.start_time).toISOString()}
          title={formatTime(run.start_time)}
        >
          {live
            ? formatClock(runDuration(run, now))
            : formatAgo(run.end_time ?? run.start_time, now)}
        </time>
      </span>
    </>
  );
}

function summary(run: IRun, trans: TranslationBundle): string {
  const params = Object.entries(run.params);
  return params.length === 0
    ? trans.__('no params')
    : params
        .slice(0, MAX_PARAMS)
        .map(([key, value]) => `${key}=${value}`)
        .join('  ');
}

function detailTitle(run: IRun): string {
  return (
    run.reason ??
    Object.entries(run.params)
      .map(([key, value]) => `${key}=${value}`)
      .join('\n')
  );
}
