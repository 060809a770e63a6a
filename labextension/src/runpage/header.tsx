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
  /** Show the results of the run at the cells of its notebook. */
  showInNotebook: (() => void) | null;
  openRun: (runId: string) => void;
}): React.JSX.Element {
  const { run, experiment, now } = props;
  const trans = useTrans();
  const duration = runDuration(run, now);
  const notebook = run.tags['mlops.notebook'];
  const source = run.tags['mlflow.source.name'];
  const parent = run.tags['mlflow.parentRunId'];
  const grade = run.tags['mlops.hygiene'];
  const verified = run.tags['mlops.verified'];
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
        {grade !== undefined && <Grade grade={grade} />}
        {verified !== undefined && (
          <span
            className="mlops-nb-badge"
            title={trans.__('Whether a fresh kernel gave the same metrics.')}
          >
            {verified === 'true'
              ? trans.__('✓ verified')
              : trans.__('✗ not reproduced')}
          </span>
        )}
        <span className="mlops-nb-actions">
          {props.showInNotebook && (
            <Button
              className="jp-mod-styled jp-mod-minimal"
              onClick={props.showInNotebook}
            >
              {trans.__('Show in notebook')}
            </Button>
          )}
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
            <button
              type="button"
              className="mlops-nb-link"
              onClick={() => {
                props.openRun(parent);
              }}
            >
              <code>{parent.slice(0, 8)}</code>
            </button>
          </Fact>
        )}
        <Fact name={trans.__('Run id')}>
          <code>{run.run_id}</code>
          <CopyButton text={run.run_id} label={trans.__('Copy the run id')} />
        </Fact>
      </dl>
    </header>
  );
}

/** How the run's cells stand to the notebook. */
function Grade(props: { grade: string }): React.JSX.Element {
  const trans = useTrans();
  const grades: Partial<Record<string, [string, string]>> = {
    linear: [
      trans.__('✓ linear'),
      trans.__('The notebook, run from top to bottom, does the same.')
    ],
    reordered: [
      trans.__('⚠ reordered'),
      trans.__('It works in the order in which the cells ran.')
    ],
    unsaved: [
      trans.__('⚠ unsaved'),
      trans.__('It needs a version of a cell that the notebook has no more.')
    ]
  };
  const [word, meaning] = grades[props.grade] ?? [props.grade, ''];
  return (
    <span className="mlops-nb-badge" title={meaning}>
      {word}
    </span>
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
