import type { TranslationBundle } from '@jupyterlab/translation';
import React, { useState } from 'react';
import { useTrans } from '../components/trans';
import { formatDuration, formatSize } from '../format';
import type { ICellPair, IComparedCell, IComparedRun } from '../pageapi';
import { Code } from '../rendering/code';
import { Outputs } from '../rendering/output';
import { outcomeWord, promptOf } from '../runpage/cells';

/** The cells of two runs side by side: sources, outputs, durations. */
export function CompareCells(props: {
  runs: readonly IComparedRun[];
  pairs: readonly ICellPair[];
  goToCell: ((run: IComparedRun, cell: IComparedCell) => void) | null;
}): React.JSX.Element {
  const { pairs } = props;
  const trans = useTrans();
  const [isAll, setAll] = useState(false);
  const isNews = (pair: ICellPair) =>
    pair.status !== 'same' || pair.outputs_changed;
  const news = pairs.filter(isNews);
  const shown = isAll ? pairs : news;
  return (
    <>
      <div className="mlops-nb-chart-options">
        <label>
          <input
            type="checkbox"
            checked={!isAll}
            onChange={event => {
              setAll(!event.target.checked);
            }}
          />
          {trans.__('Only changed cells')} ({news.length}/{pairs.length})
        </label>
      </div>
      {shown.length === 0 && (
        <p className="mlops-nb-none">
          {pairs.length === 0
            ? trans.__('Neither run recorded any cells.')
            : trans.__('All cells and their outputs are the same.')}
        </p>
      )}
      <ol className="mlops-nb-pairs">
        {shown.map((pair, index) => (
          <Pair key={index} pair={pair} {...props} />
        ))}
      </ol>
    </>
  );
}

function Pair(props: {
  pair: ICellPair;
  runs: readonly IComparedRun[];
  goToCell: ((run: IComparedRun, cell: IComparedCell) => void) | null;
}): React.JSX.Element {
  const { pair, runs } = props;
  const trans = useTrans();
  const { base, other } = pair;
  const isEdited = pair.source_diff.some(([sign]) => sign !== '=');
  return (
    <li className="mlops-nb-pair" data-status={pair.status}>
      <div className="mlops-nb-cell-head">
        <span className="mlops-nb-badge">{statusWord(pair, trans)}</span>
        <span dir="auto">{pair.summary}</span>
      </div>
      {base && other && isEdited ? (
        <SourceDiff lines={pair.source_diff} />
      ) : (
        <Code
          source={(base ?? other)?.source ?? ''}
          label={trans.__('Source')}
        />
      )}
      {pair.inputs.length > 0 && (
        <p className="mlops-nb-card-facts">
          {trans.__('Read other values of %1', pair.inputs.join(', '))}
        </p>
      )}
      <div className="mlops-nb-sides">
        {[base, other].map((cell, index) => (
          <Side
            key={index}
            cell={cell}
            run={runs[index] ?? null}
            goToCell={props.goToCell}
          />
        ))}
      </div>
    </li>
  );
}

function Side(props: {
  cell: IComparedCell | null;
  run: IComparedRun | null;
  goToCell: ((run: IComparedRun, cell: IComparedCell) => void) | null;
}): React.JSX.Element {
  const { cell, run, goToCell } = props;
  const trans = useTrans();
  return (
    <div className="mlops-nb-side">
      <div className="mlops-nb-cell-head">
        <b dir="auto">{run?.name}</b>
        {cell ? (
          <>
            <span className="mlops-nb-prompt">{promptOf(cell)}</span>
            <span>{outcomeWord(cell.outcome, trans)}</span>
            <span>{formatDuration(cell.duration)}</span>
            {cell.peak_memory !== null && (
              <span>{formatSize(cell.peak_memory)}</span>
            )}
            {cell.times > 1 && (
              <span>{trans.__('ran %1 times', cell.times)}</span>
            )}
            {goToCell && run && (
              <button
                type="button"
                className="mlops-nb-link"
                aria-label={trans.__(
                  'Go to cell %1 of %2',
                  promptOf(cell),
                  run.name
                )}
                onClick={() => {
                  goToCell(run, cell);
                }}
              >
                {trans.__('Go to cell')}
              </button>
            )}
          </>
        ) : (
          <span>{trans.__('does not have this cell')}</span>
        )}
      </div>
      {cell && <Outputs outputs={cell.outputs} />}
    </div>
  );
}

/** The lines of two sources; what was taken out and put in has a sign. */
function SourceDiff(props: { lines: [string, string][] }): React.JSX.Element {
  const trans = useTrans();
  const words: Partial<Record<string, string>> = {
    '-': trans.__('only in the base:'),
    '+': trans.__('only in the other:')
  };
  return (
    <pre
      className="mlops-nb-diff"
      tabIndex={0}
      aria-label={trans.__('Changes of the source')}
    >
      {props.lines.map(([sign, line], index) => (
        <span key={index} className="mlops-nb-diff-line" data-sign={sign}>
          <span aria-hidden="true">{sign === '=' ? '  ' : `${sign} `}</span>
          {words[sign] !== undefined && (
            <span className="mlops-nb-sr">{words[sign]} </span>
          )}
          {line.replace(/\n$/, '')}
          {'\n'}
        </span>
      ))}
    </pre>
  );
}

function statusWord(pair: ICellPair, trans: TranslationBundle): string {
  const words: Partial<Record<string, string>> = {
    same: pair.outputs_changed
      ? trans.__('≠ other output')
      : trans.__('= same'),
    changed: trans.__('≠ changed'),
    added: trans.__('+ added'),
    removed: trans.__('− removed'),
    moved: trans.__('↕ moved')
  };
  return words[pair.status] ?? pair.status;
}
