import React, { useMemo, useState } from 'react';
import type { ICell, IRun, Point } from '../api';
import { DEFAULT_OPTIONS, type ICurveOptions } from '../charts/curves';
import { ChartOptions } from '../charts/options';
import type { IMark } from '../charts/plotoptions';
import { Empty, Snippet } from '../components/states';
import { useTrans } from '../components/trans';
import type { RunDetail } from '../model';
import { promptOf } from './cells';
import { MetricCard } from './metriccard';
import { matches, NameFilter } from './parts';

export const SYSTEM = 'system/';

/** More names than this get a filter. */
const FEW = 8;

/** One chart for each metric; a single value is a number, not a chart. */
export function Metrics(props: {
  detail: RunDetail;
  run: IRun;
  cells: readonly ICell[];
  theme: number;
  /** The metric to scroll to. */
  target: string | null;
  /** Whether to show what was measured of the machine, over time. */
  isSystem?: boolean;
  goToCell: ((cell: ICell) => void) | null;
}): React.JSX.Element {
  const { run, cells, isSystem = false } = props;
  const trans = useTrans();
  const [options, setOptions] = useState<ICurveOptions>({
    ...DEFAULT_OPTIONS,
    axis: isSystem ? 'relative' : 'step'
  });
  const [text, setText] = useState('');
  const keys = run.metrics
    .map(metric => metric.key)
    .filter(key => key.startsWith(SYSTEM) === isSystem)
    .sort((a, b) => a.localeCompare(b));
  const shown = keys.filter(key => matches(key, text));
  const marks = useMemo(
    () =>
      isSystem && options.axis !== 'step'
        ? cellMarks(cells, options.axis === 'time' ? 0 : run.start_time)
        : NO_MARKS,
    [isSystem, options.axis, cells, run.start_time]
  );
  const goTo = props.goToCell;
  const pick = goTo
    ? (key: string, point: Point) => {
        const cell = cellOf(run, cells, key, point);
        if (cell) {
          goTo(cell);
        }
      }
    : null;
  if (keys.length === 0) {
    return (
      <Empty>
        <strong>{trans.__('No metrics yet.')}</strong>
        <span>{trans.__('Log one from the notebook:')}</span>
        <Snippet code="%track log acc=0.9 --step 1" />
      </Empty>
    );
  }
  return (
    <>
      <ChartOptions options={options} set={setOptions}>
        {keys.length > FEW && (
          <NameFilter
            text={text}
            set={setText}
            label={trans.__('Filter metrics')}
          />
        )}
      </ChartOptions>
      {shown.length === 0 && (
        <p className="mlops-nb-none">
          {trans.__('No metric has that in its name.')}
        </p>
      )}
      <div className="mlops-nb-charts">
        {shown.map(key => (
          <MetricCard
            key={key}
            metricKey={key}
            series={props.detail.series}
            options={options}
            start={run.start_time}
            theme={props.theme}
            marks={marks}
            isTarget={key === props.target}
            pick={pick}
          />
        ))}
      </div>
    </>
  );
}

const NO_MARKS: readonly IMark[] = [];

/** Where each cell began, with its number. */
function cellMarks(cells: readonly ICell[], zero: number): IMark[] {
  return cells.map(cell => ({
    x: (cell.started - zero) / 1000,
    text: promptOf(cell)
  }));
}

/**
 * The execution that logged a point: the one that ran at that moment; of the
 * newest value the run knows it.
 */
export function cellOf(
  run: IRun,
  cells: readonly ICell[],
  key: string,
  [step, time]: Point
): ICell | null {
  const newest = run.metrics.find(metric => metric.key === key);
  if (newest?.step === step && newest.timestamp === time) {
    return cells.find(cell => cell.index === newest.cell) ?? null;
  }
  return (
    cells.findLast(
      cell =>
        cell.started <= time &&
        (cell.outcome === 'running' ||
          time <= cell.started + cell.duration_ms + 1)
    ) ?? null
  );
}
