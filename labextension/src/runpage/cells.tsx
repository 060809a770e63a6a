import React, { useEffect, useMemo, useRef, useState } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ICell, IRun } from '../api';
import { useTrans } from '../components/trans';
import { formatDuration, formatSize, formatTime } from '../format';
import type { RunDetail } from '../model';
import type { IProvenance, ResultName } from '../pageapi';
import { messageOf } from '../request';
import { Code } from '../rendering/code';

/** The ledger: every cell that ran, in the order it ran. */
export function Cells(props: {
  detail: RunDetail;
  run: IRun;
  cells: readonly ICell[];
  /** The execution to scroll to. */
  target: number | null;
  goToCell: ((cell: ICell) => void) | null;
}): React.JSX.Element {
  const { detail, run, cells } = props;
  const trans = useTrans();
  const [result, setResult] = useState<string>('');
  const [isOnlyNeeded, setOnlyNeeded] = useState(false);
  const { closure, error } = useClosure(detail, run, result);
  const made = useMemo(() => madeBy(run, cells), [run, cells]);
  const names = useMemo(() => resultNames(run, cells), [run, cells]);
  const needed = closure && new Set(closure.needed);
  return (
    <>
      {names.length > 0 && (
        <div className="mlops-nb-chart-options">
          <label>
            {trans.__('Explain')}
            <select
              className="mlops-nb-select"
              value={result}
              onChange={event => {
                setResult(event.target.value);
              }}
            >
              <option value="">{trans.__('nothing')}</option>
              {names.map(([value, text]) => (
                <option key={value} value={value}>
                  {text}
                </option>
              ))}
            </select>
          </label>
          {needed && (
            <>
              <label>
                <input
                  type="checkbox"
                  checked={isOnlyNeeded}
                  onChange={event => {
                    setOnlyNeeded(event.target.checked);
                  }}
                />
                {trans.__('Only these cells')}
              </label>
              <span role="status">
                {trans._n(
                  '%1 cell explains it',
                  '%1 cells explain it',
                  needed.size
                )}
              </span>
            </>
          )}
          {error !== null && <span role="alert">{error}</span>}
        </div>
      )}
      <ol className="mlops-nb-cells">
        {cells
          .filter(cell => !needed || !isOnlyNeeded || needed.has(cell.index))
          .map(cell => (
            <CellEntry
              key={cell.index}
              cell={cell}
              made={made.get(cell.index) ?? []}
              isTarget={cell.index === props.target}
              role={
                closure === null
                  ? null
                  : closure.targets.includes(cell.index)
                    ? 'target'
                    : needed?.has(cell.index)
                      ? 'needed'
                      : 'other'
              }
              goToCell={props.goToCell}
            />
          ))}
      </ol>
    </>
  );
}

function CellEntry(props: {
  cell: ICell;
  made: readonly string[];
  isTarget: boolean;
  role: 'target' | 'needed' | 'other' | null;
  goToCell: ((cell: ICell) => void) | null;
}): React.JSX.Element {
  const { cell, isTarget, goToCell, role } = props;
  const trans = useTrans();
  const entry = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (isTarget) {
      entry.current?.scrollIntoView({ block: 'nearest' });
      entry.current?.focus({ preventScroll: true });
    }
  }, [isTarget]);
  const facts: [string, readonly string[]][] = [
    [trans.__('reads'), cell.reads ?? []],
    [trans.__('writes'), cell.writes ?? []],
    [trans.__('gave'), props.made]
  ];
  return (
    <li
      ref={entry}
      tabIndex={-1}
      className="mlops-nb-cell"
      data-outcome={cell.outcome}
      data-target={isTarget}
      data-role={role ?? undefined}
    >
      <div className="mlops-nb-cell-head">
        <span className="mlops-nb-prompt">{promptOf(cell)}</span>
        <span className="mlops-nb-outcome">
          {outcomeWord(cell.outcome, trans)}
        </span>
        {(role === 'target' || role === 'needed') && (
          <span className="mlops-nb-badge">
            {role === 'target'
              ? trans.__('● gave the result')
              : trans.__('○ needed for it')}
          </span>
        )}
        <span className="mlops-nb-cell-time" title={formatTime(cell.started)}>
          {cell.outcome === 'running' ? '' : formatDuration(cell.duration_ms)}
        </span>
        {cell.peak_memory !== null && cell.peak_memory !== undefined && (
          <span title={trans.__('Most memory that the kernel held')}>
            {formatSize(cell.peak_memory)}
          </span>
        )}
        {goToCell && (
          <button
            type="button"
            className="mlops-nb-link"
            aria-label={trans.__('Go to cell %1', promptOf(cell))}
            onClick={() => {
              goToCell(cell);
            }}
          >
            {trans.__('Go to cell')}
          </button>
        )}
      </div>
      {cell.source === '' ? (
        <p className="mlops-nb-none">
          {trans.__('The source was not kept; its hash begins with %1.', [
            cell.source_hash.slice(0, 12)
          ])}
        </p>
      ) : (
        <Code
          source={cell.source}
          label={trans.__('Source of cell %1', promptOf(cell))}
        />
      )}
      <dl className="mlops-nb-cell-facts">
        {facts
          .filter(([, names]) => names.length > 0)
          .map(([word, names]) => (
            <div key={word}>
              <dt>{word}</dt>
              <dd dir="auto">{names.join(', ')}</dd>
            </div>
          ))}
      </dl>
      {cell.error !== null && (
        <p className="mlops-nb-cell-error">{cell.error}</p>
      )}
      {cell.outputs && (
        <details>
          <summary>{trans.__('Output')}</summary>
          <pre tabIndex={0}>{cell.outputs}</pre>
        </details>
      )}
    </li>
  );
}

/** Asks the server which cells explain the chosen result. */
function useClosure(
  detail: RunDetail,
  run: IRun,
  result: string
): { closure: IProvenance | null; error: string | null } {
  const [closure, setClosure] = useState<IProvenance | null>(null);
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    setError(null);
    if (result === '') {
      setClosure(null);
      return;
    }
    let isGone = false;
    detail.provenance(nameOf(result)).then(
      found => {
        if (!isGone) {
          setClosure(found);
        }
      },
      (reason: unknown) => {
        if (!isGone) {
          setClosure(null);
          setError(messageOf(reason));
        }
      }
    );
    return () => {
      isGone = true;
    };
  }, [detail, result, run.revision]);
  return { closure, error };
}

function nameOf(result: string): ResultName {
  const name = result.slice(2);
  return result.startsWith('m:')
    ? { metric: name }
    : result.startsWith('p:')
      ? { product: name }
      : null;
}

/** What can be explained: all results, each metric, each product. */
function resultNames(run: IRun, cells: readonly ICell[]): [string, string][] {
  const metrics = run.metrics.filter(metric => metric.cell !== null);
  const products = new Set(
    cells.flatMap(cell => (cell.products ?? []).map(product => product.name))
  );
  const names: [string, string][] = [
    ...metrics.map(({ key }): [string, string] => [`m:${key}`, key]),
    ...[...products].map((name): [string, string] => [`p:${name}`, name])
  ];
  return names.length === 0 ? [] : [['*', '*'], ...names];
}

/** By the index of an execution, what it gave the run. */
function madeBy(run: IRun, cells: readonly ICell[]): Map<number, string[]> {
  const made = new Map<number, string[]>();
  for (const cell of cells) {
    const metrics = run.metrics.filter(metric => metric.cell === cell.index);
    const products = (cell.products ?? []).map(product => product.name);
    made.set(cell.index, [...metrics.map(metric => metric.key), ...products]);
  }
  return made;
}

/** The number that the notebook shows beside the cell. */
export function promptOf(cell: Pick<ICell, 'execution_count'>): string {
  return `[${cell.execution_count ?? ' '}]`;
}

/** What became of an execution, as a sign and a word. */
export function outcomeWord(outcome: string, trans: TranslationBundle): string {
  const words: Partial<Record<string, string>> = {
    ok: trans.__('✓ ok'),
    error: trans.__('✗ error'),
    interrupted: trans.__('■ interrupted'),
    running: trans.__('▶ running')
  };
  return words[outcome] ?? outcome;
}
