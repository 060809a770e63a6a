import type { IMetric, IRun, MetricValue } from './api';

/** A metric's value as a number; JSON carries three of them as words. */
export function toNumber(value: MetricValue): number {
  return typeof value === 'number' ? value : Number(value);
}

/** A number in a few significant digits, as a table shows it. */
export function formatValue(value: MetricValue, digits = 5): string {
  const number = toNumber(value);
  if (Number.isNaN(number)) {
    return 'NaN';
  }
  if (!Number.isFinite(number)) {
    return number > 0 ? '∞' : '−∞';
  }
  const size = Math.abs(number);
  const text =
    Number.isInteger(number) && size < 1e6
      ? String(number)
      : size !== 0 && (size < 1e-3 || size >= 1e6)
        ? Number(number.toPrecision(digits - 1)).toExponential()
        : String(Number(number.toPrecision(digits)));
  return text.replace(/^-/, '−');
}

/** A duration: `840 ms`, `2.1 s`, `3:07`, `1:03:07`, `2 d 4 h`. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 1) {
    return `${Math.round(seconds * 1000)} ms`;
  }
  if (seconds < 60) {
    return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  }
  return formatClock(ms);
}

/** A running time in whole seconds, so that it ticks evenly: `0:07`. */
export function formatClock(ms: number): string {
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  const hours = Math.floor(seconds / 3600);
  if (hours >= 48) {
    return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  }
  const pad = (n: number) => String(n).padStart(2, '0');
  const minutes = Math.floor(seconds / 60) % 60;
  return hours > 0
    ? `${hours}:${pad(minutes)}:${pad(seconds % 60)}`
    : `${minutes}:${pad(seconds % 60)}`;
}

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60]
];

// Making a formatter costs more than drawing the row that it is for.
const formatters = new Map<string, unknown>();

function kept<T>(kind: string, locale: string | undefined, make: () => T): T {
  const name = `${kind} ${locale ?? ''}`;
  if (!formatters.has(name)) {
    formatters.set(name, make());
  }
  return formatters.get(name) as T;
}

/** How long ago a time was, in the language of the interface: `3 min. ago`. */
export function formatAgo(time: number, now: number, locale?: string): string {
  const words = kept(
    'ago',
    locale,
    () =>
      new Intl.RelativeTimeFormat(locale, { numeric: 'auto', style: 'short' })
  );
  const seconds = Math.max(0, (now - time) / 1000);
  for (const [unit, size] of UNITS) {
    if (seconds >= size) {
      return words.format(-Math.floor(seconds / size), unit);
    }
  }
  return words.format(0, 'second');
}

/** A point in time with its date, for titles and headers. */
export function formatTime(time: number, locale?: string): string {
  const style = { dateStyle: 'medium', timeStyle: 'medium' } as const;
  return kept(
    'time',
    locale,
    () => new Intl.DateTimeFormat(locale, style)
  ).format(time);
}

/** A count with separators: `10,000`. */
export function formatCount(count: number, locale?: string): string {
  return kept('count', locale, () => new Intl.NumberFormat(locale)).format(
    count
  );
}

/** A file size in decimal units: `12.3 kB`; nothing where it is unknown. */
export function formatSize(bytes: number | null): string {
  if (bytes === null) {
    return '';
  }
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let size = bytes;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit++;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit] ?? ''}`;
}

const SCORE = /(auc|acc|f1|score|r2|precision|recall|iou|bleu|map)/i;

/**
 * The metric that tells most about a run: one that looks like a score on held-out
 * data, else the first one.
 */
export function mainMetric(metrics: readonly IMetric[]): IMetric | null {
  let best: IMetric | null = null;
  let bestRank = -1;
  for (const metric of metrics) {
    const rank = rankOf(metric.key);
    if (rank > bestRank) {
      best = metric;
      bestRank = rank;
    }
  }
  return best;
}

function rankOf(key: string): number {
  if (key.startsWith('system/')) {
    return 0;
  }
  const isHeldOut = /^(val|test|eval|dev)/i.test(key);
  return 1 + (isHeldOut ? 2 : 0) + (SCORE.test(key) ? 1 : 0);
}

/** How long a run took, or has taken so far. */
export function runDuration(run: IRun, now: number): number {
  return (run.end_time ?? now) - run.start_time;
}

/** Whether a tag is bookkeeping that few readers want to see. */
export function isSystemTag(key: string): boolean {
  return key.startsWith('mlflow.') || key.startsWith('mlops.');
}
