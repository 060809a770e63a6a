import { describe, expect, it } from 'vitest';
import { Api } from '../src/api';
import { StoreModel } from '../src/model/store';
import { buildItems } from '../src/sidebar/items';
import { FakeServer, makeRun } from './fakes';

const allOpen = () => true;

async function modelOf(server: FakeServer): Promise<StoreModel> {
  const model = new StoreModel(new Api(server));
  await model.refresh();
  model.openExperiment('1');
  for (let i = 0; i < 20; i++) {
    await Promise.resolve();
  }
  return model;
}

describe('the rows of the sidebar', () => {
  it('list what runs first, then the experiments', async () => {
    const server = new FakeServer();
    server.put(makeRun('a', { status: 'RUNNING' }));
    const items = buildItems(await modelOf(server), allOpen);
    expect(items.map(item => item.key)).toEqual([
      'now',
      'now/a',
      'project',
      'experiment:1',
      'experiment:1/a'
    ]);
  });

  it('hide the runs of a folded group', async () => {
    const server = new FakeServer();
    server.put(makeRun('a'));
    const items = buildItems(await modelOf(server), () => false);
    expect(items.map(item => item.key)).toEqual(['project', 'experiment:1']);
  });

  it('offer more where there is more', async () => {
    const server = new FakeServer();
    server.pageSize = 1;
    server.put(makeRun('a'));
    server.put(makeRun('b'));
    const items = buildItems(await modelOf(server), allOpen);
    expect(items[items.length - 1]?.kind).toBe('more');
  });

  it('show only matches while a filter is set, and say when none is', async () => {
    const server = new FakeServer();
    server.put(makeRun('a', { status: 'RUNNING' }));
    const model = await modelOf(server);
    await model.setFilter('nothing like it');
    expect(buildItems(model, allOpen)).toMatchObject([
      { kind: 'group', section: 'found', count: 0 },
      { kind: 'note', note: 'no-match' }
    ]);
  });
});
