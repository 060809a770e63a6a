import { Button } from '@jupyterlab/ui-components';
import React from 'react';
import type { IExperiment, IRun } from '../api';
import { CopyButton } from '../components/copy';
import { StatusMark } from '../components/status';
import { useTrans } from '../components/trans';
import {
  formatClock,
  formatDuration,
  formatTime,
  runDuration
} from '../format';
import { isLive } from '../model';

/** What a run is: name, status with its reason, and where it came from. */
export function RunHeader(props: {
  run: IRun;
  experiment: IExperiment | null;
  now: number;
  rename: () => void;
  remove: () => void;
}): React.JSX.Element {
  const { run, experiment, now } = props;
  const trans = useTrans();
  const duration = runDuration(run, now);
  const notebook = run.tags['mlops.notebook'];
  const source = run.tags['mlflow.source.name'];
  const parent = run.tags['mlflow.parentRunId'];
  const note = run.tags['mlflow.note.content'];
  const attempt = run.tags['mlops.attempt'];
  return (
    <header className="mlops-nb-run-header">
      <div className="mlops-nb-run-title">
        <h1 title={run.name} dir="auto">
          {run.name}
        </h1>
        {attempt !== undefined && (
          <span className="mlops-nb-badge">
            {trans.__('attempt %1', attempt)}
          </span>
        )}
        <span className="mlops-nb-actions">
          <Button
            className="jp-mod-styled jp-mod-minimal"
            onClick={props.rename}
          >
            {trans.__('Rename…')}
          </Button>
          {run.lifecycle_stage === 'active' && (
            <Button
              className="jp-mod-styled jp-mod-minimal"
              onClick={props.remove}
            >
              {trans.__('Delete')}
            </Button>
          )}
        </span>
      </div>
      <p className="mlops-nb-run-status" aria-live="polite">
        <StatusMark status={run.status} showWord />
        {run.reason !== null && <span dir="auto">{run.reason}</span>}
      </p>
      <dl className="mlops-nb-facts">
        <Fact name={trans.__('Experiment')}>
          {experiment?.name ?? run.experiment_id}
        </Fact>
        <Fact name={trans.__('Started')}>
          <time dateTime={new Date(run.start_time).toISOString()}>
            {formatTime(run.start_time)}
          </time>
        </Fact>
        <Fact name={isLive(run) ? trans.__('Running for') : trans.__('Took')}>
          {isLive(run) ? formatClock(duration) : formatDuration(duration)}
        </Fact>
        {run.user !== '' && <Fact name={trans.__('User')}>{run.user}</Fact>}
        {notebook !== undefined && (
          <Fact name={trans.__('Notebook')}>{notebook}</Fact>
        )}
        {notebook === undefined && source !== undefined && (
          <Fact name={trans.__('Source')}>{source}</Fact>
        )}
        {parent !== undefined && (
          <Fact name={trans.__('Parent')}>
            <code>{parent.slice(0, 8)}</code>
          </Fact>
        )}
        <Fact name={trans.__('Run id')}>
          <code>{run.run_id}</code>
          <CopyButton text={run.run_id} label={trans.__('Copy the run id')} />
        </Fact>
      </dl>
      {note !== undefined && note !== '' && (
        <p className="mlops-nb-note" dir="auto">
          {note}
        </p>
      )}
    </header>
  );
}

function Fact(props: {
  name: string;
  children: React.ReactNode;
}): React.JSX.Element {
  return (
    <div>
      <dt>{props.name}</dt>
      <dd dir="auto">{props.children}</dd>
    </div>
  );
}
