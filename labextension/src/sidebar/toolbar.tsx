import { HTMLSelect } from '@jupyterlab/ui-components';
import React from 'react';
import { useTrans } from '../components/trans';
import { directionOf } from '../direction';
import { NEWEST_FIRST, type StoreModel } from '../model';

const MOST_METRICS = 30;

/** Which experiment is listed. */
export function ExperimentSelect(props: {
  model: StoreModel;
}): React.JSX.Element {
  const { model } = props;
  const trans = useTrans();
  return (
    <HTMLSelect
      className="mlops-nb-select mlops-nb-experiment"
      value={model.project.scope.experimentId ?? ''}
      aria-label={trans.__('Experiment')}
      title={trans.__('The experiment that is listed')}
      onChange={event => {
        void model.setScope({ experimentId: event.target.value || null });
      }}
    >
      <option value="">{trans.__('All experiments')}</option>
      {model.experiments.map(({ experiment_id, name, run_count }) => (
        <option key={experiment_id} value={experiment_id}>
          {`${name.slice(0, 60)} (${run_count})`}
        </option>
      ))}
    </HTMLSelect>
  );
}

/** In which order the runs of the project are listed; the server sorts. */
export function OrderSelect(props: { model: StoreModel }): React.JSX.Element {
  const { model } = props;
  const trans = useTrans();
  const orders: [clause: string, label: string][] = [
    [NEWEST_FIRST, trans.__('newest first')],
    ['attributes.start_time ASC', trans.__('oldest first')],
    ['attributes.run_name ASC', trans.__('by name')]
  ];
  const current = model.project.scope.order;
  for (const key of metricKeys(model)) {
    const name = `metrics.\`${key.replaceAll('`', '``')}\``;
    const isLower = directionOf(key) === 'lower';
    orders.push([
      `${name} ${isLower ? 'ASC' : 'DESC'}`,
      isLower ? trans.__('lowest %1', key) : trans.__('highest %1', key)
    ]);
  }
  if (!orders.some(([clause]) => clause === current)) {
    orders.push([current, current]);
  }
  return (
    <HTMLSelect
      className="mlops-nb-select mlops-nb-order"
      value={current}
      aria-label={trans.__('Order')}
      title={trans.__('The order of the runs of the project')}
      onChange={event => {
        void model.setScope({ order: event.target.value });
      }}
    >
      {orders.map(([clause, label]) => (
        <option key={clause} value={clause}>
          {label}
        </option>
      ))}
    </HTMLSelect>
  );
}

function metricKeys(model: StoreModel): string[] {
  const keys = new Set<string>();
  for (const run of model.records.of(model.project.list).slice(0, 200)) {
    for (const { key } of run.metrics) {
      if (!key.startsWith('system/') && keys.size < MOST_METRICS) {
        keys.add(key);
      }
    }
  }
  return [...keys].sort();
}
