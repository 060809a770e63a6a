import React from 'react';
import type { ICell } from '../api';
import { CopyButton } from '../components/copy';
import { useTrans } from '../components/trans';
import { formatTime } from '../format';
import { outcomeWord, promptOf } from './cells';

/** Whether a cell has anything for the logs. */
export function hasLog(cell: ICell): boolean {
  return Boolean(cell.outputs) || cell.error !== null;
}

/** What the cells showed and how they failed, as one text. */
export function Logs(props: { cells: readonly ICell[] }): React.JSX.Element {
  const trans = useTrans();
  const cells = props.cells.filter(hasLog);
  const text = cells
    .map(cell => [head(cell), cell.outputs, cell.error].filter(Boolean))
    .map(lines => lines.join('\n'))
    .join('\n\n');

  function head(cell: ICell): string {
    const word = outcomeWord(cell.outcome, trans);
    return `── ${promptOf(cell)} ${word} · ${formatTime(cell.started)}`;
  }
  return (
    <>
      <div className="mlops-nb-chart-options">
        <CopyButton text={text} label={trans.__('Copy the logs')} />
      </div>
      {cells.map(cell => (
        <section key={cell.index} className="mlops-nb-log">
          <h3>{head(cell)}</h3>
          {cell.outputs && <pre tabIndex={0}>{cell.outputs}</pre>}
          {cell.error !== null && (
            <pre tabIndex={0} className="mlops-nb-cell-error">
              {cell.error}
            </pre>
          )}
        </section>
      ))}
    </>
  );
}
