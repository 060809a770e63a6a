import { Button, refreshIcon, settingsIcon } from '@jupyterlab/ui-components';
import React from 'react';
import { CommandIds } from '../commandids';
import { useNow } from '../components/clock';
import { Empty, Failed, Loading, Snippet } from '../components/states';
import { useTrans } from '../components/trans';
import type { ISidebarContext } from './context';
import { FilterBox } from './filterbox';
import { buildItems } from './items';
import { ExperimentSelect, OrderSelect } from './toolbar';
import { RunTree } from './tree';

const ENABLE = 'jupyter server extension enable mlops_nb_server';
const FIRST_RUN = '%load_ext mlops_nb\n%track on';

/** The whole panel. */
export function SidebarView(props: {
  context: ISidebarContext;
}): React.JSX.Element {
  const { context } = props;
  const { model, state, execute } = context;
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
          onClick={() => {
            execute(CommandIds.refresh);
          }}
        >
          <refreshIcon.react tag="span" />
        </Button>
        {context.openSettings && (
          <Button
            className="jp-mod-minimal mlops-nb-icon-button"
            title={trans.__('Settings')}
            aria-label={trans.__('Settings')}
            onClick={context.openSettings}
          >
            <settingsIcon.react tag="span" />
          </Button>
        )}
      </header>
      <Body context={context} />
      <SelectionBar context={context} />
      <div className="mlops-nb-sr" aria-live="polite">
        {state.announcement}
      </div>
    </>
  );
}

function Body(props: { context: ISidebarContext }): React.JSX.Element {
  const { context } = props;
  const { model, state } = context;
  const trans = useTrans();
  const retry = () => {
    void model.refresh();
  };
  const now = useNow(
    model.running.ids.length > 0 || context.runners.list.length > 0,
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
    model.running.ids.length === 0 &&
    context.endpoints.list.length === 0 &&
    context.runners.list.length === 0 &&
    !model.project.isFiltered;
  return (
    <>
      {!isEmpty && (
        <>
          <FilterBox model={model} />
          <div className="mlops-nb-toolbar">
            <ExperimentSelect model={model} />
            <OrderSelect model={model} />
          </div>
        </>
      )}
      {model.phase === 'error' && (
        <Failed
          what={
            model.seenAt === null
              ? trans.__('Not up to date.')
              : trans.__(
                  'Not up to date: this is from %1.',
                  clock(model.seenAt)
                )
          }
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
        problem ? null : (
          <NoRuns context={context} />
        )
      ) : (
        <Tree context={context} now={now} />
      )}
    </>
  );
}

function Tree(props: {
  context: ISidebarContext;
  now: number;
}): React.JSX.Element {
  const { context, now } = props;
  const { model, choices, state } = context;
  const items = buildItems(
    model,
    choices.current,
    state.isOpen,
    context.endpoints.list,
    context.runners.list
  );
  return <RunTree items={items} context={context} now={now} />;
}

function NoRuns(props: { context: ISidebarContext }): React.JSX.Element {
  const { execute } = props.context;
  const trans = useTrans();
  return (
    <Empty>
      <strong>{trans.__('No runs yet.')}</strong>
      <span>
        {trans.__('With this in a notebook, each training records itself:')}
      </span>
      <Snippet code={FIRST_RUN} />
      <Button
        className="jp-mod-styled jp-mod-accept"
        onClick={() => {
          execute(CommandIds.insertTracking);
        }}
      >
        {trans.__('Insert %track on')}
      </Button>
    </Empty>
  );
}

function SelectionBar(props: {
  context: ISidebarContext;
}): React.JSX.Element | null {
  const { model, execute } = props.context;
  const trans = useTrans();
  const count = model.selection.ids.length;
  if (count === 0) {
    return null;
  }
  return (
    <div
      className="mlops-nb-selection"
      role="toolbar"
      aria-label={trans.__('Selected runs')}
    >
      <span role="status">{trans._n('%1 selected', '%1 selected', count)}</span>
      <Button
        className="jp-mod-styled jp-mod-accept"
        disabled={count < 2}
        onClick={() => {
          execute(CommandIds.compareRuns, { isPalette: true });
        }}
      >
        {trans.__('Compare')}
      </Button>
      <Button
        className="jp-mod-styled jp-mod-minimal"
        onClick={() => {
          model.selection.clear();
        }}
      >
        {trans.__('Clear')}
      </Button>
    </div>
  );
}

function clock(time: number): string {
  return new Date(time).toLocaleTimeString(undefined, { timeStyle: 'medium' });
}
