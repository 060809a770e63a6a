import React, { useEffect, useRef } from 'react';
import type uPlot from 'uplot';
import { formatValue } from '../format';
import type { IChartData } from './chartdata';

const HEIGHT = 180;

// uPlot declares the enum for the compiler only: there is no value to import.
// eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
const LOG = 3 as uPlot.Scale.Distr.Logarithmic;

/** A curve, drawn by uPlot, which is fetched when the first one is shown. */
export function Chart(props: {
  data: IChartData;
  isLog: boolean;
  /** A new number makes the chart read the colours of the theme again. */
  theme: number;
  label: string;
}): React.JSX.Element {
  const { data, isLog, theme } = props;
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(data);
  latest.current = data;

  useEffect(() => {
    const node = host.current;
    if (!node) {
      return;
    }
    let isGone = false;
    const observer = new ResizeObserver(() => {
      plot.current?.setSize({ width: node.clientWidth, height: HEIGHT });
    });
    void import('uplot').then(({ default: UPlot }) => {
      if (isGone) {
        return;
      }
      const current = latest.current;
      plot.current = new UPlot(
        optionsFor(node, current.isTime, isLog),
        [current.xs, current.ys],
        node
      );
      observer.observe(node);
    });
    return () => {
      isGone = true;
      observer.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [isLog, theme, data.isTime]);

  useEffect(() => {
    plot.current?.setData([data.xs, data.ys]);
  }, [data]);

  return (
    <div
      ref={host}
      role="img"
      aria-label={props.label}
      className="mlops-nb-chart"
      style={{ height: HEIGHT }}
    />
  );
}

function optionsFor(
  node: HTMLElement,
  isTime: boolean,
  isLog: boolean
): uPlot.Options {
  const style = getComputedStyle(node);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const stroke = colour('--jp-ui-font-color2');
  const line = colour('--jp-brand-color1');
  const axis: uPlot.Axis = {
    stroke,
    font: `11px ${colour('--jp-ui-font-family')}`,
    grid: { stroke: colour('--jp-border-color2'), width: 1 },
    ticks: { stroke: colour('--jp-border-color2'), width: 1, size: 4 }
  };
  const words = (values: (number | null)[]) =>
    values.map(value => (value === null ? '' : formatValue(value)));
  return {
    width: node.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { size: 7 } },
    padding: [8, 10, 0, 0],
    scales: { x: { time: isTime }, y: isLog ? { distr: LOG } : {} },
    axes: [
      { ...axis, size: isTime ? 42 : 28, ...(isTime ? {} : { incrs: STEPS }) },
      { ...axis, size: 56, values: (_, values) => words(values) }
    ],
    series: [
      {},
      {
        stroke: line,
        width: 2,
        points: { size: 5, fill: line, stroke: line },
        spanGaps: false
      }
    ]
  };
}

/** Distances between marks on the axis of steps: whole numbers only. */
const STEPS = Array.from({ length: 12 }, (_, power) =>
  [1, 2, 5].map(unit => unit * 10 ** power)
).flat();
