import React, { useMemo } from 'react';
import { useTrans } from '../components/trans';
import { formatSize, formatValue } from '../format';
import type { IDatasetInput } from '../pageapi';
import { textOf } from '../values';

const MOST_COLUMNS = 500;

/** A column of a data set, as our profile has it. */
export interface IColumn {
  name: string;
  dtype: string;
  role?: string;
  nulls?: number;
  low?: unknown;
  high?: unknown;
  distinct?: number;
  levels?: Record<string, number>;
}

/** What is known of a data set besides its name. */
export interface IProfile {
  kind?: string;
  rows?: number;
  columns: IColumn[];
  size?: number;
  files?: number;
  versions: Record<string, string>;
}

/** The data sets that a run read. */
export function Data(props: {
  datasets: readonly IDatasetInput[];
}): React.JSX.Element {
  return (
    <div className="mlops-nb-stack">
      {props.datasets.map((input, index) => (
        <DataSet key={index} input={input} />
      ))}
    </div>
  );
}

function DataSet(props: { input: IDatasetInput }): React.JSX.Element {
  const { dataset, tags } = props.input;
  const trans = useTrans();
  const profile = useMemo(() => readProfile(props.input), [props.input]);
  const context = tags['mlflow.data.context'];
  const facts: [string, string][] = [
    [trans.__('Digest'), dataset.digest],
    [trans.__('Kind'), profile.kind ?? dataset.source_type]
  ];
  if (profile.rows !== undefined) {
    facts.push([trans.__('Rows'), profile.rows.toLocaleString()]);
  }
  if (profile.size !== undefined) {
    facts.push([trans.__('Size'), formatSize(profile.size)]);
  }
  if (profile.files !== undefined) {
    facts.push([trans.__('Files'), profile.files.toLocaleString()]);
  }
  for (const [tool, version] of Object.entries(profile.versions)) {
    facts.push([tool, version]);
  }
  facts.push([trans.__('Source'), sourceText(dataset.source)]);
  return (
    <section>
      <h2 dir="auto">
        {dataset.name}{' '}
        {context !== undefined && (
          <span className="mlops-nb-badge">{context}</span>
        )}
      </h2>
      <dl className="mlops-nb-facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd dir="auto">
              <code>{value}</code>
            </dd>
          </div>
        ))}
      </dl>
      {profile.columns.length > 0 && (
        <details open={profile.columns.length <= 30}>
          <summary>
            {trans._n('%1 column', '%1 columns', profile.columns.length)}
          </summary>
          <ColumnTable columns={profile.columns} />
        </details>
      )}
    </section>
  );
}

function ColumnTable(props: { columns: IColumn[] }): React.JSX.Element {
  const trans = useTrans();
  const { columns } = props;
  return (
    <div className="mlops-nb-scroll" tabIndex={0} role="group">
      <table className="mlops-nb-table">
        <thead>
          <tr>
            <th scope="col">{trans.__('Column')}</th>
            <th scope="col">{trans.__('Type')}</th>
            <th scope="col" className="mlops-nb-num">
              {trans.__('Missing')}
            </th>
            <th scope="col" className="mlops-nb-num">
              {trans.__('Distinct')}
            </th>
            <th scope="col">{trans.__('Values')}</th>
          </tr>
        </thead>
        <tbody>
          {columns.slice(0, MOST_COLUMNS).map((column, index) => (
            <tr key={index}>
              <th scope="row" dir="auto">
                {column.name}{' '}
                {column.role && (
                  <span className="mlops-nb-badge">{column.role}</span>
                )}
              </th>
              <td>{column.dtype}</td>
              <td className="mlops-nb-num">
                {(column.nulls ?? 0).toLocaleString()}
              </td>
              <td className="mlops-nb-num">
                {column.distinct?.toLocaleString() ?? ''}
              </td>
              <td dir="auto">{valuesOf(column)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {columns.length > MOST_COLUMNS && (
        <p className="mlops-nb-none">
          {trans.__('and %1 more', columns.length - MOST_COLUMNS)}
        </p>
      )}
    </div>
  );
}

function valuesOf(column: IColumn): string {
  const levels = Object.entries(column.levels ?? {});
  if (levels.length > 0 && levels.length <= 6) {
    return levels.map(([level, count]) => `${level} ×${count}`).join(', ');
  }
  const shown = (value: unknown) =>
    typeof value === 'number' ? formatValue(value) : String(value);
  return column.low === undefined || column.low === null
    ? ''
    : `${shown(column.low)} … ${shown(column.high)}`;
}

/** The profile of a data set, ours or MLflow's; what is no profile is empty. */
export function readProfile(input: IDatasetInput): IProfile {
  const found = asObject(parse(input.dataset.profile));
  const ours = asObject(found.mlops ?? found);
  const columns = Array.isArray(ours.columns)
    ? ours.columns
        .map(asObject)
        .filter(column => typeof column.name === 'string')
        .map(column => ({
          ...(column as unknown as IColumn),
          dtype: textOf(column.dtype)
        }))
    : schemaColumns(input.dataset.schema);
  const versions = Object.entries(asObject(ours.versions)).map(
    ([tool, version]): [string, string] => [tool, String(version)]
  );
  return {
    kind: typeof ours.kind === 'string' ? ours.kind : undefined,
    rows: numberOf(ours.rows) ?? numberOf(found.num_rows),
    size: numberOf(ours.size),
    files: numberOf(ours.files),
    columns,
    versions: Object.fromEntries(versions)
  };
}

function schemaColumns(schema: string | null): IColumn[] {
  const fields = asObject(parse(schema)).mlflow_colspec;
  return Array.isArray(fields)
    ? fields.map(asObject).map(field => ({
        name: textOf(field.name),
        dtype: textOf(field.type)
      }))
    : [];
}

/** Where data came from: the path or address where the source is JSON. */
function sourceText(source: string): string {
  const fields = asObject(parse(source));
  const place = fields.uri ?? fields.url ?? fields.path;
  return typeof place === 'string' ? place : source;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

function parse(text: string | null): unknown {
  try {
    return text === null ? null : (JSON.parse(text) as unknown);
  } catch {
    // A text that is no JSON tells nothing here; the source shows it as it is.
    return null;
  }
}
