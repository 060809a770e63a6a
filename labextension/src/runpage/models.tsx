import React from 'react';
import type { IRun } from '../api';
import { Empty, Snippet } from '../components/states';
import { useTrans } from '../components/trans';
import type { RunDetail } from '../model';
import type { IField, IModelDescription } from '../pageapi';
import { PairTable, PartView } from './parts';

/** Whether a run made models. */
export function hasModels(run: IRun): boolean {
  return (
    (run.outputs?.length ?? 0) > 0 ||
    run.tags['mlflow.log-model.history'] !== undefined
  );
}

/** The models that a run made. */
export function Models(props: { detail: RunDetail }): React.JSX.Element {
  const trans = useTrans();
  return (
    <PartView
      detail={props.detail}
      part="models"
      loading={trans.__('Loading the models…')}
      failed={trans.__('Could not read the models.')}
    >
      {models =>
        models.length === 0 ? (
          <Empty>{trans.__('No models are here any more.')}</Empty>
        ) : (
          <div className="mlops-nb-stack">
            {models.map(model => (
              <section key={model.uri}>
                <h2 dir="auto">
                  {model.name}{' '}
                  {model.status !== '' && model.status !== 'READY' && (
                    <span className="mlops-nb-badge">{model.status}</span>
                  )}
                </h2>
                <ModelFacts model={model} />
              </section>
            ))}
          </div>
        )
      }
    </PartView>
  );
}

/** What a model is: flavors, signature, params, how to load it. */
export function ModelFacts(props: {
  model: IModelDescription;
}): React.JSX.Element {
  const { model } = props;
  const trans = useTrans();
  const flavors = model.flavors
    .filter(flavor => flavor.name !== 'python_function')
    .map(({ name, version }) => (version ? `${name} ${version}` : name));
  const facts: [string, string][] = [
    [trans.__('Id'), model.model_id],
    [trans.__('Flavors'), flavors.join(', ')],
    [trans.__('Type'), model.model_type],
    [trans.__('Step'), model.step === null ? '' : String(model.step)],
    [trans.__('Made'), model.created]
  ];
  const params = Object.entries(model.params);
  return (
    <>
      {model.problem !== '' && (
        <p className="mlops-nb-none" role="status">
          {trans.__('⚠ Its files cannot be described: %1', model.problem)}
        </p>
      )}
      <dl className="mlops-nb-facts">
        {facts
          .filter(([, value]) => value !== '')
          .map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd dir="auto">{value}</dd>
            </div>
          ))}
      </dl>
      <div className="mlops-nb-overview">
        <Fields title={trans.__('Inputs')} fields={model.inputs} />
        <Fields title={trans.__('Outputs')} fields={model.outputs} />
        {params.length > 0 && (
          <div>
            <h3>{trans.__('Params')}</h3>
            <PairTable pairs={params} label={trans.__('Params')} />
          </div>
        )}
      </div>
      <h3>{trans.__('Load it')}</h3>
      <Snippet code={loadCode(model)} />
    </>
  );
}

function Fields(props: {
  title: string;
  fields: IField[] | null;
}): React.JSX.Element | null {
  const trans = useTrans();
  return props.fields === null ? null : (
    <div>
      <h3>{props.title}</h3>
      <PairTable
        label={props.title}
        pairs={props.fields.map((field, index) => [
          field.name === '' ? String(index) : field.name,
          field.required ? field.type : trans.__('%1, optional', field.type)
        ])}
      />
    </div>
  );
}

const LOADERS = new Set(
  (
    'sklearn xgboost lightgbm catboost statsmodels pytorch tensorflow keras ' +
    'transformers onnx prophet spacy sentence_transformers'
  ).split(' ')
);

/** Python that loads a model as what it was, or as a function on tables. */
export function loadCode(model: IModelDescription): string {
  const own = model.flavors.find(flavor => LOADERS.has(flavor.name));
  const flavor = own?.name ?? 'pyfunc';
  const module = own ? `mlflow.${flavor}` : 'mlflow.pyfunc';
  return `import ${module}\n\nmodel = ${module}.load_model(${JSON.stringify(model.uri)})`;
}
