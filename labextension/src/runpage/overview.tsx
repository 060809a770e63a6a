import React from 'react';
import type { ICell, IRun } from '../api';
import { useTrans } from '../components/trans';
import { formatTime, formatValue, isSystemTag } from '../format';
import type { RunDetail } from '../model';
import { promptOf } from './cells';
import { SYSTEM } from './metrics';
import { Note, Tags } from './notes';
import { PairTable } from './parts';
import { Progress } from './progress';

const EXAMPLE = '%track log acc=0.9';
const NOTE = 'mlflow.note.content';

export interface IOverviewProps {
  detail: RunDetail;
  run: IRun;
  cells: readonly ICell[];
  showCell: (index: number) => void;
  showMetric: (key: string) => void;
  compare: (runIds: string[]) => void;
}

/** The latest values, what changed since the attempt before, params and tags. */
export function Overview(props: IOverviewProps): React.JSX.Element {
  const { detail, run } = props;
  const trans = useTrans();
  const tags = Object.entries(run.tags);
  const system = tags.filter(([key]) => isSystemTag(key));
  const params = Object.entries(run.params);
  return (
    <>
      <Note
        note={run.tags[NOTE] ?? ''}
        save={note => detail.patch({ tags: { [NOTE]: note } })}
      />
      <Progress detail={detail} run={run} compare={props.compare} />
      <div className="mlops-nb-overview">
        <section>
          <h2>{trans.__('Metrics')}</h2>
          {run.metrics.every(metric => metric.key.startsWith(SYSTEM)) ? (
            <p className="mlops-nb-none">
              {trans.__('None logged. Try')} <code>{EXAMPLE}</code>
            </p>
          ) : (
            <MetricTable {...props} />
          )}
        </section>
        {params.length > 0 && (
          <section>
            <h2>{trans.__('Params')}</h2>
            <PairTable pairs={params} label={trans.__('Params')} />
          </section>
        )}
        <section>
          <h2>{trans.__('Tags')}</h2>
          <Tags
            tags={tags.filter(([key]) => !isSystemTag(key))}
            change={change => detail.patch({ tags: change })}
          />
          {system.length > 0 && (
            <details>
              <summary>
                {trans._n('%1 system tag', '%1 system tags', system.length)}
              </summary>
              <PairTable pairs={system} label={trans.__('System tags')} />
            </details>
          )}
        </section>
      </div>
    </>
  );
}

function MetricTable(props: IOverviewProps): React.JSX.Element {
  const trans = useTrans();
  return (
    <table className="mlops-nb-table" aria-label={trans.__('Metrics')}>
      <thead>
        <tr>
          <th scope="col">{trans.__('Metric')}</th>
          <th scope="col" className="mlops-nb-num">
            {trans.__('Latest')}
          </th>
          <th scope="col" className="mlops-nb-num">
            {trans.__('Step')}
          </th>
          <th scope="col" className="mlops-nb-num">
            {trans.__('Cell')}
          </th>
        </tr>
      </thead>
      <tbody>
        {props.run.metrics
          .filter(metric => !metric.key.startsWith(SYSTEM))
          .map(metric => (
            <tr key={metric.key} title={formatTime(metric.timestamp)}>
              <th scope="row" dir="auto">
                <button
                  type="button"
                  className="mlops-nb-link"
                  onClick={() => {
                    props.showMetric(metric.key);
                  }}
                >
                  {metric.key}
                </button>
              </th>
              <td className="mlops-nb-num" title={String(metric.value)}>
                {formatValue(metric.value)}
              </td>
              <td className="mlops-nb-num">{metric.step.toLocaleString()}</td>
              <td className="mlops-nb-num">
                <CellLink
                  index={metric.cell}
                  cells={props.cells}
                  show={props.showCell}
                />
              </td>
            </tr>
          ))}
      </tbody>
    </table>
  );
}

/** The cell that logged a value, as the notebook numbers it. */
function CellLink(props: {
  index: number | null;
  cells: readonly ICell[];
  show: (index: number) => void;
}): React.JSX.Element {
  const { index, cells, show } = props;
  const trans = useTrans();
  const cell = cells.find(c => c.index === index);
  return cell ? (
    <button
      type="button"
      className="mlops-nb-link"
      title={cell.source}
      aria-label={trans.__('Show cell %1', promptOf(cell))}
      onClick={() => {
        show(cell.index);
      }}
    >
      {promptOf(cell)}
    </button>
  ) : (
    <span>–</span>
  );
}
