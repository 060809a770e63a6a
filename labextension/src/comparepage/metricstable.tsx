import React, { useState } from 'react';
import { useTrans } from '../components/trans';
import { formatValue } from '../format';
import type { IComparedRun, IMetricRow } from '../pageapi';
import { matches, NameFilter } from '../runpage/parts';
import { Delta } from './delta';
import { RunHeads } from './runheads';

/** More rows than this get a filter. */
const FEW = 12;
const MOST = 300;

/** Each metric: the value of the base, and how every other run stands to it. */
export function MetricsTable(props: {
  runs: readonly IComparedRun[];
  rows: readonly IMetricRow[];
  openRun: (runId: string, metric?: string) => void;
  setRuns: (runIds: string[]) => void;
}): React.JSX.Element {
  const { runs, rows } = props;
  const trans = useTrans();
  const [text, setText] = useState('');
  const shown = rows.filter(row => matches(row.key, text));
  const notes = new Map<string, number>();
  for (const row of shown) {
    for (const { note } of row.changes) {
      if (note !== '' && !notes.has(note)) {
        notes.set(note, notes.size + 1);
      }
    }
  }
  if (rows.length === 0) {
    return (
      <p className="mlops-nb-none">
        {trans.__('These runs have no metrics to compare.')}
      </p>
    );
  }
  return (
    <>
      {rows.length > FEW && (
        <NameFilter
          text={text}
          set={setText}
          label={trans.__('Filter metrics')}
        />
      )}
      <div className="mlops-nb-scroll" tabIndex={0} role="group">
        <table
          className="mlops-nb-table mlops-nb-compare-table"
          aria-label={trans.__('Metrics')}
        >
          <RunHeads
            name={trans.__('Metric')}
            runs={runs}
            openRun={props.openRun}
            setRuns={props.setRuns}
          />
          <tbody>
            {shown.slice(0, MOST).map(row => (
              <tr key={row.key}>
                <th scope="row" dir="auto">
                  {row.key} <Direction direction={row.direction} />
                </th>
                <td className="mlops-nb-num">
                  {row.base === null ? '–' : formatValue(row.base)}
                </td>
                {row.changes.map(change => (
                  <td key={change.run_id} className="mlops-nb-num">
                    <span className="mlops-nb-value">
                      {change.value === null ? '–' : formatValue(change.value)}
                    </span>{' '}
                    <Delta change={change} />
                    {notes.has(change.note) && (
                      <sup>{notes.get(change.note)}</sup>
                    )}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {shown.length > MOST && (
        <p className="mlops-nb-none">
          {trans.__('and %1 more', shown.length - MOST)}
        </p>
      )}
      <ol className="mlops-nb-footnotes">
        {[...notes.keys()].map(note => (
          <li key={note}>{note}</li>
        ))}
      </ol>
    </>
  );
}

/** Which way is better, as an arrow and a word. */
function Direction(props: { direction: string }): React.JSX.Element | null {
  const trans = useTrans();
  const words: Partial<Record<string, [string, string]>> = {
    higher: ['↑', trans.__('higher is better')],
    lower: ['↓', trans.__('lower is better')]
  };
  const [sign, word] = words[props.direction] ?? [];
  return sign === undefined ? null : (
    <span className="mlops-nb-direction" title={word}>
      <span aria-hidden="true">{sign}</span>
      <span className="mlops-nb-sr">{word}</span>
    </span>
  );
}
