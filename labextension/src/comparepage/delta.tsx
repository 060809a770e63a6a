import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';
import { useTrans } from '../components/trans';
import { formatValue, toNumber } from '../format';
import type { IMetricChange } from '../pageapi';

/** The sign and the word of a verdict. */
export function verdictText(verdict: string, trans: TranslationBundle): string {
  const words: Partial<Record<string, string>> = {
    better: trans.__('▲ better'),
    worse: trans.__('▼ worse'),
    noise: trans.__('≈ noise'),
    same: trans.__('= same'),
    different: trans.__('≠ different'),
    new: trans.__('+ new'),
    missing: trans.__('− missing'),
    'not comparable': trans.__('≠ not comparable')
  };
  // A newer server may know a verdict that this front end does not.
  return words[verdict] ?? verdict;
}

/** A difference with its sign: `+0.0062`. */
export function signed(value: IMetricChange['difference']): string {
  if (value === null) {
    return '';
  }
  const text = formatValue(value, 4);
  return toNumber(value) > 0 ? `+${text}` : text;
}

/** How a value stands to the base: difference, verdict, interval. */
export function Delta(props: { change: IMetricChange }): React.JSX.Element {
  const { change } = props;
  const trans = useTrans();
  const { interval } = change;
  const notes = [
    change.method,
    change.p_value === null
      ? null
      : trans.__('p = %1', formatValue(change.p_value, 3)),
    change.note
  ].filter(Boolean);
  return (
    <span
      className="mlops-nb-delta"
      data-verdict={change.verdict}
      title={notes.join(' · ')}
    >
      {change.difference !== null && (
        <span className="mlops-nb-difference">{signed(change.difference)}</span>
      )}{' '}
      {interval && (
        <span className="mlops-nb-interval">
          [{signed(interval[0])}, {signed(interval[1])}]
        </span>
      )}{' '}
      <span className="mlops-nb-verdict">
        {verdictText(change.verdict, trans)}
      </span>
    </span>
  );
}
