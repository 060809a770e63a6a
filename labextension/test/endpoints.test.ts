import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EndpointApi, type IEndpoint } from '../src/endpointapi';
import { Endpoints } from '../src/model/endpoints';
import type { IRequester } from '../src/request';

class Server implements IRequester {
  endpoints: Partial<IEndpoint>[] = [];
  reads = 0;
  isDown = false;

  url(path: string): string {
    return `/user/me/mlops/${path}`;
  }

  json<T>(path: string): Promise<T> {
    expect(path).toBe('api/v1/endpoints');
    this.reads += 1;
    return this.isDown
      ? Promise.reject(new Error('away'))
      : Promise.resolve({ endpoints: this.endpoints } as T);
  }

  bytes(): Promise<ArrayBuffer> {
    return Promise.reject(new Error('not asked'));
  }

  canSubscribe(): Promise<boolean> {
    return Promise.resolve(true);
  }
}

const flush = () => vi.advanceTimersByTimeAsync(0);

describe('the endpoints of the sidebar', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('are not read while nobody looks, whatever the server says', async () => {
    const server = new Server();
    const endpoints = new Endpoints(new EndpointApi(server));
    endpoints.hint();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.reads).toBe(0);
    endpoints.isSeen = true;
    await flush();
    expect(server.reads).toBe(1);
    // There are none: nothing has traffic that could be read again.
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.reads).toBe(1);
    server.endpoints = [{ name: 'churn' }];
    endpoints.hint();
    await vi.advanceTimersByTimeAsync(12_000);
    expect(server.reads).toBe(4);
    endpoints.isSeen = false;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.reads).toBe(4);
  });

  it('stay as they were seen last while the server is away', async () => {
    const server = new Server();
    server.endpoints = [{ name: 'churn' }];
    const endpoints = new Endpoints(new EndpointApi(server));
    let draws = 0;
    endpoints.changed.connect(() => (draws += 1));
    endpoints.isSeen = true;
    await flush();
    server.isDown = true;
    await vi.advanceTimersByTimeAsync(11_000);
    expect(endpoints.list.map(one => one.name)).toEqual(['churn']);
    expect(endpoints.error).toBe('away');
    server.isDown = false;
    await vi.advanceTimersByTimeAsync(6_000);
    expect(endpoints.error).toBeNull();
    // Read, gone, back: what is the same is not drawn again.
    expect(draws).toBe(3);
    endpoints.isSeen = false;
  });

  it('have addresses below the base of the server', () => {
    const api = new EndpointApi(new Server());
    expect(api.pageUrl('churn')).toBe('/user/me/mlops/serve/churn/');
  });
});
