import type { IRun } from '../src/api';
import { ApiError, type IRequester } from '../src/request';

/** A run of which a test names only what matters to it. */
export function makeRun(id: string, fields: Partial<IRun> = {}): IRun {
  return {
    run_id: id,
    experiment_id: '1',
    name: `run ${id}`,
    status: 'FINISHED',
    reason: null,
    start_time: 1000,
    end_time: 2000,
    lifecycle_stage: 'active',
    user: 'ada',
    revision: 1,
    params: {},
    metrics: [],
    tags: {},
    ...fields
  };
}

/** A small server: holds runs, counts requests, can be told to fail. */
export class FakeServer implements IRequester {
  runs: IRun[] = [];
  pageSize = 50;
  requests: string[] = [];
  failure: ApiError | null = null;
  /** While set, answers to `changes` wait for it. */
  gate: Promise<void> | null = null;

  get revision(): number {
    return Math.max(0, ...this.runs.map(run => run.revision));
  }

  put(run: IRun): void {
    this.runs = [...this.runs.filter(r => r.run_id !== run.run_id), run];
  }

  url(path: string): string {
    return `/mlops/${path}`;
  }

  async json<T>(path: string, method = 'GET', body?: unknown): Promise<T> {
    this.requests.push(`${method} ${path}`);
    if (this.failure) {
      throw this.failure;
    }
    if (path.includes('/changes') && this.gate) {
      await this.gate;
    }
    return this._answer(path, body as Record<string, unknown>) as T;
  }

  bytes(): Promise<ArrayBuffer> {
    return Promise.resolve(new ArrayBuffer(0));
  }

  canSubscribe(): Promise<boolean> {
    return Promise.resolve(true);
  }

  private _answer(path: string, body: Record<string, unknown>): unknown {
    const { revision } = this;
    const route = path.replace('api/v1/', '');
    if (route === 'status') {
      const project = { name: 'churn', root: '/p' };
      return { version: '0', project, store: 's', revision, problem: null };
    }
    if (route === 'experiments') {
      const experiment = {
        experiment_id: '1',
        name: 'Default',
        lifecycle_stage: 'active',
        creation_time: 0,
        last_update_time: 0,
        tags: {},
        run_count: this.runs.length
      };
      return { experiments: [experiment] };
    }
    if (route === 'runs/search') {
      return this._search(body);
    }
    if (route.startsWith('changes')) {
      const since = Number(route.split('=')[1]);
      const runs = this.runs
        .filter(run => run.revision > since)
        .sort((a, b) => a.revision - b.revision);
      const page = runs.slice(0, this.pageSize);
      const last = page[page.length - 1];
      return {
        runs: page,
        revision: last?.revision ?? Math.min(since, revision),
        more: page.length === this.pageSize
      };
    }
    if (route.includes('/series')) {
      const points = [
        [0, 0, 0.05],
        [1, 0, 0.1]
      ];
      return { series: [{ key: 'acc', total: 2, points }] };
    }
    if (route.endsWith('/cells')) {
      return { cells: [] };
    }
    const run = this.runs.find(r => route === `runs/${r.run_id}`);
    if (run) {
      const changed = { ...run, ...body, revision: revision + 1 };
      this.put(changed);
      return { run: changed };
    }
    throw new ApiError('no such route', 404, 'NOT_FOUND');
  }

  private _search(body: Record<string, unknown>): unknown {
    const query = typeof body.query === 'string' ? body.query : '';
    if (query === 'broken >') {
      throw new ApiError('Expected a number.', 400, 'INVALID', 'Try 0.9', 9);
    }
    const runs = this.runs
      .filter(run => run.lifecycle_stage === 'active')
      .filter(run =>
        query.includes('RUNNING')
          ? run.status === 'RUNNING'
          : run.name.includes(query)
      )
      .sort((a, b) => b.start_time - a.start_time);
    const from = Number(body.page_token ?? 0);
    const to = from + this.pageSize;
    return {
      runs: runs.slice(from, to),
      next_page_token: to < runs.length ? String(to) : null,
      revision: this.revision
    };
  }
}
