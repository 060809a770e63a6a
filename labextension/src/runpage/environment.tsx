import React, { useState } from 'react';
import type { IRun } from '../api';
import { Empty } from '../components/states';
import { useTrans } from '../components/trans';
import { formatSize } from '../format';
import type { RunDetail } from '../model';
import type { IEnvironment } from '../pageapi';
import { matches, NameFilter, PairTable, PartView } from './parts';

/** Whether anything was kept of what a run ran on. */
export function hasEnvironment(run: IRun): boolean {
  return ['mlops.environment', 'mlops.python', 'mlflow.source.git.commit'].some(
    tag => run.tags[tag] !== undefined
  );
}

/** What a run ran on: code, machine, packages. */
export function Environment(props: {
  detail: RunDetail;
  openFile: (path: string) => void;
}): React.JSX.Element {
  const trans = useTrans();
  return (
    <PartView
      detail={props.detail}
      part="environment"
      loading={trans.__('Loading the environment…')}
      failed={trans.__('Could not read the environment.')}
    >
      {value => <Facts environment={value} openFile={props.openFile} />}
    </PartView>
  );
}

function Facts(props: {
  environment: IEnvironment;
  openFile: (path: string) => void;
}): React.JSX.Element {
  const { machine, gpus, packages, git } = props.environment;
  const trans = useTrans();
  const [text, setText] = useState('');
  const names: Partial<Record<string, string>> = {
    python: trans.__('Python'),
    implementation: trans.__('Implementation'),
    system: trans.__('System'),
    machine: trans.__('Architecture'),
    processor: trans.__('Processor'),
    processors: trans.__('Processors'),
    processors_usable: trans.__('Processors usable'),
    memory: trans.__('Memory'),
    gpu_driver: trans.__('GPU driver')
  };
  const facts = Object.entries(machine).map(
    ([key, value]): [string, string] => [
      names[key] ?? key,
      key === 'memory' && typeof value === 'number'
        ? formatSize(value)
        : String(value ?? '')
    ]
  );
  if (gpus.length > 0) {
    facts.push([trans.__('GPUs'), gpus.join(', ')]);
  }
  const code: [string, string][] = [
    [trans.__('Commit'), git.commit],
    [trans.__('Branch'), git.branch],
    [trans.__('Repository'), git.repository]
  ];
  const known = code.filter(([, value]) => value !== '');
  const installed = Object.entries(packages);
  const { changes } = git;
  if (known.length + facts.length + installed.length === 0) {
    return <Empty>{trans.__('Nothing was kept of the environment.')}</Empty>;
  }
  return (
    <div className="mlops-nb-overview">
      <div className="mlops-nb-stack">
        {known.length > 0 && (
          <section>
            <h2>{trans.__('Code')}</h2>
            <PairTable pairs={known} label={trans.__('Code')} />
            {git.is_dirty && (
              <p>
                {trans.__('⚠ Files had changes that were not committed.')}{' '}
                {changes !== null && (
                  <button
                    type="button"
                    className="mlops-nb-link"
                    onClick={() => {
                      props.openFile(changes);
                    }}
                  >
                    {trans.__('Show them')}
                  </button>
                )}
              </p>
            )}
          </section>
        )}
        {facts.length > 0 && (
          <section>
            <h2>{trans.__('Machine')}</h2>
            <PairTable pairs={facts} label={trans.__('Machine')} />
          </section>
        )}
      </div>
      {installed.length > 0 && (
        <section>
          <h2>{trans._n('%1 package', '%1 packages', installed.length)}</h2>
          <NameFilter
            text={text}
            set={setText}
            label={trans.__('Filter packages')}
          />
          <PairTable
            pairs={installed.filter(([name]) => matches(name, text))}
            label={trans.__('Packages')}
          />
        </section>
      )}
    </div>
  );
}
