import type { IRun } from '../api';
import type { RunList, StoreModel } from '../model';

/** The groups that are not experiments. */
export type Section = 'found' | 'now' | 'notebook';

/** A group row: a section, or an experiment. */
export interface IGroupItem {
  kind: 'group';
  key: string;
  section: Section | null;
  experimentId: string | null;
  /** The name of the experiment or notebook. */
  name: string | null;
  count: number | null;
  isOpen: boolean;
}

/** A row of the tree, top to bottom as drawn. */
export type Item =
  | IGroupItem
  | { kind: 'heading'; key: string }
  | { kind: 'run'; key: string; run: IRun }
  | { kind: 'more'; key: string; list: RunList; isBusy: boolean }
  | { kind: 'retry'; key: string; list: RunList; message: string }
  | { kind: 'note'; key: string; note: 'loading' | 'no-runs' | 'no-match' };

/** The part of the store model that the tree is made from. */
export type ItemSource = Pick<
  StoreModel,
  | 'experiments'
  | 'experimentRuns'
  | 'filter'
  | 'notebook'
  | 'notebookRuns'
  | 'records'
  | 'running'
>;

/** Experiments past this many start folded, and so do those without runs. */
const OPEN_AT_FIRST = 3;

/**
 * The rows of the sidebar.
 *
 * @param isOpen whether a group is unfolded, given what it would be at first
 */
export function buildItems(
  model: ItemSource,
  isOpen: (key: string, atFirst: boolean) => boolean
): Item[] {
  const items: Item[] = [];
  const section = (
    name: Section,
    list: RunList,
    label: string | null,
    count: number | null
  ) => {
    const open = isOpen(name, true);
    items.push({
      kind: 'group',
      key: name,
      section: name,
      experimentId: null,
      name: label,
      count,
      isOpen: open
    });
    if (open) {
      items.push(...rowsOf(model, name, list));
    }
  };

  const { found } = model.filter;
  if (found) {
    const count = found.hasMore ? null : found.ids.size;
    section('found', found, null, count);
    return items;
  }
  if (model.running.ids.size > 0) {
    section('now', model.running, null, model.running.ids.size);
  }
  const ofNotebook = model.notebookRuns;
  if (ofNotebook && ofNotebook.ids.size > 0) {
    section('notebook', ofNotebook, model.notebook, null);
  }
  items.push({ kind: 'heading', key: 'project' });
  model.experiments.forEach((experiment, index) => {
    const key = `experiment:${experiment.experiment_id}`;
    const open = isOpen(key, index < OPEN_AT_FIRST && experiment.run_count > 0);
    items.push({
      kind: 'group',
      key,
      section: null,
      experimentId: experiment.experiment_id,
      name: experiment.name,
      count: experiment.run_count,
      isOpen: open
    });
    if (open) {
      const list = model.experimentRuns(experiment.experiment_id);
      items.push(...(list ? rowsOf(model, key, list) : [note(key, 'loading')]));
    }
  });
  return items;
}

function rowsOf(model: ItemSource, group: string, list: RunList): Item[] {
  const runs = model.records.of(list);
  const rows: Item[] = runs.map(run => ({
    kind: 'run',
    key: `${group}/${run.run_id}`,
    run
  }));
  if (list.error !== null) {
    const key = `${group}/retry`;
    rows.push({ kind: 'retry', key, list, message: list.error });
  } else if (list.phase === 'loading' && runs.length === 0) {
    rows.push(note(group, 'loading'));
  } else if (runs.length === 0) {
    rows.push(note(group, group === 'found' ? 'no-match' : 'no-runs'));
  } else if (list.hasMore) {
    const isBusy = list.isLoadingMore;
    rows.push({ kind: 'more', key: `${group}/more`, list, isBusy });
  }
  return rows;
}

function note(group: string, text: 'loading' | 'no-runs' | 'no-match'): Item {
  return { kind: 'note', key: `${group}/note`, note: text };
}
