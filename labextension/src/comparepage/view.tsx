import React from 'react';
import { Empty, Failed, Loading } from '../components/states';
import { useTrans } from '../components/trans';
import type {
  ComparisonPart,
  IComparedCell,
  IComparedRun,
  IComparison
} from '../pageapi';
import { SYSTEM } from '../runpage/metrics';
import { type ITab, Tabs } from '../runpage/tabs';
import { CompareCells } from './cells';
import { CompareCurves } from './curves';
import { DataChanges } from './datachanges';
import { verdictText } from './delta';
import { MetricsTable } from './metricstable';
import type { ComparisonModel } from './model';
import { Plots } from './plots';
import { ValueTable } from './valuetable';

/** What a compare page can have done elsewhere. */
export interface ICompareActions {
  openRun: (runId: string, metric?: string) => void;
  setRuns: (runIds: string[]) => void;
  goToCell: (run: IComparedRun, cell: IComparedCell) => void;
}

export interface ICompareViewProps {
  model: ComparisonModel;
  theme: number;
  tab: string;
  select: (tab: string) => void;
  actions: ICompareActions;
}

/** The whole page. */
export function CompareView(props: ICompareViewProps): React.JSX.Element {
  const { model } = props;
  const trans = useTrans();
  const { value, error } = model;
  if (!value) {
    return error === null ? (
      <Loading label={trans.__('Comparing the runs…')} />
    ) : (
      <Failed
        what={trans.__('Could not compare the runs.')}
        error={error}
        retry={() => {
          void model.load();
        }}
      />
    );
  }
  const tabs = tabsOf(props, value, trans.__.bind(trans));
  const { word, text, significance } = value.verdict;
  return (
    <>
      <header className="mlops-nb-run-header">
        <div className="mlops-nb-run-title">
          <h1 dir="auto">{value.runs.map(run => run.name).join(' · ')}</h1>
        </div>
        <p className="mlops-nb-verdict-line" role="status">
          {word !== null && (
            <span className="mlops-nb-delta" data-verdict={word}>
              <b className="mlops-nb-verdict">{verdictText(word, trans)}</b>
            </span>
          )}{' '}
          <span dir="auto">{text}</span>
        </p>
        {significance !== '' && !text.includes(significance) && (
          <p className="mlops-nb-card-facts">{significance}</p>
        )}
        {error !== null && <p role="alert">{error}</p>}
      </header>
      <Tabs
        prefix={`mlops-nb-compare-${model.runIds.join('-').slice(0, 80)}`}
        label={trans.__('Parts of the comparison')}
        current={tabs.some(tab => tab.id === props.tab) ? props.tab : 'metrics'}
        select={props.select}
        tabs={tabs}
      />
    </>
  );
}

function tabsOf(
  props: ICompareViewProps,
  value: IComparison,
  __: (text: string) => string
): ITab[] {
  const { model, actions } = props;
  const { runs } = value;
  const isPair = runs.length === 2;
  const metrics = value.metrics ?? [];
  const system = metrics.filter(row => row.key.startsWith(SYSTEM));
  const values = (
    id: string,
    label: string,
    rows: IComparison['params'],
    same: string
  ): ITab => ({
    id,
    label,
    render: () => (
      <ValueTable
        runs={runs}
        rows={rows ?? []}
        name={label}
        same={same}
        openRun={actions.openRun}
      />
    )
  });
  const tabs: ITab[] = [
    {
      id: 'metrics',
      label: __('Metrics'),
      render: () => (
        <>
          <Causes value={value} />
          <MetricsTable
            runs={runs}
            rows={metrics.filter(row => !row.key.startsWith(SYSTEM))}
            openRun={actions.openRun}
            setRuns={actions.setRuns}
          />
          {system.length > 0 && (
            <details>
              <summary>{__('System metrics')}</summary>
              <MetricsTable
                runs={runs}
                rows={system}
                openRun={actions.openRun}
                setRuns={actions.setRuns}
              />
            </details>
          )}
        </>
      )
    }
  ];
  if ((value.params ?? []).length > 0) {
    tabs.push(
      values(
        'params',
        __('Params'),
        value.params,
        __('All params are the same.')
      )
    );
  }
  if (metrics.length > 0) {
    tabs.push({
      id: 'curves',
      label: __('Curves'),
      render: () => (
        <CompareCurves
          model={model}
          value={value}
          theme={props.theme}
          openRun={actions.openRun}
        />
      )
    });
    tabs.push({
      id: 'plots',
      label: __('Plots'),
      render: () => (
        <Plots value={value} runs={model.runs} openRun={actions.openRun} />
      )
    });
  }
  if (isPair) {
    tabs.push({
      id: 'cells',
      label: __('Cells'),
      render: () => (
        <Needed model={model} part="cells" value={value.cells}>
          {pairs => (
            <CompareCells
              runs={runs}
              pairs={pairs}
              goToCell={actions.goToCell}
            />
          )}
        </Needed>
      )
    });
    tabs.push({
      id: 'data',
      label: __('Data'),
      render: () => (
        <Needed
          model={model}
          part="data"
          value={value.data}
          none={__('Neither run says which data it read.')}
        >
          {data => <DataChanges data={data} />}
        </Needed>
      )
    });
  }
  if ((value.environment ?? []).length > 0) {
    tabs.push(
      values(
        'environment',
        __('Environment'),
        value.environment,
        __('All runs had the same environment.')
      )
    );
  }
  return tabs;
}

/** What explains the change, the likeliest first. */
function Causes(props: { value: IComparison }): React.JSX.Element | null {
  const trans = useTrans();
  const causes = props.value.explanations ?? [];
  return causes.length === 0 ? null : (
    <section className="mlops-nb-progress">
      <h2>{trans.__('What may explain it')}</h2>
      <ol className="mlops-nb-causes">
        {causes.slice(0, 8).map((cause, index) => (
          <li key={index} dir="auto">
            <span className="mlops-nb-badge">{cause.kind}</span> {cause.text}
          </li>
        ))}
      </ol>
    </section>
  );
}

/** Asks for a part that is not read at first, and draws it when it is there. */
function Needed<T>(props: {
  model: ComparisonModel;
  part: ComparisonPart;
  value: T | null | undefined;
  none?: string;
  children: (value: T) => React.JSX.Element;
}): React.JSX.Element {
  const { model, part, value } = props;
  const trans = useTrans();
  React.useEffect(() => {
    model.need(part);
  }, [model, part]);
  if (value !== null && value !== undefined) {
    return props.children(value);
  }
  return model.has(part) ? (
    <Empty>{props.none ?? trans.__('There is nothing to compare.')}</Empty>
  ) : (
    <Loading label={trans.__('Comparing…')} />
  );
}
