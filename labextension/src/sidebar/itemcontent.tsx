import {
  Button,
  caretDownIcon,
  caretRightIcon
} from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';
import { CommandIds } from '../commandids';
import { useTrans } from '../components/trans';
import { formatCount, mainMetric } from '../format';
import { gradeText, gradeTitle } from '../grade';
import type { IRegisteredModel } from '../api';
import { isLive } from '../model';
import { costOfAll, dollars } from '../model/runners';
import type { ISidebarContext } from './context';
import type { IGroupItem, IRunItem, Item } from './items';
import { EndpointRow } from './endpointrow';
import { RunRow } from './row';
import { RunnerRow } from './runnerrow';

const MINUTE = 60_000;

/** What stands in a row. */
export function ItemContent(props: {
  item: Item;
  context: ISidebarContext;
  now: number;
  isSelected: boolean;
}): React.JSX.Element {
  const { item, context } = props;
  const trans = useTrans();
  switch (item.kind) {
    case 'group':
      return (
        <GroupRow item={item} now={props.now + context.runners.api.ahead} />
      );
    case 'run':
      return <RunItem {...props} item={item} />;
    case 'endpoint':
      return (
        <EndpointRow
          endpoint={item.endpoint}
          now={props.now}
          stop={endpoint => {
            context.execute(CommandIds.stopEndpoint, { endpoint });
          }}
        />
      );
    case 'runner':
      return (
        <RunnerRow
          runner={item.runner}
          now={props.now + context.runners.api.ahead}
          stop={runner => {
            context.execute(CommandIds.stopRunner, { runner });
          }}
        />
      );
    case 'model':
      return <ModelRow model={item.model} />;
    case 'rest':
      return (
        <span>
          {item.isOpen
            ? trans.__('Show fewer')
            : trans._n('Show %1 more', 'Show %1 more', item.count)}
        </span>
      );
    case 'more':
      return <span>{trans.__('Loading more…')}</span>;
    case 'retry':
      return (
        <>
          <span>{trans.__('Could not load: %1', item.message)}</span>
          <Button className="jp-mod-minimal" tabIndex={-1}>
            {trans.__('Retry')}
          </Button>
        </>
      );
    case 'note':
      return item.note === 'no-match' ? (
        <>
          <span>{trans.__('No run matches.')}</span>
          <Button
            className="jp-mod-minimal mlops-nb-link"
            onClick={() => {
              void context.model.setScope({ text: '' });
            }}
          >
            {trans.__('Clear the filter')}
          </Button>
        </>
      ) : (
        <span>
          {item.note === 'loading'
            ? trans.__('Loading runs…')
            : trans.__('No runs yet.')}
        </span>
      );
  }
}

function RunItem(props: {
  item: IRunItem;
  context: ISidebarContext;
  now: number;
  isSelected: boolean;
}): React.JSX.Element {
  const { item, context, now } = props;
  const { run } = item;
  const trans = useTrans();
  const choices = context.choices.current;
  const key =
    run.metrics.find(metric => metric.key === choices.metric)?.key ??
    mainMetric(run.metrics)?.key;
  const trail =
    item.isNow && key !== undefined ? context.model.trails.of(run, key) : null;
  return (
    <RunRow
      run={run}
      // What does not run ages by the minute: its row is drawn as seldom.
      now={isLive(run) ? now : Math.floor(now / MINUTE) * MINUTE}
      choices={choices}
      isSelected={props.isSelected}
      judged={item.judged}
      isOpen={item.isOpen}
      // A copy, so that a row is drawn again when its course went on.
      trail={trail && { ...trail }}
      cell={trail?.cell ? placeText(context, item, trail.cell, trans) : null}
      stop={item.isNow ? stopOf(context) : null}
    />
  );
}

const stops = new WeakMap<ISidebarContext, (runId: string) => void>();

/** One function a panel, so that rows need not be drawn again for it. */
function stopOf(context: ISidebarContext): (runId: string) => void {
  let stop = stops.get(context);
  if (!stop) {
    stop = runId => {
      context.execute(CommandIds.stopRun, { runId });
    };
    stops.set(context, stop);
  }
  return stop;
}

function placeText(
  context: ISidebarContext,
  item: IRunItem,
  cell: Parameters<ISidebarContext['placeOf']>[1],
  trans: TranslationBundle
): string | null {
  const place = context.placeOf(item.run, cell);
  if (place) {
    return trans.__('cell %1/%2', place.place, place.of);
  }
  return cell.execution_count === null
    ? null
    : trans.__('cell [%1]', cell.execution_count);
}

function GroupRow(props: { item: IGroupItem; now: number }): React.JSX.Element {
  const { item } = props;
  const trans = useTrans();
  const Caret = item.isOpen ? caretDownIcon : caretRightIcon;
  return (
    <>
      <Caret.react tag="span" className="mlops-nb-caret" />
      <span className="mlops-nb-section">{sectionTitle(item, trans)}</span>
      {item.name !== null && (
        <span className="mlops-nb-section-name" title={item.name} dir="auto">
          {item.name.slice(item.name.lastIndexOf('/') + 1)}
        </span>
      )}
      {item.grade && (
        <span
          className="mlops-nb-grade"
          title={gradeTitle(item.grade, trans)}
          data-grade={item.grade.hygiene}
        >
          {gradeText(item.grade, trans)}
        </span>
      )}
      {item.runners && (
        <span
          className="mlops-nb-runner-cost"
          title={trans.__('What they have cost so far, by the list price')}
        >
          {dollars(costOfAll(item.runners, props.now))}
        </span>
      )}
      {item.count !== null && (
        <span className="mlops-nb-count">{formatCount(item.count)}</span>
      )}
    </>
  );
}

function ModelRow(props: { model: IRegisteredModel }): React.JSX.Element {
  const { model } = props;
  const trans = useTrans();
  const newest = model.latest_versions?.reduce(
    (most, version) => Math.max(most, Number(version.version)),
    0
  );
  const aliases = [...(model.aliases ?? [])].sort(
    (a, b) => Number(b.version) - Number(a.version)
  );
  const named = aliases.map(a => `v${a.version} @${a.alias}`);
  const isNamed = aliases.some(a => Number(a.version) === newest);
  const parts = newest && !isNamed ? [`v${newest}`, ...named] : named;
  const text = parts.length > 0 ? parts.join(', ') : trans.__('no versions');
  return (
    <>
      <span className="mlops-nb-row-name" title={model.name} dir="auto">
        {model.name}
      </span>
      <span className="mlops-nb-model-versions" title={text} dir="auto">
        {text}
      </span>
    </>
  );
}

function sectionTitle(item: IGroupItem, trans: TranslationBundle): string {
  switch (item.key) {
    case 'now':
      return trans.__('Now');
    case 'notebook':
      return trans.__('This notebook');
    case 'models':
      return trans.__('Models');
    case 'runners':
      return trans.__('Runners');
    case 'project':
      return trans.__('Project');
  }
}
