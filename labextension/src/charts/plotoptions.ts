import type uPlot from 'uplot';
import { formatDuration, formatValue } from '../format';
import type { Axis } from './curves';
import { colourOf, dashOf } from './palette';

// uPlot declares the enum for the compiler only: there is no value to import.
// eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
const LOG = 3 as uPlot.Scale.Distr.Logarithmic;

/** A vertical line at a place of the axis, with a word. */
export interface IMark {
  x: number;
  text: string;
}

/** What decides the form of a plot; another value needs a new plot. */
export interface IPlotForm {
  axis: Axis;
  isLog: boolean;
  height: number;
  /** For each line: its place in the palette, and whether it is faint or bold. */
  lines: { colour: number; weight: 'faint' | 'normal' | 'bold' }[];
}

/** The options of a plot in the colours of the theme. */
export function plotOptions(
  node: HTMLElement,
  form: IPlotForm,
  marks: () => readonly IMark[],
  onCursor: (place: number | null) => void,
  onZoom: (range: [number, number]) => void
): uPlot.Options {
  const style = getComputedStyle(node);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const axis: uPlot.Axis = {
    stroke: colour('--jp-ui-font-color2'),
    font: `11px ${colour('--jp-ui-font-family')}`,
    grid: { stroke: colour('--jp-border-color2'), width: 1 },
    ticks: { stroke: colour('--jp-border-color2'), width: 1, size: 4 }
  };
  const isTime = form.axis === 'time';
  return {
    width: Math.max(1, node.clientWidth),
    height: form.height,
    legend: { show: false },
    cursor: {
      y: false,
      points: { size: 7 },
      drag: { x: true, y: false, setScale: false }
    },
    padding: [8, 10, 0, 0],
    scales: { x: { time: isTime }, y: form.isLog ? { distr: LOG } : {} },
    axes: [
      {
        ...axis,
        size: isTime ? 42 : 28,
        ...(form.axis === 'step' ? { incrs: STEPS } : {}),
        ...(form.axis === 'relative'
          ? { values: (_, values) => values.map(x => formatDuration(x * 1000)) }
          : {})
      },
      {
        ...axis,
        size: 58,
        values: (_, values) =>
          values.map((value: number | null) =>
            value === null ? '' : formatValue(value)
          )
      }
    ],
    series: [
      {},
      ...form.lines.map((line): uPlot.Series => {
        const stroke = colour(colourOf(line.colour));
        const isFaint = line.weight === 'faint';
        return {
          stroke,
          width: { faint: 1, normal: 1.5, bold: 3 }[line.weight],
          alpha: isFaint ? 0.35 : 1,
          dash: dashOf(line.colour),
          points: isFaint
            ? { show: false }
            : { size: 5, fill: stroke, stroke, space: 12 },
          spanGaps: false
        };
      })
    ],
    hooks: {
      draw: [
        plot => {
          drawMarks(plot, marks(), axis.font ?? '', colour);
        }
      ],
      setCursor: [
        plot => {
          onCursor(plot.cursor.idx ?? null);
        }
      ],
      setSelect: [
        plot => {
          const { left, width } = plot.select;
          if (width > 4) {
            onZoom([
              plot.posToVal(left, 'x'),
              plot.posToVal(left + width, 'x')
            ]);
          }
          plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        }
      ]
    }
  };
}

function drawMarks(
  plot: uPlot,
  marks: readonly IMark[],
  font: string,
  colour: (name: string) => string
): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour('--jp-border-color0');
  ctx.fillStyle = colour('--jp-ui-font-color2');
  ctx.font = font.replace(/^\d+/, size =>
    String(Math.round(Number(size) * devicePixelRatio))
  );
  ctx.setLineDash([3, 3]);
  let free = -Infinity;
  for (const mark of marks) {
    const x = Math.round(plot.valToPos(mark.x, 'x', true));
    if (x < bbox.left || x > bbox.left + bbox.width) {
      continue;
    }
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    if (x > free) {
      const width = ctx.measureText(mark.text).width;
      ctx.fillText(mark.text, x + 3, bbox.top + 10 * devicePixelRatio);
      free = x + width + 8;
    }
  }
  ctx.restore();
}

/** Distances between marks on the axis of steps: whole numbers only. */
const STEPS = Array.from({ length: 15 }, (_, power) =>
  [1, 2, 5].map(unit => unit * 10 ** power)
).flat();
