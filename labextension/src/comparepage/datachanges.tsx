import React from 'react';
import { useTrans } from '../components/trans';
import type { IComparison } from '../pageapi';

/** What changed in the data that two runs read. */
export function DataChanges(props: {
  data: NonNullable<IComparison['data']>;
}): React.JSX.Element {
  const { text, columns } = props.data;
  const trans = useTrans();
  return (
    <>
      <p className="mlops-nb-data-text" dir="auto">
        {text}
      </p>
      {columns.length > 0 && (
        <table
          className="mlops-nb-table"
          aria-label={trans.__('Changed columns')}
        >
          <thead>
            <tr>
              <th scope="col">{trans.__('Data')}</th>
              <th scope="col">{trans.__('Column')}</th>
              <th scope="col">{trans.__('Change')}</th>
              <th scope="col" className="mlops-nb-num">
                {trans.__('Rows')}
              </th>
            </tr>
          </thead>
          <tbody>
            {columns.map((column, index) => (
              <tr key={index} title={column.text}>
                <td dir="auto">{column.data}</td>
                <th scope="row" dir="auto">
                  {column.column}
                </th>
                <td>{column.text}</td>
                <td className="mlops-nb-num">
                  {column.rows_changed === null
                    ? ''
                    : `${column.at_most ? '≤ ' : ''}${column.rows_changed.toLocaleString()}`}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </>
  );
}
