import type { IRequester } from './request';

export type EndpointState =
  'starting' | 'ready' | 'restarting' | 'parked' | 'failed' | 'stopped';

/** A version of an endpoint. */
export interface IEndpointVersion {
  label: string;
  registered: string;
  state: EndpointState;
  problem: string;
  /** Of the requests, 0 to 1. */
  share: number;
}

/** A model that is served; times are Unix seconds. */
export interface IEndpoint {
  name: string;
  state: EndpointState;
  /** Its address below the server's mount. */
  path: string;
  expires: number;
  problem: string;
  live: IEndpointVersion | null;
  canary: IEndpointVersion | null;
  shadow: IEndpointVersion | null;
  /** The last minute; times in milliseconds. */
  traffic: { requests: number; errors: number; p95: number | null };
  /** The verdict on its requests in a word; empty where nobody asked. */
  drift: string;
  /** A request that the model answers. */
  example?: unknown;
}

/** The event that the server emits when endpoints or their states have changed. */
export const ENDPOINTS_CHANGED =
  'https://mlops-nb.readthedocs.io/events/endpoints_changed/v1';

const ROOT = 'api/v1/endpoints';

/** The routes of endpoints, and the way to the models themselves. */
export class EndpointApi {
  constructor(private readonly _http: IRequester) {}

  async all(): Promise<IEndpoint[]> {
    const answer = await this._http.json<{ endpoints: IEndpoint[] }>(ROOT);
    return answer.endpoints;
  }

  async stop(name: string): Promise<void> {
    await this._http.json(`${ROOT}/${encodeURIComponent(name)}`, 'DELETE');
  }

  /** The last lines that its processes printed. */
  async logs(name: string, lines: number): Promise<string[]> {
    const answer = await this._http.json<{ lines: string[] }>(
      `${ROOT}/${encodeURIComponent(name)}/logs?lines=${lines}`
    );
    return answer.lines;
  }

  /** Send a request to the model and return the answer. */
  ask(name: string, body: unknown): Promise<unknown> {
    const path = `serve/${encodeURIComponent(name)}/invocations`;
    return this._http.json(path, 'POST', body);
  }

  /** Where a program asks the model. */
  url(name: string): string {
    const path = `serve/${encodeURIComponent(name)}/invocations`;
    return new URL(this._http.url(path), window.location.href).href;
  }

  /** The page that says what the model takes. */
  pageUrl(name: string): string {
    return this._http.url(`serve/${encodeURIComponent(name)}/`);
  }
}
