import React from 'react';
import type { ICell, IRun } from '../api';
import { useTrans } from '../components/trans';
import { formatTime, formatValue, isSystemTag } from '../format';
import { promptOf } from './cells';

const EXAMPLE = '%track log acc=0.9';

/** The latest values, the params and the tags. */
export function Overview(props: {
  run: IRun;
  cells: readonly ICell[];
  showCell: (index: number) => void;
}): React.JSX.Element {
  const { run } = props;
  const trans = useTrans();
  const tags = Object.entries(run.tags);
  const system = tags.filter(([key]) => isSystemTag(key));
  return (
    <div className="mlops-nb-overview">
      <section>
        <h2>{trans.__('Metrics')}</h2>
        {run.metrics.length === 0 ? (
          <p className="mlops-nb-none">
            {trans.__('None logged. Try')} <code>{EXAMPLE}</code>
          </p>
        ) : (
          <MetricTable {...props} />
        )}
      </section>
      <section>
        <h2>{trans.__('Params')}</h2>
        <PairTable pairs={Object.entries(run.params)} />
      </section>
      <section>
        <h2>{trans.__('Tags')}</h2>
        <PairTable pairs={tags.filter(([key]) => !isSystemTag(key))} />
        {system.length > 0 && (
          <details>
            <summary>
              {trans._n('%1 system tag', '%1 system tags', system.length)}
            </summary>
            <PairTable pairs={system} />
          </details>
        )}
      </section>
    </div>
  );
}

function MetricTable(props: {
  run: IRun;
  cells: readonly ICell[];
  showCell: (index: number) => void;
}): React.JSX.Element {
  const trans = useTrans();
  return (
    <table className="mlops-nb-table">
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
        {props.run.metrics.map(metric => (
          <tr key={metric.key} title={formatTime(metric.timestamp)}>
            <th scope="row" dir="auto">
              {metric.key}
            </th>
            <td className="mlops-nb-num" title={String(metric.value)}>
              {formatValue(metric.value)}
            </td>
            <td className="mlops-nb-num">{metric.step}</td>
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

function PairTable(props: { pairs: [string, string][] }): React.JSX.Element {
  const trans = useTrans();
  if (props.pairs.length === 0) {
    return <p className="mlops-nb-none">{trans.__('None.')}</p>;
  }
  return (
    <table className="mlops-nb-table">
      <thead className="mlops-nb-sr">
        <tr>
          <th scope="col">{trans.__('Name')}</th>
          <th scope="col">{trans.__('Value')}</th>
        </tr>
      </thead>
      <tbody>
        {props.pairs
          .sort(([a], [b]) => a.localeCompare(b))
          .map(([key, value]) => (
            <tr key={key}>
              <th scope="row" dir="auto">
                {key}
              </th>
              <td dir="auto">{value}</td>
            </tr>
          ))}
      </tbody>
    </table>
  );
}
