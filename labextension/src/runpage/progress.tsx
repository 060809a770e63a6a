import { Button } from '@jupyterlab/ui-components';
import React, { useEffect } from 'react';
import type { IRun } from '../api';
import { Delta } from '../comparepage/delta';
import { useTrans } from '../components/trans';
import { formatValue } from '../format';
import { isLive, type RunDetail } from '../model';

const MOST = 6;

/** What changed since the attempt before, where there was one. */
export function Progress(props: {
  detail: RunDetail;
  run: IRun;
  compare: (runIds: string[]) => void;
}): React.JSX.Element | null {
  const { detail, run } = props;
  const trans = useTrans();
  const isAsked = run.tags['mlops.series'] !== undefined && !isLive(run);
  useEffect(() => {
    if (isAsked) {
      detail.need('progress');
    }
  }, [detail, isAsked]);
  const { value } = detail.part('progress');
  const before = value?.runs[0];
  if (!value || !before) {
    return null;
  }
  const metrics = (value.metrics ?? []).filter(row => row.changes.length > 0);
  const params = (value.params ?? []).filter(row => row.changed);
  return (
    <section className="mlops-nb-progress">
      <h2>{trans.__('Since %1', before.name)}</h2>
      <p dir="auto">{value.verdict.text}</p>
      <ul>
        {metrics.slice(0, MOST).map(row => {
          const change = row.changes[0];
          return change ? (
            <li key={row.key} dir="auto">
              {row.key} {row.base === null ? '–' : formatValue(row.base)} →{' '}
              {change.value === null ? '–' : formatValue(change.value)}{' '}
              <Delta change={change} />
            </li>
          ) : null;
        })}
        {params.slice(0, MOST).map(row => (
          <li key={`p ${row.key}`} dir="auto">
            {row.key} {row.values[0] ?? '–'} → {row.values[1] ?? '–'}
          </li>
        ))}
      </ul>
      <Button
        className="jp-mod-styled jp-mod-minimal"
        onClick={() => {
          props.compare([before.run_id, run.run_id]);
        }}
      >
        {trans.__('Compare both')}
      </Button>
    </section>
  );
}
