import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/**
 * A request that the server refused or never answered.
 */
export class ApiError extends Error {
  constructor(
    message: string,
    /** The HTTP status, or 0 when no answer came. */
    readonly status: number,
    readonly code: string | null = null,
    /** What the user may do about it, when the server says so. */
    readonly hint: string | null = null,
    /** In a filter: the offset of the first wrong character. */
    readonly position: number | null = null
  ) {
    super(message);
    this.name = 'ApiError';
  }

  /** True when the address answered, but not as our server extension does. */
  get isForeign(): boolean {
    return this.code === FOREIGN;
  }
}

/** What the API layer needs from the network. */
export interface IRequester {
  /** The address of `path`, for links. */
  url(path: string): string;
  json<T>(path: string, method?: string, body?: unknown): Promise<T>;
  bytes(path: string): Promise<ArrayBuffer>;
  /** Whether a socket to the event stream of the server can be opened now. */
  canSubscribe(): Promise<boolean>;
}

/**
 * Requests to the Jupyter server, below `mlops/`, with its authentication.
 */
export class Requester implements IRequester {
  constructor(private readonly _settings: ServerConnection.ISettings) {}

  url(path: string): string {
    return URLExt.join(this._settings.baseUrl, 'mlops', path);
  }

  async json<T>(path: string, method = 'GET', body?: unknown): Promise<T> {
    const response = await this._send(path, method, body);
    const data = await readJson(response);
    if (response.ok && data !== undefined) {
      return data as T;
    }
    throw toError(response, data);
  }

  async bytes(path: string): Promise<ArrayBuffer> {
    const response = await this._send(path, 'GET');
    if (!response.ok) {
      throw toError(response, await readJson(response));
    }
    return response.arrayBuffer();
  }

  canSubscribe(): Promise<boolean> {
    const { appendToken, token, WebSocket, wsUrl } = this._settings;
    const query = appendToken && token ? { token } : {};
    const url =
      URLExt.join(wsUrl, 'api/events/subscribe') +
      URLExt.objectToQueryString(query);
    return new Promise(resolve => {
      const socket = new WebSocket(url);
      const finish = (open: boolean) => {
        socket.onopen = null;
        socket.onerror = null;
        socket.onclose = null;
        socket.close();
        resolve(open);
      };
      socket.onopen = () => {
        finish(true);
      };
      socket.onerror = () => {
        finish(false);
      };
      socket.onclose = () => {
        finish(false);
      };
    });
  }

  private async _send(
    path: string,
    method: string,
    body?: unknown
  ): Promise<Response> {
    const init: RequestInit = { method };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers = { 'Content-Type': 'application/json' };
    }
    try {
      return await ServerConnection.makeRequest(
        this.url(path),
        init,
        this._settings
      );
    } catch (error) {
      throw new ApiError(messageOf(error), 0);
    }
  }
}

/**
 * The message of anything that was thrown.
 */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const FOREIGN = 'NOT_OUR_SERVER';

async function readJson(response: Response): Promise<unknown> {
  try {
    return (await response.json()) as unknown;
  } catch {
    // Not JSON: a proxy or another handler answered. `toError` reports it.
    return undefined;
  }
}

function toError(response: Response, data: unknown): ApiError {
  const text = `${response.status} ${response.statusText}`.trim();
  if (typeof data !== 'object' || data === null) {
    return new ApiError(text, response.status, FOREIGN);
  }
  const fields = data as Record<string, unknown>;
  const read = (key: string) =>
    typeof fields[key] === 'string' ? fields[key] : null;
  return new ApiError(
    read('message') ?? text,
    response.status,
    read('error_code'),
    read('hint'),
    typeof fields.position === 'number' ? fields.position : null
  );
}
