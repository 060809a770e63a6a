import type { IRegisteredModel, IRun } from '../api';
import type { IEndpoint } from '../endpointapi';
import { gradeOf, type IGrade } from '../grade';
import type { IRunner } from '../runnerapi';
import { isLive, type RunList, type StoreModel } from '../model';
import type { IChoices, SectionName } from '../settings';
import { type INotebookRun, judge } from './notebookruns';

/** A section's first row. */
export interface IGroupItem {
  kind: 'group';
  key: SectionName;
  /** The notebook in front. */
  name: string | null;
  count: number | null;
  grade: IGrade | null;
  /** Of the section of runners: what they are. */
  runners: readonly IRunner[] | null;
  isOpen: boolean;
}

/** A run's row. */
export interface IRunItem {
  kind: 'run';
  key: string;
  run: IRun;
  /** It runs, and is drawn with its course. */
  isNow: boolean;
  /** What sets it apart among the runs of its notebook. */
  judged: INotebookRun | null;
  /** Whether its earlier attempts are shown. */
  isOpen: boolean;
  level: number;
}

/** A row of the tree, top to bottom as drawn. */
export type Item =
  | IGroupItem
  | IRunItem
  | { kind: 'endpoint'; key: string; endpoint: IEndpoint }
  | { kind: 'runner'; key: string; runner: IRunner }
  | { kind: 'model'; key: string; model: IRegisteredModel }
  | { kind: 'rest'; key: string; count: number; isOpen: boolean }
  | { kind: 'more'; key: string; list: RunList }
  | { kind: 'retry'; key: string; section: SectionName; message: string }
  | { kind: 'note'; key: string; note: 'loading' | 'no-runs' | 'no-match' };

/** The part of the store model that the tree is made from. */
export type ItemSource = Pick<
  StoreModel,
  | 'experiments'
  | 'notebook'
  | 'notebookRuns'
  | 'project'
  | 'records'
  | 'registry'
  | 'running'
>;

/** Runs of the notebook past this many are behind a row that shows them. */
const FEW = 6;

/**
 * The rows of the sidebar. While a filter is set, there is only what it found.
 *
 * @param isOpen whether something is unfolded, given what it would be at first
 */
export function buildItems(
  model: ItemSource,
  choices: IChoices,
  isOpen: (key: string, atFirst: boolean) => boolean,
  endpoints: readonly IEndpoint[] = [],
  runners: readonly IRunner[] = []
): Item[] {
  const items: Item[] = [];
  const has = (section: SectionName) => choices.sections.includes(section);
  const isListed = (run: IRun) =>
    choices.showArchived || run.tags['mlops.archived'] === undefined;
  const group = (
    key: SectionName,
    fields: Partial<IGroupItem>,
    atFirst = true
  ): boolean => {
    const open = isOpen(key, atFirst);
    const none = { name: null, count: null, grade: null, runners: null };
    items.push({ kind: 'group', key, ...none, ...fields, isOpen: open });
    return open;
  };

  const { project } = model;
  if (!project.isFiltered) {
    const running = model.records.of(model.running);
    const count = running.length + endpoints.length;
    if (has('now') && count > 0) {
      if (group('now', { count })) {
        items.push(...running.map(run => runItem('now', run, true)));
        for (const endpoint of endpoints) {
          const key = `now/endpoint/${endpoint.name}`;
          items.push({ kind: 'endpoint', key, endpoint });
        }
      }
    }
    if (has('notebook')) {
      pushNotebook(model, choices, isListed, isOpen, group, items);
    }
    if (has('runners') && runners.length > 0) {
      if (group('runners', { count: runners.length, runners })) {
        for (const runner of runners) {
          items.push({ kind: 'runner', key: `runners/${runner.id}`, runner });
        }
      }
    }
    const { models } = model.registry;
    if (has('models') && models.length > 0) {
      if (group('models', { count: models.length }, false)) {
        for (const one of models) {
          items.push({ kind: 'model', key: `models/${one.name}`, model: one });
        }
      }
    }
  }
  if (has('project') || project.isFiltered) {
    const { list } = project;
    if (group('project', { count: countOf(model) })) {
      // An archived run that was asked for by name of its tag is meant.
      const isMeant = project.scope.text.includes('mlops.archived');
      const runs = model.records.of(list).filter(r => isMeant || isListed(r));
      items.push(...runs.map(run => runItem('project', run, false)));
      items.push(...endOf('project', list, runs.length, project.isFiltered));
    }
  }
  return items;
}

function pushNotebook(
  model: ItemSource,
  choices: IChoices,
  isListed: (run: IRun) => boolean,
  isOpen: (key: string, atFirst: boolean) => boolean,
  group: (key: SectionName, fields: Partial<IGroupItem>) => boolean,
  items: Item[]
): void {
  const list = model.notebookRuns;
  if (!list || list.ids.length === 0) {
    return;
  }
  const runs = model.records.of(list).filter(isListed);
  // A run is graded when it ends.
  const ended = runs.find(run => !isLive(run));
  const grade = ended ? gradeOf(ended) : null;
  if (!group('notebook', { name: model.notebook, grade })) {
    return;
  }
  const judged = judge(runs, choices.metric);
  const isAllOpen = isOpen('notebook/rest', false);
  for (const one of isAllOpen ? judged : judged.slice(0, FEW)) {
    const key = `notebook/${one.run.run_id}`;
    const open = one.earlier.length > 0 && isOpen(`${key}/earlier`, false);
    const item = runItem('notebook', one.run, false);
    items.push({ ...item, judged: one, isOpen: open });
    for (const earlier of open ? one.earlier : []) {
      const row = runItem('notebook', earlier.run, false);
      items.push({ ...row, judged: earlier, level: 3 });
    }
  }
  if (judged.length > FEW) {
    const key = 'notebook/rest';
    const count = judged.length - FEW;
    items.push({ kind: 'rest', key, count, isOpen: isAllOpen });
  }
  if (list.hasMore && isAllOpen) {
    items.push({ kind: 'more', key: 'notebook/more', list });
  }
}

function runItem(section: SectionName, run: IRun, isNow: boolean): IRunItem {
  const key = `${section}/${run.run_id}`;
  const fields = { judged: null, isOpen: false, level: 2 };
  return { kind: 'run', key, run, isNow, ...fields };
}

function endOf(
  section: SectionName,
  list: RunList,
  shown: number,
  isFiltered: boolean
): Item[] {
  if (list.error !== null) {
    const key = `${section}/retry`;
    return [{ kind: 'retry', key, section, message: list.error }];
  }
  const note = `${section}/note`;
  if (list.phase === 'loading' && shown === 0) {
    return [{ kind: 'note', key: note, note: 'loading' }];
  }
  if (list.hasMore) {
    return [{ kind: 'more', key: `${section}/more`, list }];
  }
  return shown > 0
    ? []
    : [{ kind: 'note', key: note, note: isFiltered ? 'no-match' : 'no-runs' }];
}

/** How many runs the project list has, where that is known. */
function countOf(model: ItemSource): number | null {
  const { list, scope, isFiltered } = model.project;
  if (!list.hasMore) {
    return list.ids.length;
  }
  if (isFiltered) {
    return null;
  }
  return model.experiments
    .filter(e => [null, e.experiment_id].includes(scope.experimentId))
    .reduce((sum, e) => sum + e.run_count, 0);
}
