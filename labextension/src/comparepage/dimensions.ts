import type { IRun } from '../api';
import { formatValue, toNumber } from '../format';
import type { IComparison } from '../pageapi';

/** A param or metric that every run may have a value of. */
export interface IDimension {
  /** `p lr` or `m val_auc`: a param and a metric may share a name. */
  id: string;
  name: string;
  isMetric: boolean;
}

/** A place on an axis, from 0 to 1. */
export interface IPlace {
  at: number;
  text: string;
}

/** Values of one dimension, placed on an axis. */
export interface IScale {
  dimension: IDimension;
  /** For each run its place, or `null` where it has no value. */
  places: (IPlace | null)[];
  /** Some values with their places, from 0 on. */
  ticks: IPlace[];
  isLog: boolean;
}

const MOST_TICKS = 6;

/** What can be put on an axis: params that differ, then metrics. */
export function dimensionsOf(value: IComparison): IDimension[] {
  const params = (value.params ?? [])
    .filter(row => row.changed)
    .map(({ key }) => ({ id: `p ${key}`, name: key, isMetric: false }));
  const metrics = (value.metrics ?? [])
    .filter(({ key }) => !key.startsWith('system/'))
    .map(({ key }) => ({ id: `m ${key}`, name: key, isMetric: true }));
  return [...params, ...metrics];
}

/**
 * Place the values of runs on an axis: numbers by size, by their logarithm where
 * they are far apart; words one after the other.
 */
export function scaleOf(dimension: IDimension, runs: readonly IRun[]): IScale {
  const texts = runs.map(run => textOf(dimension, run));
  const known = texts.filter(text => text !== null);
  const numbers = texts.map(text =>
    text === null || text.trim() === '' ? NaN : Number(text)
  );
  const isNumber =
    known.length > 0 &&
    texts.every((text, i) => text === null || Number.isFinite(numbers[i]));
  return isNumber
    ? numberScale(dimension, numbers)
    : wordScale(dimension, texts);
}

function textOf(dimension: IDimension, run: IRun): string | null {
  if (!dimension.isMetric) {
    return run.params[dimension.name] ?? null;
  }
  const metric = run.metrics.find(({ key }) => key === dimension.name);
  const value = metric ? toNumber(metric.value) : NaN;
  return Number.isFinite(value) ? String(value) : null;
}

function numberScale(dimension: IDimension, values: number[]): IScale {
  const known = values.filter(Number.isFinite);
  const low = Math.min(...known);
  const high = Math.max(...known);
  const isLog = low > 0 && high / low >= 50;
  const form = isLog ? Math.log : (value: number) => value;
  const span = form(high) - form(low);
  const place = (value: number): IPlace => ({
    at: span === 0 ? 0.5 : (form(value) - form(low)) / span,
    text: formatValue(value, 4)
  });
  const middle = isLog ? Math.sqrt(low * high) : (low + high) / 2;
  return {
    dimension,
    isLog,
    places: values.map(value => (Number.isFinite(value) ? place(value) : null)),
    ticks: span === 0 ? [place(low)] : [low, middle, high].map(place)
  };
}

function wordScale(dimension: IDimension, texts: (string | null)[]): IScale {
  const words = [...new Set(texts.filter(text => text !== null))].sort();
  const place = (text: string): IPlace => ({
    at: words.length < 2 ? 0.5 : words.indexOf(text) / (words.length - 1),
    text: text.length > 18 ? `${text.slice(0, 17)}…` : text
  });
  const every = Math.ceil(words.length / MOST_TICKS);
  return {
    dimension,
    isLog: false,
    places: texts.map(text => (text === null ? null : place(text))),
    ticks: words.filter((_, index) => index % every === 0).map(place)
  };
}
