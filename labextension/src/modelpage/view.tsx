import React, { useEffect, useState } from 'react';
import { Empty, Failed, Loading } from '../components/states';
import { useTrans } from '../components/trans';
import { formatTime } from '../format';
import type { IModelVersion } from '../pageapi';
import { ModelFacts } from '../runpage/models';
import { PairTable } from '../runpage/parts';
import type { RegisteredModelModel } from './model';

/** A registered model: its versions, and what the chosen one is. */
export function ModelView(props: {
  model: RegisteredModelModel;
  openRun: (runId: string) => void;
}): React.JSX.Element {
  const { model } = props;
  const trans = useTrans();
  const [chosen, setChosen] = useState<string | null>(null);
  const { registered, versions, error } = model;
  const version =
    versions.find(one => one.version === chosen) ?? versions[0] ?? null;
  if (!registered) {
    return error === null ? (
      <Loading label={trans.__('Loading the model…')} />
    ) : (
      <Failed
        what={trans.__('Could not read the model %1.', model.name)}
        error={error}
        retry={() => {
          void model.load();
        }}
      />
    );
  }
  const tags = registered.tags ?? [];
  return (
    <>
      <header className="mlops-nb-run-header">
        <div className="mlops-nb-run-title">
          <h1 dir="auto">{registered.name}</h1>
          <span className="mlops-nb-badge">
            {trans._n('%1 version', '%1 versions', versions.length)}
          </span>
        </div>
        {registered.description && (
          <p className="mlops-nb-run-note" dir="auto">
            {registered.description}
          </p>
        )}
        {tags.length > 0 && (
          <ul className="mlops-nb-tag-list">
            {tags.map(({ key, value }) => (
              <li key={key} className="mlops-nb-tag mlops-nb-tag-fixed">
                {value === '' ? key : `${key}=${value}`}
              </li>
            ))}
          </ul>
        )}
      </header>
      {version ? (
        <div className="mlops-nb-stack">
          <VersionTable
            model={model}
            chosen={version}
            choose={setChosen}
            openRun={props.openRun}
          />
          <Version model={model} version={version} />
        </div>
      ) : (
        <Empty>
          {trans.__('No versions yet. Register one from a run with a model.')}
        </Empty>
      )}
    </>
  );
}

function VersionTable(props: {
  model: RegisteredModelModel;
  chosen: IModelVersion;
  choose: (version: string) => void;
  openRun: (runId: string) => void;
}): React.JSX.Element {
  const { model } = props;
  const trans = useTrans();
  return (
    <div className="mlops-nb-scroll" tabIndex={0} role="group">
      <table className="mlops-nb-table" aria-label={trans.__('Versions')}>
        <thead>
          <tr>
            <th scope="col">{trans.__('Version')}</th>
            <th scope="col">{trans.__('Aliases')}</th>
            <th scope="col">{trans.__('Stage')}</th>
            <th scope="col">{trans.__('Run')}</th>
            <th scope="col">{trans.__('Made')}</th>
            <th scope="col">{trans.__('By')}</th>
          </tr>
        </thead>
        <tbody>
          {model.versions.map(version => (
            <tr
              key={version.version}
              data-chosen={version.version === props.chosen.version}
            >
              <th scope="row">
                <button
                  type="button"
                  className="mlops-nb-link"
                  aria-pressed={version.version === props.chosen.version}
                  onClick={() => {
                    props.choose(version.version);
                  }}
                >
                  {trans.__('v%1', version.version)}
                </button>
                {version.status !== 'READY' && ` ${version.status}`}
              </th>
              <td dir="auto">
                {(version.aliases ?? []).map(alias => `@${alias}`).join(' ')}
              </td>
              <td>
                {version.current_stage === 'None' ? '' : version.current_stage}
              </td>
              <td>
                <SourceRun
                  version={version}
                  model={model}
                  openRun={props.openRun}
                />
              </td>
              <td>{formatTime(version.creation_timestamp)}</td>
              <td dir="auto">{version.user_id}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function SourceRun(props: {
  version: IModelVersion;
  model: RegisteredModelModel;
  openRun: (runId: string) => void;
}): React.JSX.Element | null {
  const runId = props.version.run_id ?? '';
  return runId === '' ? null : (
    <button
      type="button"
      className="mlops-nb-link"
      dir="auto"
      onClick={() => {
        props.openRun(runId);
      }}
    >
      {props.model.runName(runId)}
    </button>
  );
}

function Version(props: {
  model: RegisteredModelModel;
  version: IModelVersion;
}): React.JSX.Element {
  const { model, version } = props;
  const trans = useTrans();
  useEffect(() => {
    void model.describe(version.version);
  }, [model, version.version]);
  const description = model.description(version.version);
  const tags = version.tags ?? [];
  return (
    <section aria-live="polite">
      <h2>{trans.__('Version %1', version.version)}</h2>
      {version.description && (
        <p className="mlops-nb-run-note" dir="auto">
          {version.description}
        </p>
      )}
      {tags.length > 0 && (
        <PairTable
          label={trans.__('Tags')}
          pairs={tags.map(({ key, value }) => [key, value] as const)}
        />
      )}
      {description ? (
        <ModelFacts model={description} />
      ) : (
        <Loading label={trans.__('Loading the signature…')} />
      )}
      <p className="mlops-nb-card-facts" dir="auto">
        {trans.__('Made from %1', version.source)}
      </p>
    </section>
  );
}
