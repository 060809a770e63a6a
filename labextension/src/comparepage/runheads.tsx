import React from 'react';
import { useTrans } from '../components/trans';
import { formatTime } from '../format';
import type { IComparedRun } from '../pageapi';

/** The head of a table with a column for each run, the base first. */
export function RunHeads(props: {
  name: string;
  runs: readonly IComparedRun[];
  openRun: (runId: string) => void;
  /** Changes which runs there are and which is the base; without, neither. */
  setRuns?: (runIds: string[]) => void;
}): React.JSX.Element {
  const { runs, setRuns } = props;
  const trans = useTrans();
  const ids = runs.map(run => run.run_id);
  return (
    <thead>
      <tr>
        <th scope="col">{props.name}</th>
        {runs.map((run, index) => (
          <th
            key={run.run_id}
            scope="col"
            className="mlops-nb-num"
            title={formatTime(run.start_time)}
          >
            <button
              type="button"
              className="mlops-nb-link"
              dir="auto"
              onClick={() => {
                props.openRun(run.run_id);
              }}
            >
              {run.name}
            </button>{' '}
            {index === 0 ? (
              <span className="mlops-nb-badge">{trans.__('base')}</span>
            ) : (
              setRuns && (
                <span className="mlops-nb-head-actions">
                  <button
                    type="button"
                    className="mlops-nb-link"
                    aria-label={trans.__('Make %1 the base', run.name)}
                    onClick={() => {
                      const others = ids.filter(id => id !== run.run_id);
                      setRuns([run.run_id, ...others]);
                    }}
                  >
                    {trans.__('as base')}
                  </button>
                  {runs.length > 2 && (
                    <button
                      type="button"
                      className="mlops-nb-link"
                      aria-label={trans.__('Leave %1 out', run.name)}
                      onClick={() => {
                        setRuns(ids.filter(id => id !== run.run_id));
                      }}
                    >
                      ×
                    </button>
                  )}
                </span>
              )
            )}
          </th>
        ))}
      </tr>
    </thead>
  );
}
