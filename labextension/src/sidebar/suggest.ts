import type { IRun } from '../api';

/** What can stand at the caret, and what of the text it takes the place of. */
export interface ISuggestions {
  /** Offsets of the text that a suggestion replaces. */
  from: number;
  to: number;
  options: string[];
}

const ATTRIBUTES = [
  'attributes.status',
  'attributes.run_name',
  'attributes.start_time',
  'attributes.end_time'
];
const STATUSES = ["'FINISHED'", "'FAILED'", "'RUNNING'", "'KILLED'", "'LOST'"];
const NUMBER_OPERATORS = ['>', '>=', '<', '<=', '=', '!='];
const TEXT_OPERATORS = ['=', '!=', 'LIKE', 'ILIKE', 'IS NULL', 'IS NOT NULL'];
const PLAIN = /^[A-Za-z_][\w/-]*$/;
const MOST = 8;

/** The metrics, params and tags that a filter can name, from the runs at hand. */
export function keysOf(runs: Iterable<IRun>, most = 500): string[] {
  const keys = new Set<string>();
  for (const run of runs) {
    for (const { key } of run.metrics) {
      keys.add(`metrics.${quoted(key)}`);
    }
    for (const key of Object.keys(run.params)) {
      keys.add(`params.${quoted(key)}`);
    }
    for (const key of Object.keys(run.tags)) {
      if (!key.startsWith('mlflow.') && !key.startsWith('mlops.')) {
        keys.add(`tags.${quoted(key)}`);
      }
    }
    if (keys.size > most) {
      break;
    }
  }
  return [...[...keys].sort(), ...ATTRIBUTES];
}

function quoted(key: string): string {
  return PLAIN.test(key) ? key : `\`${key.replaceAll('`', '``')}\``;
}

/**
 * What may follow in a filter: a name, an operator behind a name, `and` and `or`
 * behind a value. The server alone decides what a filter means; this only helps
 * to type it.
 */
export function suggest(
  text: string,
  caret: number,
  keys: readonly string[]
): ISuggestions {
  const before = text.slice(0, caret);
  const word = /(?:[^\s`'"()]|`[^`]*`?|'[^']*'?)*$/.exec(before)?.[0] ?? '';
  const from = caret - word.length;
  const rest = /^[^\s()]*/.exec(text.slice(caret))?.[0] ?? '';
  const to = caret + rest.length;
  const earlier = before.slice(0, from).trimEnd();
  const candidates = candidatesAfter(earlier, keys);
  const typed = word.toLowerCase();
  const options = candidates
    .map(option => ({ option, at: option.toLowerCase().indexOf(typed) }))
    .filter(({ option, at }) => at >= 0 && option !== word)
    .sort((a, b) => Number(a.at > 0) - Number(b.at > 0))
    .slice(0, MOST)
    .map(({ option }) => option);
  return { from, to, options };
}

function candidatesAfter(
  earlier: string,
  keys: readonly string[]
): readonly string[] {
  if (/(^|\b(and|or|not)|\()$/i.test(earlier)) {
    return keys;
  }
  const name = /((?:metrics|params|tags|attributes)\.(?:[\w/-]+|`[^`]*`))$/i;
  const left = name.exec(earlier)?.[1];
  if (left !== undefined) {
    const isNumber = /^metrics\.|_time$/i.test(left);
    return isNumber ? NUMBER_OPERATORS : TEXT_OPERATORS;
  }
  if (/attributes\.status\s*(=|!=)$/i.test(earlier)) {
    return STATUSES;
  }
  return /('[^']*'|"[^"]*"|[\d.]+|\bnull)\)?$/i.test(earlier)
    ? ['and', 'or']
    : [];
}

/** The text with a suggestion in its place, and where the caret goes. */
export function accept(
  text: string,
  { from, to }: ISuggestions,
  option: string
): { text: string; caret: number } {
  const caret = from + option.length + 1;
  const after = text.slice(to).replace(/^\s/, '');
  return { text: `${text.slice(0, from)}${option} ${after}`, caret };
}
