import React, { useState } from 'react';
import { useTrans } from '../components/trans';
import type { IComparedRun, IValueRow } from '../pageapi';
import { matches, NameFilter } from '../runpage/parts';
import { RunHeads } from './runheads';

const FEW = 12;
const MOST = 500;

/** Params or facts of runs side by side; by default only those that differ. */
export function ValueTable(props: {
  runs: readonly IComparedRun[];
  rows: readonly IValueRow[];
  name: string;
  /** Said where nothing differs. */
  same: string;
  openRun: (runId: string) => void;
}): React.JSX.Element {
  const { runs, rows } = props;
  const trans = useTrans();
  const [isAll, setAll] = useState(false);
  const [text, setText] = useState('');
  const changed = rows.filter(row => row.changed);
  const shown = (isAll ? rows : changed).filter(row => matches(row.key, text));
  return (
    <>
      <div className="mlops-nb-chart-options">
        <label>
          <input
            type="checkbox"
            checked={!isAll}
            onChange={event => {
              setAll(!event.target.checked);
            }}
          />
          {trans.__('Only what differs')} ({changed.length}/{rows.length})
        </label>
        {rows.length > FEW && (
          <NameFilter text={text} set={setText} label={trans.__('Filter')} />
        )}
      </div>
      {shown.length === 0 ? (
        <p className="mlops-nb-none">
          {text === '' ? props.same : trans.__('Nothing has that in its name.')}
        </p>
      ) : (
        <div className="mlops-nb-scroll" tabIndex={0} role="group">
          <table
            className="mlops-nb-table mlops-nb-compare-table"
            aria-label={props.name}
          >
            <RunHeads name={props.name} runs={runs} openRun={props.openRun} />
            <tbody>
              {shown.slice(0, MOST).map(row => (
                <tr key={row.key} data-changed={row.changed}>
                  <th scope="row" dir="auto">
                    {row.key}
                  </th>
                  {row.values.map((value, index) => (
                    <td
                      key={index}
                      className="mlops-nb-num"
                      dir="auto"
                      data-differs={index > 0 && value !== row.values[0]}
                    >
                      {value ?? '–'}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}
