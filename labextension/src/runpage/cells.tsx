import React, { useEffect, useRef } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ICell } from '../api';
import { Empty, Failed, Loading } from '../components/states';
import { useTrans } from '../components/trans';
import { formatDuration, formatTime } from '../format';
import type { RunDetail } from '../model';

/** The ledger: every cell that ran, in the order it ran. */
export function Cells(props: {
  detail: RunDetail;
  /** The execution to scroll to. */
  target: number | null;
}): React.JSX.Element {
  const { detail, target } = props;
  const trans = useTrans();
  useEffect(() => {
    detail.need('cells');
  }, [detail]);
  const { phase, value, error } = detail.cells;
  if (phase === 'error') {
    return (
      <Failed
        what={trans.__('Could not read the cells.')}
        error={error}
        retry={() => {
          void detail.retry('cells');
        }}
      />
    );
  }
  if (value === null) {
    return <Loading label={trans.__('Loading the cells…')} />;
  }
  if (value.length === 0) {
    return (
      <Empty>
        {trans.__(
          'No cells were recorded. Cells are recorded while a run is open in a notebook.'
        )}
      </Empty>
    );
  }
  return (
    <ol className="mlops-nb-cells">
      {value.map(cell => (
        <CellEntry
          key={cell.index}
          cell={cell}
          isTarget={cell.index === target}
        />
      ))}
    </ol>
  );
}

function CellEntry(props: {
  cell: ICell;
  isTarget: boolean;
}): React.JSX.Element {
  const { cell, isTarget } = props;
  const trans = useTrans();
  const entry = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (isTarget) {
      entry.current?.scrollIntoView({ block: 'nearest' });
      entry.current?.focus({ preventScroll: true });
    }
  }, [isTarget]);
  return (
    <li
      ref={entry}
      tabIndex={-1}
      className="mlops-nb-cell"
      data-outcome={cell.outcome}
      data-target={isTarget}
    >
      <div className="mlops-nb-cell-head">
        <span className="mlops-nb-prompt">{promptOf(cell)}</span>
        <span className="mlops-nb-outcome">
          {outcomeWord(cell.outcome, trans)}
        </span>
        <span className="mlops-nb-cell-time" title={formatTime(cell.started)}>
          {cell.outcome === 'running' ? '' : formatDuration(cell.duration_ms)}
        </span>
      </div>
      <pre
        tabIndex={0}
        aria-label={trans.__('Source of cell %1', promptOf(cell))}
      >
        {cell.source}
      </pre>
      {cell.error !== null && (
        <p className="mlops-nb-cell-error">{cell.error}</p>
      )}
    </li>
  );
}

/** The number that the notebook shows beside the cell. */
export function promptOf(cell: ICell): string {
  return `[${cell.execution_count ?? ' '}]`;
}

function outcomeWord(
  outcome: ICell['outcome'],
  trans: TranslationBundle
): string {
  const words: Partial<Record<string, string>> = {
    ok: trans.__('✓ ok'),
    error: trans.__('✗ error'),
    interrupted: trans.__('■ interrupted'),
    running: trans.__('▶ running')
  };
  return words[outcome] ?? outcome;
}
