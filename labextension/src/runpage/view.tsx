import { Button } from '@jupyterlab/ui-components';
import React, { useEffect, useState } from 'react';
import { useNow } from '../components/clock';
import { Failed, Loading } from '../components/states';
import { useTrans } from '../components/trans';
import { isLive, type RunDetail, type StoreModel } from '../model';
import { Artifacts } from './artifacts';
import { Cells } from './cells';
import { RunHeader } from './header';
import { Metrics } from './metrics';
import { Overview } from './overview';
import { Tabs } from './tabs';

/** What a run page draws from and calls. */
export interface IRunViewProps {
  detail: RunDetail;
  model: StoreModel;
  isVisible: boolean;
  /** Changes with the theme, whose colours the charts read when they draw. */
  theme: number;
  rename: () => void;
  remove: () => void;
  restore: () => void;
}

/** The whole page. */
export function RunView(props: IRunViewProps): React.JSX.Element {
  const { detail, model } = props;
  const trans = useTrans();
  const [tab, setTab] = useState('overview');
  const [target, setTarget] = useState<number | null>(null);
  const { run } = detail;
  const now = useNow(run !== null && isLive(run), props.isVisible);
  useEffect(() => {
    detail.need('series');
    detail.need('cells');
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
  return (
    <>
      {run.lifecycle_stage === 'deleted' && (
        <div className="mlops-nb-banner" role="status">
          {trans.__('This run is deleted.')}
          <Button
            className="jp-mod-styled jp-mod-minimal"
            onClick={props.restore}
          >
            {trans.__('Restore')}
          </Button>
        </div>
      )}
      <RunHeader
        run={run}
        experiment={model.experiment(run.experiment_id)}
        now={now}
        rename={props.rename}
        remove={props.remove}
      />
      <Tabs
        prefix={`mlops-nb-${run.run_id}`}
        label={trans.__('Parts of the run')}
        current={tab}
        select={id => {
          setTarget(null);
          setTab(id);
        }}
        tabs={[
          {
            id: 'overview',
            label: trans.__('Overview'),
            render: () => (
              <Overview
                run={run}
                cells={detail.cells.value ?? []}
                showCell={index => {
                  setTarget(index);
                  setTab('cells');
                }}
              />
            )
          },
          {
            id: 'metrics',
            label: trans.__('Metrics'),
            render: () => <Metrics detail={detail} theme={props.theme} />
          },
          {
            id: 'cells',
            label: trans.__('Cells'),
            render: () => <Cells detail={detail} target={target} />
          },
          {
            id: 'artifacts',
            label: trans.__('Artifacts'),
            render: () => <Artifacts detail={detail} />
          }
        ]}
      />
    </>
  );
}
