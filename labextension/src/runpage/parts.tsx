import React, { useEffect } from 'react';
import { Failed, Loading } from '../components/states';
import { useTrans } from '../components/trans';
import type { DetailPart, IDetailParts, RunDetail } from '../model/detail';

/** Asks for a part of a run and draws it, or its state until it is there. */
export function PartView<P extends DetailPart>(props: {
  detail: RunDetail;
  part: P;
  loading: string;
  failed: string;
  children: (value: NonNullable<IDetailParts[P]>) => React.JSX.Element;
}): React.JSX.Element {
  const { detail, part } = props;
  useEffect(() => {
    detail.need(part);
  }, [detail, part]);
  const { phase, value, error } = detail.part(part);
  // What was read once stays, also while a later read fails.
  if (value !== null) {
    return props.children(value);
  }
  return phase === 'error' ? (
    <Failed
      what={props.failed}
      error={error}
      retry={() => {
        void detail.retry(part);
      }}
    />
  ) : (
    <Loading label={props.loading} />
  );
}

/** Names and values, by name. */
export function PairTable(props: {
  pairs: readonly (readonly [string, string])[];
  label?: string;
}): React.JSX.Element {
  const trans = useTrans();
  if (props.pairs.length === 0) {
    return <p className="mlops-nb-none">{trans.__('None.')}</p>;
  }
  return (
    <table className="mlops-nb-table" aria-label={props.label}>
      <thead className="mlops-nb-sr">
        <tr>
          <th scope="col">{trans.__('Name')}</th>
          <th scope="col">{trans.__('Value')}</th>
        </tr>
      </thead>
      <tbody>
        {[...props.pairs]
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

/** A box that filters what stands below it by name. */
export function NameFilter(props: {
  text: string;
  set: (text: string) => void;
  label: string;
}): React.JSX.Element {
  return (
    <input
      type="search"
      className="jp-mod-styled mlops-nb-name-filter"
      placeholder={props.label}
      aria-label={props.label}
      value={props.text}
      onChange={event => {
        props.set(event.target.value);
      }}
    />
  );
}

/** Whether a name has every word of a text in it, in any case. */
export function matches(name: string, text: string): boolean {
  const low = name.toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every(word => low.includes(word));
}
