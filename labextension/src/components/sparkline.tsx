import React from 'react';

const WIDTH = 56;
const HEIGHT = 16;
const EDGE = 1.5;

/** The course of some values as a line; what is not finite is left out. */
export function Sparkline(props: {
  values: readonly number[];
}): React.JSX.Element | null {
  const values = props.values.filter(Number.isFinite);
  if (values.length < 2) {
    return null;
  }
  const low = Math.min(...values);
  const range = Math.max(...values) - low || 1;
  const points = values.map((value, index) => {
    const x = EDGE + (index / (values.length - 1)) * (WIDTH - 2 * EDGE);
    const y = HEIGHT - EDGE - ((value - low) / range) * (HEIGHT - 2 * EDGE);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  return (
    <svg
      className="mlops-nb-sparkline"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      width={WIDTH}
      height={HEIGHT}
      aria-hidden="true"
    >
      <polyline
        points={points.join(' ')}
        fill="none"
        stroke="currentColor"
        strokeWidth="1.5"
      />
    </svg>
  );
}
