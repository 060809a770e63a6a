import { Button } from '@jupyterlab/ui-components';
import React, { useEffect } from 'react';
import type { ICell } from '../api';
import { useNow } from '../components/clock';
import { Failed, Loading } from '../components/states';
import { useTrans } from '../components/trans';
import { isLive, type RunDetail, type StoreModel } from '../model';
import { Artifacts } from './artifacts';
import { Cells } from './cells';
import { Data } from './data';
import { Environment, hasEnvironment } from './environment';
import { RunHeader } from './header';
import { hasLog, Logs } from './logs';
import { Metrics, SYSTEM } from './metrics';
import { hasModels, Models } from './models';
import { Overview } from './overview';
import { PairTable } from './parts';
import { type ITab, Tabs } from './tabs';

/** What a run page shows of its run. */
export interface IRunPlace {
  tab: string;
  metric?: string | null;
  /** The index of an execution. */
  cell?: number | null;
  file?: string | null;
}

/** What a run page can have done elsewhere. */
export interface IRunActions {
  rename: () => void;
  remove: () => void;
  restore: () => void;
  openRun: (runId: string) => void;
  compare: (runIds: string[]) => void;
  goToCell: (notebook: string, cell: ICell) => void;
  showInNotebook: (notebook: string) => void;
}

/** What a run page draws from and calls. */
export interface IRunViewProps {
  detail: RunDetail;
  model: StoreModel;
  isVisible: boolean;
  /** Changes with the theme, whose colours the charts read when they draw. */
  theme: number;
  place: IRunPlace;
  go: (place: IRunPlace) => void;
  actions: IRunActions;
}

/** The whole page. */
export function RunView(props: IRunViewProps): React.JSX.Element {
  const { detail, model, place, actions } = props;
  const trans = useTrans();
  const { run } = detail;
  const tabs = useTabs(props);
  const now = useNow(run !== null && isLive(run), props.isVisible);
  useEffect(() => {
    detail.need('cells');
    detail.need('artifacts');
  }, [detail]);

  if (!run) {
    return detail.error === null ? (
      <Loading label={trans.__('Loading the run…')} />
    ) : (
      <Failed
        what={trans.__('Could not read run %1.', detail.runId)}
        error={detail.error}
        retry={() => {
          void detail.load();
        }}
      />
    );
  }
  const notebook = run.tags['mlops.notebook'];
  return (
    <>
      {run.lifecycle_stage === 'deleted' && (
        <div className="mlops-nb-banner" role="status">
          {trans.__('This run is deleted.')}
          <Button
            className="jp-mod-styled jp-mod-minimal"
            onClick={actions.restore}
          >
            {trans.__('Restore')}
          </Button>
        </div>
      )}
      <RunHeader
        run={run}
        experiment={model.experiment(run.experiment_id)}
        now={now}
        rename={actions.rename}
        remove={actions.remove}
        openRun={actions.openRun}
        showInNotebook={
          notebook === undefined
            ? null
            : () => {
                actions.showInNotebook(notebook);
              }
        }
      />
      <Tabs
        prefix={`mlops-nb-${run.run_id}`}
        label={trans.__('Parts of the run')}
        // What is shown may have lost its data.
        current={
          tabs.some(tab => tab.id === place.tab) ? place.tab : 'overview'
        }
        select={tab => {
          props.go({ tab });
        }}
        tabs={tabs}
      />
    </>
  );
}

/** The tabs that have something to show. */
function useTabs(props: IRunViewProps): ITab[] {
  const { detail, place, actions, go, theme } = props;
  const trans = useTrans();
  const { run } = detail;
  if (!run) {
    return [];
  }
  const cells = detail.part('cells').value ?? [];
  const files = detail.part('artifacts').value ?? [];
  const datasets = run.inputs?.datasets ?? [];
  const isSystem = run.metrics.map(({ key }) => key.startsWith(SYSTEM));
  const notebook = run.tags['mlops.notebook'];
  const goToCell =
    notebook === undefined
      ? null
      : (cell: ICell) => {
          actions.goToCell(notebook, cell);
        };
  const metrics = { detail, run, cells, theme, goToCell };
  const tabs: [boolean, string, string, () => React.JSX.Element][] = [
    [
      true,
      'overview',
      trans.__('Overview'),
      () => (
        <Overview
          detail={detail}
          run={run}
          cells={cells}
          compare={actions.compare}
          showCell={cell => {
            go({ tab: 'cells', cell });
          }}
          showMetric={metric => {
            go({ tab: 'metrics', metric });
          }}
        />
      )
    ],
    [
      isSystem.includes(false),
      'metrics',
      trans.__('Metrics'),
      () => <Metrics {...metrics} target={place.metric ?? null} />
    ],
    [
      Object.keys(run.params).length > 0,
      'params',
      trans.__('Params'),
      () => <PairTable pairs={Object.entries(run.params)} />
    ],
    [
      cells.length > 0,
      'cells',
      trans.__('Cells'),
      () => (
        <Cells
          detail={detail}
          run={run}
          cells={cells}
          target={place.cell ?? null}
          goToCell={goToCell}
        />
      )
    ],
    [
      datasets.length > 0,
      'data',
      trans.__('Data'),
      () => <Data datasets={datasets} />
    ],
    [
      hasEnvironment(run),
      'environment',
      trans.__('Environment'),
      () => (
        <Environment
          detail={detail}
          openFile={file => {
            go({ tab: 'artifacts', file });
          }}
        />
      )
    ],
    [
      isSystem.includes(true),
      'system',
      trans.__('System'),
      () => <Metrics {...metrics} isSystem target={place.metric ?? null} />
    ],
    [
      files.length > 0,
      'artifacts',
      trans.__('Artifacts'),
      () => (
        <Artifacts detail={detail} files={files} target={place.file ?? null} />
      )
    ],
    [
      hasModels(run),
      'models',
      trans.__('Models'),
      () => <Models detail={detail} />
    ],
    [cells.some(hasLog), 'logs', trans.__('Logs'), () => <Logs cells={cells} />]
  ];
  return tabs
    .filter(([isThere]) => isThere)
    .map(([, id, label, render]) => ({ id, label, render }));
}
