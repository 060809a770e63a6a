import { describe, expect, it } from 'vitest';
import {
  costOf,
  costOfAll,
  dollars,
  Runners,
  stopsAt
} from '../src/model/runners';
import { type IRunner, RunnerApi } from '../src/runnerapi';
import type { IRequester } from '../src/request';

const HOUR = 3600;

function makeRunner(fields: Partial<IRunner> = {}): IRunner {
  return {
    id: '1f'.repeat(16),
    name: 'gpu-1',
    state: 'busy',
    reason: '',
    request: {
      cloud: 'aws',
      guards: { idle: 300, max_hours: 4, max_cost: null }
    },
    offer: {
      type: 'g4dn.xlarge',
      region: 'us-west-2',
      zone: '',
      spot: false,
      hourly: 0.5,
      gpu: 't4',
      gpus: 1
    },
    created: 1000,
    hard_stop: 1000 + 4 * HOUR,
    idle_since: null,
    interrupted: null,
    ended: null,
    job: 'train.ipynb',
    jobs: 1,
    ...fields
  };
}

describe('a runner of the sidebar', () => {
  it('costs by the hour since it was asked for, until it is gone', () => {
    const now = (1000 + 2 * HOUR) * 1000;
    expect(costOf(makeRunner(), now)).toBeCloseTo(1);
    expect(costOf(makeRunner({ ended: 1000 + HOUR }), now)).toBeCloseTo(0.5);
  });

  it('costs nothing before a machine is chosen, and is not added up blindly', () => {
    const now = 2_000_000;
    expect(costOf(makeRunner({ offer: null }), now)).toBe(0);
    const unpriced = makeRunner();
    if (unpriced.offer) {
      unpriced.offer.hourly = null;
    }
    expect(costOf(unpriced, now)).toBeNull();
    expect(costOfAll([makeRunner(), unpriced], now)).toBeNull();
    expect(costOfAll([], now)).toBe(0);
  });

  it('ends by its idle limit or its hard stop, whichever comes first', () => {
    expect(stopsAt(makeRunner())).toBe(1000 + 4 * HOUR);
    expect(stopsAt(makeRunner({ idle_since: 2000 }))).toBe(2300);
    const late = 1000 + 4 * HOUR - 10;
    expect(stopsAt(makeRunner({ idle_since: late }))).toBe(1000 + 4 * HOUR);
  });
});

describe('the runners of the sidebar', () => {
  it('are those that are not gone, by the name that they were asked for with', async () => {
    const kept = (name: string, state: string) => ({
      ...makeRunner(),
      state,
      request: { ...makeRunner().request, name }
    });
    const http = {
      json: () =>
        Promise.resolve({
          runners: [kept('gpu-1', 'busy'), kept('old', 'gone')]
        })
    } as unknown as IRequester;
    const runners = new Runners(new RunnerApi(http));
    await runners.load();
    expect(runners.list.map(one => one.name)).toEqual(['gpu-1']);
  });

  it('are counted by the clock of the server, where that of the browser is off', async () => {
    const answer = { runners: [], now: Date.now() / 1000 + 7200 };
    const http = {
      json: () => Promise.resolve(answer)
    } as unknown as IRequester;
    const api = new RunnerApi(http);
    expect(api.ahead).toBe(0);
    await api.alive();
    expect(Math.round(api.ahead / 1000)).toBe(7200);
    answer.now = Date.now() / 1000;
    await api.alive();
    expect(api.ahead).toBe(0);
  });

  it('show the end of their logs', async () => {
    const asked: string[] = [];
    const http = {
      json: (path: string) => {
        asked.push(path);
        return Promise.resolve({ text: 'the end' });
      }
    } as unknown as IRequester;
    expect(await new RunnerApi(http).log('1f')).toBe('the end');
    expect(asked).toEqual([
      'api/v1/runners/1f/log?after=-65536&max_bytes=65536'
    ]);
  });
});

describe('a price in a row', () => {
  it('has cents, tenths of them below a dollar, and says where none is known', () => {
    expect([0, 0.1234, 12.345, null].map(dollars)).toEqual([
      '$0.00',
      '$0.123',
      '$12.35',
      '$?'
    ]);
  });
});
