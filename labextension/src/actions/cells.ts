import type { ICell, IRun } from '../api';
import { mainMetric } from '../format';

/**
 * The cell that a run is about: the one that failed, else the one that logged its
 * main metric, else the last one. Only cells that a notebook can find again.
 */
export function tellingCell(
  run: IRun,
  cells: readonly ICell[]
): ICell | undefined {
  const known = cells.filter(cell => cell.cell_id !== null);
  const logged = mainMetric(run.metrics)?.cell;
  const failed = run.status === 'FAILED' || run.status === 'KILLED';
  return (
    (failed
      ? known.findLast(cell => ['error', 'interrupted'].includes(cell.outcome))
      : undefined) ??
    known.find(cell => cell.index === logged) ??
    known.at(-1)
  );
}

/**
 * What ends a run in its own kernel, wherever it was opened; it does nothing where
 * that kernel has another run by now.
 */
export function stopCode(runId: string): string {
  const id = JSON.stringify(runId);
  return [
    'def _mlops_nb_stop():',
    '    from mlops_nb.tracking import session',
    '    for run in reversed(list(session.current.runs)):',
    `        if run.run_id == ${id}:`,
    "            run.stop('KILLED', 'stopped from the sidebar')",
    '_mlops_nb_stop()',
    'del _mlops_nb_stop'
  ].join('\n');
}
