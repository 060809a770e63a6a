import { Button, closeIcon, refreshIcon } from '@jupyterlab/ui-components';
import React, { useEffect, useState } from 'react';
import { useNow } from '../components/clock';
import { Empty, Failed, Loading, Snippet } from '../components/states';
import { useTrans } from '../components/trans';
import { isLive, type StoreModel } from '../model';
import { buildItems } from './items';
import { RunTree } from './tree';
import type { SidebarState } from './viewstate';

const TYPING_MS = 250;
const ENABLE = 'jupyter server extension enable mlops_nb_server';
const FIRST_RUN = '%load_ext mlops_nb\n%track start';

/** What the sidebar draws from and calls. */
export interface ISidebarProps {
  model: StoreModel;
  state: SidebarState;
  openRun: (runId: string) => void;
  refresh: () => void;
}

/** The whole panel. */
export function SidebarView(props: ISidebarProps): React.JSX.Element {
  const { model, state } = props;
  const trans = useTrans();
  const project = model.status?.project;
  return (
    <>
      <header className="mlops-nb-header">
        <h2>{trans.__('Experiments')}</h2>
        <span className="mlops-nb-project" title={project?.root} dir="auto">
          {project?.name}
        </span>
        <Button
          className="jp-mod-minimal mlops-nb-icon-button"
          title={trans.__('Refresh')}
          aria-label={trans.__('Refresh')}
          onClick={props.refresh}
        >
          <refreshIcon.react tag="span" />
        </Button>
      </header>
      <Body {...props} />
      <div className="mlops-nb-sr" aria-live="polite">
        {state.announcement}
      </div>
    </>
  );
}

function Body(props: ISidebarProps): React.JSX.Element {
  const { model, state } = props;
  const trans = useTrans();
  const retry = () => {
    void model.refresh();
  };
  const now = useNow(
    [...model.running.ids].some(id => {
      const run = model.records.get(id);
      return run !== null && isLive(run);
    }),
    state.isVisible
  );
  if (model.isServerMissing) {
    return (
      <div className="mlops-nb-state" role="alert">
        <strong>{trans.__('The server extension is not enabled.')}</strong>
        <span>
          {trans.__('Run this in a terminal, then restart the Jupyter server:')}
        </span>
        <Snippet code={ENABLE} />
        <Button className="jp-mod-styled jp-mod-minimal" onClick={retry}>
          {trans.__('Check again')}
        </Button>
      </div>
    );
  }
  if (model.status === null) {
    return model.phase === 'error' ? (
      <Failed
        what={trans.__('Could not read the experiments.')}
        error={model.error}
        retry={retry}
      />
    ) : (
      <Loading label={trans.__('Loading experiments…')} />
    );
  }
  const { problem } = model.status;
  const isEmpty =
    model.experiments.every(experiment => experiment.run_count === 0) &&
    model.running.ids.size === 0 &&
    model.filter.text === '';
  return (
    <>
      <FilterBox model={model} />
      {model.phase === 'error' && (
        <Failed
          what={trans.__('Not up to date.')}
          error={model.error}
          retry={retry}
        />
      )}
      {problem && (
        <p className="mlops-nb-problem" role="status">
          {problem}
        </p>
      )}
      {isEmpty ? (
        <Empty>
          <strong>{trans.__('No runs yet.')}</strong>
          <span>{trans.__('Run this in a notebook to record the first:')}</span>
          <Snippet code={FIRST_RUN} />
        </Empty>
      ) : (
        <RunTree
          items={buildItems(model, state.isOpen)}
          model={model}
          state={state}
          now={now}
          openRun={props.openRun}
        />
      )}
    </>
  );
}

function FilterBox(props: { model: StoreModel }): React.JSX.Element {
  const { model } = props;
  const trans = useTrans();
  const [text, setText] = useState(model.filter.text);
  useEffect(() => {
    if (text.trim() === model.filter.text) {
      return;
    }
    const timer = window.setTimeout(() => {
      void model.setFilter(text);
    }, TYPING_MS);
    return () => {
      window.clearTimeout(timer);
    };
  }, [text, model]);
  const { error } = model.filter;
  return (
    <div className="mlops-nb-filter">
      <input
        type="search"
        className="jp-mod-styled"
        spellCheck={false}
        autoComplete="off"
        value={text}
        placeholder={trans.__('name, or metrics.acc > 0.9')}
        aria-label={trans.__('Filter runs')}
        aria-invalid={error !== null}
        aria-describedby="mlops-nb-filter-message"
        title={trans.__('Press / to come here, Escape to clear')}
        onChange={event => {
          setText(event.target.value);
        }}
        onKeyDown={event => {
          if (event.key === 'Escape' && text !== '') {
            event.preventDefault();
            event.stopPropagation();
            setText('');
          }
        }}
      />
      {text !== '' && (
        <Button
          className="jp-mod-minimal mlops-nb-icon-button mlops-nb-clear"
          title={trans.__('Clear the filter')}
          aria-label={trans.__('Clear the filter')}
          onClick={() => {
            setText('');
          }}
        >
          <closeIcon.react tag="span" />
        </Button>
      )}
      <div
        id="mlops-nb-filter-message"
        className="mlops-nb-filter-message"
        aria-live="polite"
      >
        {error && (
          <>
            {error.message}
            {error.hint && <span className="mlops-nb-hint">{error.hint}</span>}
          </>
        )}
      </div>
    </div>
  );
}
