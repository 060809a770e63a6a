import type { IRequester } from './request';

export type RunnerState =
  | 'requested'
  | 'creating'
  | 'booting'
  | 'idle'
  | 'busy'
  | 'lost'
  | 'draining'
  | 'destroying'
  | 'gone';

/** A runner: what was asked for and what became of it; times are Unix seconds. */
export interface IRunner {
  id: string;
  name: string;
  state: RunnerState;
  reason: string;
  request: {
    cloud: string;
    guards: { idle: number; max_hours: number; max_cost: number | null };
  };
  offer: {
    type: string;
    region: string;
    zone: string;
    spot: boolean;
    /** List price in US dollars; `null`: not known. */
    hourly: number | null;
    gpu: string;
    gpus: number;
  } | null;
  created: number;
  hard_stop: number;
  idle_since: number | null;
  interrupted: number | null;
  ended: number | null;
  job: string;
  jobs: number;
}

/** The event that the server emits when runners or their states have changed. */
export const RUNNERS_CHANGED =
  'https://mlops-nb.readthedocs.io/events/runners_changed/v1';

const ROOT = 'api/v1/runners';
/** Bytes of a log that are read, from its end. */
const LOG_BYTES = 65_536;
/** Clocks that differ less are taken for the same; ms. */
const SAME_MS = 1000;

/** The routes of runners. */
export class RunnerApi {
  constructor(private readonly _http: IRequester) {}

  /** What the server's clock, by which runners end and cost, is ahead of this one; ms. */
  get ahead(): number {
    return this._ahead;
  }

  /** Those that are not gone. */
  async alive(): Promise<IRunner[]> {
    type Kept = Omit<IRunner, 'name'> & { request: { name: string } };
    const asked = Date.now();
    const answer = await this._http.json<{ runners: Kept[]; now: number }>(
      ROOT
    );
    const ahead = answer.now * 1000 - (asked + Date.now()) / 2;
    this._ahead = Math.abs(ahead) < SAME_MS ? 0 : ahead;
    return answer.runners
      .filter(one => one.state !== 'gone')
      .map(one => ({ ...one, name: one.request.name }));
  }

  /** Let it finish its job, and end. */
  async stop(id: string): Promise<void> {
    await this._http.json(`${ROOT}/${encodeURIComponent(id)}/stop`, 'POST', {});
  }

  /** End it at once. */
  async down(id: string): Promise<void> {
    await this._http.json(`${ROOT}/${encodeURIComponent(id)}/down`, 'POST', {});
  }

  /** Let it live so many seconds longer. */
  async extend(id: string, seconds: number): Promise<void> {
    const path = `${ROOT}/${encodeURIComponent(id)}/extend`;
    await this._http.json(path, 'POST', { seconds });
  }

  /** The end of what its machine has said. */
  async log(id: string): Promise<string> {
    const path = `${ROOT}/${encodeURIComponent(id)}/log?after=-${LOG_BYTES}&max_bytes=${LOG_BYTES}`;
    const answer = await this._http.json<{ text: string }>(path);
    return answer.text;
  }

  private _ahead = 0;
}
