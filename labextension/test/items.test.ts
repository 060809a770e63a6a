import { describe, expect, it } from 'vitest';
import { parseTag } from '../src/actions/tag';
import { tellingCell } from '../src/actions/cells';
import { Api, type ICell } from '../src/api';
import { bestOf, directionOf, verdictOn } from '../src/direction';
import { StoreModel } from '../src/model/store';
import { servedFolder, servedPath, storedPath } from '../src/paths';
import { Choices, type IChoices } from '../src/settings';
import { buildItems } from '../src/sidebar/items';
import { judge } from '../src/sidebar/notebookruns';
import { FakeServer, makeRun } from './fakes';

const defaults = new Choices().current;
const allOpen = () => true;

async function modelOf(server: FakeServer): Promise<StoreModel> {
  const model = new StoreModel(new Api(server));
  await model.refresh();
  return model;
}

async function keysOf(
  server: FakeServer,
  choices: IChoices = defaults,
  isOpen: (key: string, atFirst: boolean) => boolean = allOpen
): Promise<string[]> {
  const items = buildItems(await modelOf(server), choices, isOpen);
  return items.map(item => item.key);
}

function scored(id: string, value: number, fields = {}) {
  const metrics = [
    { key: 'val_auc', value, step: 0, timestamp: 0, cell: null }
  ];
  return makeRun(id, { metrics, ...fields });
}

describe('the rows of the sidebar', () => {
  it('list what runs first, then the project', async () => {
    const server = new FakeServer();
    server.put(makeRun('a', { status: 'RUNNING' }));
    expect(await keysOf(server)).toEqual([
      'now',
      'now/a',
      'project',
      'project/a'
    ]);
  });

  it('hide the runs of a folded section and sections that are not wanted', async () => {
    const server = new FakeServer();
    server.put(makeRun('a', { status: 'RUNNING' }));
    expect(await keysOf(server, defaults, () => false)).toEqual([
      'now',
      'project'
    ]);
    const choices = { ...defaults, sections: ['project'] as const };
    expect(await keysOf(server, choices)).toEqual(['project', 'project/a']);
  });

  it('end with a row that reads more where there is more', async () => {
    const server = new FakeServer();
    server.pageSize = 1;
    server.put(makeRun('a'));
    server.put(makeRun('b'));
    expect((await keysOf(server)).at(-1)).toBe('project/more');
  });

  it('leave archived runs out unless they are asked for', async () => {
    const server = new FakeServer();
    server.put(makeRun('a', { tags: { 'mlops.archived': 'true' } }));
    expect(await keysOf(server)).toEqual(['project', 'project/note']);
    const choices = { ...defaults, showArchived: true };
    expect(await keysOf(server, choices)).toEqual(['project', 'project/a']);
  });

  it('show only matches while a filter is set, and say when none is', async () => {
    const server = new FakeServer();
    server.put(makeRun('a', { status: 'RUNNING' }));
    const model = await modelOf(server);
    await model.setScope({ text: 'nothing like it' });
    expect(buildItems(model, defaults, allOpen)).toMatchObject([
      { kind: 'group', key: 'project', count: 0 },
      { kind: 'note', note: 'no-match' }
    ]);
  });
});

describe('the runs of a notebook', () => {
  it('are told apart: the best, better or worse than the one before', () => {
    const runs = [scored('c', 0.8), scored('b', 0.9), scored('a', 0.7)];
    const judged = judge(runs, '');
    expect(judged.map(one => one.verdict)).toEqual(['worse', 'better', null]);
    expect(judged.map(one => one.isBest)).toEqual([false, true, false]);
  });

  it('are never judged by a value that is not a number, nor by what failed', () => {
    const runs = [
      scored('c', NaN),
      scored('b', 0.9, { status: 'FAILED' }),
      scored('a', 0.7)
    ];
    const judged = judge(runs, '');
    expect(judged.map(one => one.verdict)).toEqual([null, null, null]);
    expect(judged.some(one => one.isBest)).toBe(false);
  });

  it('fold the earlier attempts of a series', () => {
    const tags = { 'mlops.series': 'sweep' };
    const runs = [
      scored('c', 0.9, { tags }),
      scored('b', 0.8),
      scored('a', 0.7, { tags })
    ];
    const judged = judge(runs, '');
    expect(judged.map(one => one.run.run_id)).toEqual(['c', 'b']);
    expect(judged[0]?.earlier.map(one => one.run.run_id)).toEqual(['a']);
  });

  it('know which end of a metric is the good one by its name', () => {
    const names = ['val_loss', 'rmse', 'lr', 'system/cpu', 'val_auc', 'lossy'];
    expect(names.map(directionOf)).toEqual([
      'lower',
      'lower',
      'none',
      'none',
      'higher',
      'higher'
    ]);
    expect(verdictOn('loss', 1, 2)).toBe('better');
    expect(verdictOn('lr', 1, 2)).toBeNull();
    expect(bestOf([scored('a', 0.1)], 'val_auc')).toBeNull();
  });
});

describe('what a run leads to', () => {
  const cell = (index: number, fields: Partial<ICell> = {}): ICell => ({
    index,
    cell_id: `c${index}`,
    execution_count: index + 1,
    source: '',
    source_hash: '',
    started: 0,
    duration_ms: 0,
    outcome: 'ok',
    error: null,
    ...fields
  });

  it('is the cell that failed, else the one that logged the metric', () => {
    const cells = [cell(0), cell(1, { outcome: 'error' }), cell(2)];
    const logged = scored('a', 1);
    expect(tellingCell(makeRun('a'), cells)?.index).toBe(2);
    logged.metrics = logged.metrics.map(one => ({ ...one, cell: 0 }));
    expect(tellingCell(logged, cells)?.index).toBe(0);
    logged.status = 'FAILED';
    expect(tellingCell(logged, cells)?.index).toBe(1);
    expect(tellingCell(logged, [cell(0, { cell_id: null })])).toBeUndefined();
  });

  it('is a path that the server serves', () => {
    expect(storedPath('a/b.ipynb', '/srv/p', '/srv/p')).toBe('a/b.ipynb');
    expect(storedPath('b.ipynb', '/srv/p/a', '/srv/p')).toBe('a/b.ipynb');
    expect(storedPath('p/b.ipynb', '/srv', '/srv/p')).toBe('b.ipynb');
    expect(servedPath('b.ipynb', '/srv', '/srv/p')).toBe('p/b.ipynb');
    expect(servedPath('a/b.ipynb', '/srv/p/a', '/srv/p')).toBe('b.ipynb');
    expect(servedPath('c/b.ipynb', '/srv/p/a', '/srv/p')).toBeNull();
    expect(servedPath('/etc/b.ipynb', '/srv/p', '/srv/p')).toBeNull();
    expect(servedFolder('/srv/p/a/b', '/srv/p')).toBe('a/b');
    expect(servedFolder('/srv', '/srv/p')).toBe('');
  });

  it('can be tagged in one line', () => {
    expect(parseTag(' baseline ')).toEqual({ key: 'baseline', value: 'true' });
    expect(parseTag('a=b=c')).toEqual({ key: 'a', value: 'b=c' });
    expect(parseTag('-a')).toEqual({ key: 'a', value: null });
    expect(parseTag(' - ')).toBeNull();
  });
});
