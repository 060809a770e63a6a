import { Button, stopIcon } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';
import type { IMetric, IRun } from '../api';
import { Sparkline } from '../components/sparkline';
import { StatusMark } from '../components/status';
import { useTrans } from '../components/trans';
import type { Verdict } from '../direction';
import {
  formatAgo,
  formatClock,
  formatTime,
  formatValue,
  mainMetric,
  runDuration
} from '../format';
import { isLive, type ITrail } from '../model';
import type { IChoices } from '../settings';
import type { INotebookRun } from './notebookruns';

const MAX_PARAMS = 3;
const DIGITS = 4;

/** What a row is drawn from; nothing else may change how it looks. */
export interface IRunRowProps {
  run: IRun;
  now: number;
  choices: IChoices;
  isSelected: boolean;
  judged: INotebookRun | null;
  /** Whether the earlier attempts are shown. */
  isOpen: boolean;
  /** How it goes, for a run that is drawn as running. */
  trail: ITrail | null;
  /** Where the cell that logged last stands: `cell 4/9`. */
  cell: string | null;
  stop: ((runId: string) => void) | null;
}

/** A run in two lines: what it is and its score, how it was made and when. */
export const RunRow = React.memo(Row);

function Row(props: IRunRowProps): React.JSX.Element {
  const { run, now, judged } = props;
  const trans = useTrans();
  const metric = metricOf(run, props.choices.metric);
  return (
    <>
      <StatusMark status={run.status} />
      <span className="mlops-nb-row-line">
        {props.isSelected && (
          <span className="mlops-nb-row-selected">
            <span aria-hidden="true">✓</span>
            <span className="mlops-nb-sr">{trans.__('selected')}</span>
          </span>
        )}
        {judged?.isBest && (
          <span className="mlops-nb-row-best" title={trans.__('Best run')}>
            <span aria-hidden="true">★</span>
            <span className="mlops-nb-sr">{trans.__('best run')}</span>
          </span>
        )}
        <span className="mlops-nb-row-name" title={run.name} dir="auto">
          {run.name}
        </span>
        {props.trail && <Sparkline values={props.trail.values} />}
        {metric && (
          <Metric
            metric={metric}
            judged={judged}
            // What runs has its course there instead; the key is below.
            hasKey={props.trail === null}
          />
        )}
        {props.stop && (
          <Button
            className="jp-mod-minimal mlops-nb-icon-button mlops-nb-row-stop"
            tabIndex={-1}
            title={trans.__('Stop run %1 (s)', run.name)}
            aria-label={trans.__('Stop run %1', run.name)}
            onClick={event => {
              event.stopPropagation();
              props.stop?.(run.run_id);
            }}
          >
            <stopIcon.react tag="span" width="14px" height="14px" />
          </Button>
        )}
      </span>
      <span className="mlops-nb-row-line mlops-nb-row-second">
        <Second {...props} />
        <time
          className="mlops-nb-row-time"
          dateTime={new Date(run.start_time).toISOString()}
          title={formatTime(run.start_time)}
        >
          {isLive(run)
            ? formatClock(runDuration(run, now))
            : formatAgo(run.end_time ?? run.start_time, now)}
        </time>
      </span>
    </>
  );
}

/** The metric that stands for a run. */
function metricOf(run: IRun, chosen: string): IMetric | null {
  return (
    run.metrics.find(metric => metric.key === chosen) ?? mainMetric(run.metrics)
  );
}

function Metric(props: {
  metric: IMetric;
  judged: INotebookRun | null;
  hasKey: boolean;
}): React.JSX.Element {
  const { metric, judged } = props;
  const trans = useTrans();
  return (
    <span
      className="mlops-nb-row-metric"
      title={`${metric.key} ${metric.value}`}
    >
      {props.hasKey && (
        <>
          <span className="mlops-nb-row-key">{metric.key}</span>{' '}
        </>
      )}
      <b>{formatValue(metric.value, DIGITS)}</b>
      {judged?.verdict && judged.before && (
        <span
          className="mlops-nb-row-verdict"
          data-verdict={judged.verdict}
          title={trans.__(
            'than %1, the run before; single values, noise unknown',
            judged.before.name
          )}
        >
          {verdictText(judged.verdict, trans)}
        </span>
      )}
    </span>
  );
}

function verdictText(verdict: Verdict, trans: TranslationBundle): string {
  switch (verdict) {
    case 'better':
      return trans.__('▲ better');
    case 'worse':
      return trans.__('▼ worse');
    case 'same':
      return trans.__('= same');
  }
}

function Second(props: IRunRowProps): React.JSX.Element {
  const { run, judged, trail } = props;
  const trans = useTrans();
  const earlier = judged?.earlier.length ?? 0;
  const parts: string[] = [];
  if (trail) {
    const metric = run.metrics.find(m => m.key === trail.key);
    parts.push(
      ...(props.cell === null ? [] : [props.cell]),
      ...(metric && metric.step > 0 ? [trans.__('step %1', metric.step)] : []),
      trail.key
    );
  }
  if (parts.length === 0) {
    parts.push(reasonText(run) ?? summary(run, props.choices.params, trans));
  }
  return (
    <span
      className={
        run.reason === null ? 'mlops-nb-row-more' : 'mlops-nb-row-reason'
      }
      title={detailTitle(run)}
      dir="auto"
    >
      {earlier > 0 && (
        <span className="mlops-nb-row-earlier">
          {props.isOpen ? '▾ ' : '▸ '}
          {trans._n('%1 earlier', '%1 earlier', earlier)}
          {' · '}
        </span>
      )}
      {parts.join(' · ')}
    </span>
  );
}

/** Why a run ended, its cell first: the rest may be cut off. */
function reasonText(run: IRun): string | null {
  const [, what, where] =
    /^([^]*) in (cell [^ ]+)$/.exec(run.reason ?? '') ?? [];
  return what !== undefined && where !== undefined
    ? `${where} · ${what}`
    : run.reason;
}

function summary(
  run: IRun,
  chosen: readonly string[],
  trans: TranslationBundle
): string {
  const keys = chosen.length > 0 ? chosen : Object.keys(run.params);
  const shown = keys
    .flatMap(key => {
      const value = run.params[key];
      return value === undefined ? [] : [`${key}=${value.slice(0, 80)}`];
    })
    .slice(0, chosen.length || MAX_PARAMS);
  return shown.length === 0 ? trans.__('no params') : shown.join('  ');
}

function detailTitle(run: IRun): string {
  const note = run.tags['mlflow.note.content'];
  const params = Object.entries(run.params)
    .slice(0, 20)
    .map(([key, value]) => `${key}=${value.slice(0, 200)}`);
  return [run.reason, note?.slice(0, 500), ...params]
    .filter(text => text !== null && text !== undefined)
    .join('\n');
}
