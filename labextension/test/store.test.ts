import { beforeEach, describe, expect, it } from 'vitest';
import { Api } from '../src/api';
import { type IRunChange, RunList } from '../src/model';
import { StoreModel } from '../src/model/store';
import { ApiError } from '../src/request';
import { FakeServer, makeRun } from './fakes';

let server: FakeServer;
let model: StoreModel;

function namesOf(list: RunList | null): string[] {
  return list ? model.records.of(list).map(run => run.run_id) : [];
}

async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await Promise.resolve();
  }
}

beforeEach(() => {
  server = new FakeServer();
  model = new StoreModel(new Api(server));
  model.viewers.add({ isDisposed: false, dispose: () => undefined });
});

describe('the store model', () => {
  it('shows the runs of the project, newest first', async () => {
    server.put(makeRun('a', { start_time: 1 }));
    server.put(makeRun('b', { start_time: 2 }));
    await model.refresh();
    expect(model.phase).toBe('ready');
    expect(namesOf(model.project.list)).toEqual(['b', 'a']);
  });

  it('takes a new run in without reading the lists again', async () => {
    await model.refresh();
    server.put(makeRun('a', { status: 'RUNNING', revision: 2 }));
    server.requests = [];
    await model.pull();
    expect(namesOf(model.running)).toEqual(['a']);
    expect(namesOf(model.project.list)).toEqual(['a']);
    expect(server.requests).toEqual([
      'GET api/v1/changes?since=0',
      'GET api/v1/experiments'
    ]);
  });

  it('offers a run to every list, whichever request brought it', async () => {
    await model.refresh();
    model.setNotebook('train.ipynb');
    await settled();
    const tags = { 'mlops.notebook': 'train.ipynb' };
    server.put(makeRun('a', { tags, revision: 2 }));
    await model.setScope({ experimentId: '1' });
    expect(namesOf(model.notebookRuns)).toEqual(['a']);
  });

  it('keeps a run that changed while an older page was on its way', async () => {
    await model.refresh();
    const page = { runs: [], revision: 0 };
    const api = { searchRuns: () => Promise.resolve(page) };
    const list = new RunList(api as unknown as Api, {}, () => true);
    const loading = list.load();
    list.merge(makeRun('a'));
    await loading;
    expect([...list.ids]).toEqual(['a']);
  });

  it('moves a run out of the running ones when it ends', async () => {
    server.put(makeRun('a', { status: 'RUNNING' }));
    await model.refresh();
    expect(namesOf(model.running)).toEqual(['a']);
    const changes: IRunChange[] = [];
    model.records.changed.connect((_, change) => {
      changes.push(change);
    });
    server.put(makeRun('a', { status: 'FAILED', revision: 2 }));
    await model.pull();
    expect(namesOf(model.running)).toEqual([]);
    expect(changes.map(c => [c.previous?.status, c.run.status])).toEqual([
      ['RUNNING', 'FAILED']
    ]);
  });

  it('keeps one fetch under way and at most one waiting', async () => {
    await model.refresh();
    server.requests = [];
    let open = () => {
      // Replaced below, before anything can call it.
    };
    server.gate = new Promise(resolve => {
      open = resolve;
    });
    const pulls = [1, 2, 3, 4, 5].map(() => model.pull());
    open();
    await Promise.all(pulls);
    await settled();
    const fetches = server.requests.filter(r => r.includes('changes'));
    expect(fetches).toHaveLength(2);
  });

  it('reads changes page by page until there are no more', async () => {
    await model.refresh();
    server.pageSize = 2;
    for (let i = 1; i <= 5; i++) {
      server.put(makeRun(`r${i}`, { revision: i }));
    }
    await model.pull();
    expect(namesOf(model.project.list)).toHaveLength(5);
  });

  it('starts again when the store was replaced by an older one', async () => {
    server.put(makeRun('old', { revision: 9 }));
    await model.refresh();
    server.runs = [makeRun('new', { revision: 1 })];
    await model.pull();
    expect(namesOf(model.project.list)).toEqual(['new']);
    expect(model.records.get('old')).toBeNull();
  });

  it('never goes back to an older revision of a run', async () => {
    server.put(makeRun('a', { name: 'now', revision: 5 }));
    await model.refresh();
    model.records.merge([makeRun('a', { name: 'now', revision: 5 })]);
    model.records.merge([makeRun('a', { name: 'before', revision: 4 })]);
    expect(model.records.get('a')?.name).toBe('now');
  });

  it('drops a deleted run and takes it back when it is restored', async () => {
    server.put(makeRun('a'));
    await model.refresh();
    await model.delete('a');
    expect(namesOf(model.project.list)).toEqual([]);
    server.requests = [];
    await model.pull();
    expect(server.requests).toContain('GET api/v1/experiments');
    await model.restore('a');
    expect(namesOf(model.project.list)).toEqual(['a']);
  });
});

describe('the filter', () => {
  it('keeps the list before it when the server refuses a filter', async () => {
    server.put(makeRun('a', { name: 'alpha' }));
    server.put(makeRun('b', { name: 'beta' }));
    await model.refresh();
    await model.setScope({ text: 'alpha' });
    expect(namesOf(model.project.list)).toEqual(['a']);
    await model.setScope({ text: 'broken >' });
    expect(model.project.refusal).toEqual({
      message: 'Expected a number.',
      hint: 'Try 0.9',
      position: 9
    });
    expect(namesOf(model.project.list)).toEqual(['a']);
    await model.setScope({ text: '' });
    expect(namesOf(model.project.list)).toHaveLength(2);
    expect(model.project.refusal).toBeNull();
  });

  it('shows the answer to the last text, not to the slowest', async () => {
    server.put(makeRun('a', { name: 'alpha' }));
    server.put(makeRun('b', { name: 'beta' }));
    await model.refresh();
    await Promise.all([
      model.setScope({ text: 'alpha' }),
      model.setScope({ text: 'beta' })
    ]);
    expect(namesOf(model.project.list)).toEqual(['b']);
  });

  it('asks again when runs change, since only the server can tell', async () => {
    await model.refresh();
    await model.setScope({ text: 'alpha' });
    server.put(makeRun('a', { name: 'alpha 2', revision: 3 }));
    await model.pull();
    expect(namesOf(model.project.list)).toEqual(['a']);
  });
});

describe('a server that fails', () => {
  it('is told apart from one without our extension', async () => {
    server.failure = new ApiError('404 Not Found', 404, 'NOT_OUR_SERVER');
    await model.refresh();
    expect(model.isServerMissing).toBe(true);
    server.failure = new ApiError('disk full', 500, 'INTERNAL_ERROR');
    await model.refresh();
    expect(model.isServerMissing).toBe(false);
    expect(model.error).toBe('disk full');
  });

  it('leaves what is shown in place and recovers by the next pull', async () => {
    server.put(makeRun('a', { status: 'RUNNING' }));
    await model.refresh();
    server.failure = new ApiError('gone', 0);
    await model.pull();
    expect(model.phase).toBe('error');
    expect(namesOf(model.running)).toEqual(['a']);
    server.failure = null;
    await model.pull();
    expect(model.phase).toBe('ready');
  });
});

describe('a list', () => {
  it('reads further pages and never shows a run twice', async () => {
    server.pageSize = 2;
    for (let i = 0; i < 5; i++) {
      server.put(makeRun(`r${i}`, { start_time: i }));
    }
    await model.refresh();
    const { list } = model.project;
    expect(namesOf(list)).toEqual(['r4', 'r3']);
    server.put(makeRun('r5', { start_time: 5, revision: 2 }));
    await model.pull();
    await model.loadMore(list);
    await model.loadMore(list);
    expect(namesOf(list)).toEqual(['r5', 'r4', 'r3', 'r2', 'r1', 'r0']);
    expect(list.hasMore).toBe(false);
  });
});

describe('a list that reaches far', () => {
  it('keeps what was read behind its first page when that is read again', async () => {
    server.pageSize = 2;
    for (let i = 0; i < 6; i++) {
      server.put(makeRun(`r${i}`, { start_time: i }));
    }
    await model.refresh();
    const { list } = model.project;
    await model.loadMore(list);
    server.put(makeRun('r9', { start_time: 9, revision: 2 }));
    await model.refresh();
    expect(namesOf(list)).toEqual(['r9', 'r5', 'r4', 'r3', 'r2']);
    await model.loadMore(list);
    expect(new Set(namesOf(list)).size).toBe(namesOf(list).length);
    expect(namesOf(list).slice(-2)).toEqual(['r2', 'r1']);
  });

  it('leaves a run out that is older than what was read', async () => {
    server.pageSize = 2;
    for (let i = 1; i <= 4; i++) {
      server.put(makeRun(`r${i}`, { start_time: i }));
    }
    await model.refresh();
    model.records.merge([makeRun('old', { start_time: 0, revision: 3 })]);
    expect(namesOf(model.project.list)).toEqual(['r4', 'r3']);
  });
});

describe('while nobody looks', () => {
  it('asks once for many changes, and again at once when somebody comes', async () => {
    const unseen = new StoreModel(new Api(server));
    await unseen.refresh();
    await unseen.pull();
    server.requests = [];
    for (let i = 0; i < 20; i++) {
      await unseen.pull();
    }
    expect(server.requests).toEqual([]);
    server.put(makeRun('a', { revision: 2 }));
    const viewer = { isDisposed: false, dispose: () => undefined };
    unseen.viewers.add(viewer);
    await settled();
    expect(unseen.records.get('a')).not.toBeNull();
    viewer.isDisposed = true;
    expect(unseen.viewers.isSeen).toBe(false);
    unseen.dispose();
  });
});

describe('the course of a running run', () => {
  it('is asked for once, and goes on with the changes', async () => {
    const metric = (value: number, cell = 0) => [
      { key: 'acc', value, step: 0, timestamp: 0, cell }
    ];
    const started = makeRun('a', { status: 'RUNNING', metrics: metric(0.1) });
    server.put(started);
    await model.refresh();
    model.trails.of(started, 'acc');
    await settled();
    server.requests = [];
    for (let i = 2; i < 6; i++) {
      const now = makeRun('a', { revision: i, metrics: metric(i / 10) });
      model.trails.of(now, 'acc');
    }
    const last = makeRun('a', { revision: 6, metrics: metric(0.6, 4) });
    const trail = model.trails.of(last, 'acc');
    await settled();
    expect(trail.values).toEqual([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
    // Another cell logs now: only that is asked for.
    expect(server.requests).toEqual(['GET api/v1/runs/a/cells']);
  });
});
