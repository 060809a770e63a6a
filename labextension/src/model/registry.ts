import type { Api, IRegisteredModel } from '../api';
import { messageOf } from '../request';
import type { Phase } from './runlist';

const MOST = 200;

/**
 * The registered models, last changed first.
 */
export class Registry {
  constructor(private readonly _api: Api) {}

  get phase(): Phase {
    return this._phase;
  }

  get error(): string | null {
    return this._error;
  }

  get models(): readonly IRegisteredModel[] {
    return this._models;
  }

  /** Read the models, or read them again; a failure is left in `error`. */
  async load(): Promise<void> {
    try {
      this._models = await this._api.models(MOST);
      this._phase = 'ready';
      this._error = null;
    } catch (error) {
      this._phase = 'error';
      this._error = messageOf(error);
    }
  }

  private _phase: Phase = 'loading';
  private _error: string | null = null;
  private _models: IRegisteredModel[] = [];
}
