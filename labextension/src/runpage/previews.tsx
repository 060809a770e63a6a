import React, { useEffect, useState } from 'react';
import { Loading } from '../components/states';
import { useTrans } from '../components/trans';
import { Code } from '../rendering/code';
import { textOf } from '../values';
import { MimeOutput, Outputs } from '../rendering/output';

const MOST_ROWS = 500;
const MOST_COLUMNS = 100;
const MOST_CELLS = 300;

/** A file of separated values, as a table of its first rows. */
export function TextTable(props: {
  text: string;
  delimiter: string;
  name: string;
}): React.JSX.Element {
  const { text, delimiter } = props;
  const trans = useTrans();
  const [rows, setRows] = useState<string[][] | null>(null);
  useEffect(() => {
    let isGone = false;
    void import('d3-dsv').then(({ dsvFormat }) => {
      if (!isGone) {
        setRows(dsvFormat(delimiter).parseRows(text));
      }
    });
    return () => {
      isGone = true;
    };
  }, [text, delimiter]);
  return rows ? (
    <Rows head={rows[0] ?? []} rows={rows.slice(1)} name={props.name} />
  ) : (
    <Loading label={trans.__('Reading the table…')} />
  );
}

/** JSON: a table where it is one, as `mlflow.log_table` writes it, else text. */
export function JsonPreview(props: {
  text: string;
  name: string;
}): React.JSX.Element {
  const value = parse(props.text);
  const table = tableOf(value);
  return table ? (
    <Rows {...table} name={props.name} />
  ) : (
    <Code
      source={value === undefined ? props.text : JSON.stringify(value, null, 2)}
      label={props.name}
      language="json"
    />
  );
}

/** A notebook: its cells with their outputs, none of which is trusted. */
export function NotebookPreview(props: {
  text: string;
  name: string;
}): React.JSX.Element {
  const trans = useTrans();
  const notebook = parse(props.text) as { cells?: unknown } | null | undefined;
  const cells = Array.isArray(notebook?.cells)
    ? (notebook.cells as unknown[])
    : null;
  if (!cells) {
    return <Code source={props.text} label={props.name} language="json" />;
  }
  return (
    <div
      className="mlops-nb-notebook"
      role="group"
      aria-label={props.name}
      tabIndex={0}
    >
      {cells.slice(0, MOST_CELLS).map((cell, index) => (
        <NotebookCell key={index} cell={cell} />
      ))}
      {cells.length > MOST_CELLS && (
        <p className="mlops-nb-none">
          {trans.__('and %1 more', cells.length - MOST_CELLS)}
        </p>
      )}
    </div>
  );
}

function NotebookCell(props: { cell: unknown }): React.JSX.Element {
  const trans = useTrans();
  const cell = (props.cell ?? {}) as Record<string, unknown>;
  const source = Array.isArray(cell.source)
    ? cell.source.map(String).join('')
    : textOf(cell.source);
  if (cell.cell_type === 'markdown') {
    return <MimeOutput data={{ 'text/markdown': source }} />;
  }
  return (
    <>
      <Code source={source} label={trans.__('Source')} />
      <Outputs outputs={cell.outputs} />
    </>
  );
}

function Rows(props: {
  head: readonly string[];
  rows: readonly (readonly string[])[];
  name: string;
}): React.JSX.Element {
  const { head, rows } = props;
  const trans = useTrans();
  return (
    <>
      <div
        className="mlops-nb-scroll"
        tabIndex={0}
        role="group"
        aria-label={props.name}
      >
        <table className="mlops-nb-table mlops-nb-grid">
          <thead>
            <tr>
              {head.slice(0, MOST_COLUMNS).map((name, index) => (
                <th key={index} scope="col" dir="auto">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, MOST_ROWS).map((row, index) => (
              <tr key={index}>
                {row.slice(0, MOST_COLUMNS).map((value, column) => (
                  <td key={column} dir="auto">
                    {value}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p className="mlops-nb-none">
        {rows.length > MOST_ROWS || head.length > MOST_COLUMNS
          ? trans.__(
              '%1 rows, %2 columns; the first ones are shown.',
              rows.length.toLocaleString(),
              head.length.toLocaleString()
            )
          : trans._n('%1 row', '%1 rows', rows.length)}
      </p>
    </>
  );
}

function tableOf(value: unknown): { head: string[]; rows: string[][] } | null {
  const { columns, data } = (value ?? {}) as Record<string, unknown>;
  if (!Array.isArray(columns) || !Array.isArray(data)) {
    return null;
  }
  const rows = data.filter((row): row is unknown[] => Array.isArray(row));
  return {
    head: columns.map(String),
    rows: rows.slice(0, MOST_ROWS + 1).map(row => row.map(cellText))
  };
}

function cellText(value: unknown): string {
  return typeof value === 'object' && value !== null
    ? JSON.stringify(value)
    : String(value);
}

/** The value of a JSON text; undefined for what is none. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
