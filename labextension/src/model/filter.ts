import type { Api, IRun } from '../api';
import { ApiError, messageOf } from '../request';
import { RunList } from './runlist';

/**
 * The filter box: what was asked for, what it found, why it was refused.
 */
export class RunFilter {
  constructor(private readonly _api: Api) {}

  /** The text as last asked for, without blanks around it. */
  get text(): string {
    return this._text;
  }

  /** Why the text was refused; `found` still holds the answer before it. */
  get error(): { message: string; hint: string | null } | null {
    return this._error;
  }

  /** What the last accepted text found, or `null` without one. */
  get found(): RunList | null {
    return this._found;
  }

  /**
   * Ask for the runs that match `text`; an empty text ends filtering.
   *
   * @returns the runs found; none if another text overtook this one
   */
  async apply(text: string): Promise<IRun[]> {
    const query = text.trim();
    this._text = query;
    if (query === '') {
      this._found = null;
      this._error = null;
      return [];
    }
    const list = new RunList(this._api, { query }, null);
    try {
      const page = await list.firstPage();
      if (this._text !== query) {
        return [];
      }
      list.show(page);
      this._found = list;
      this._error = null;
      return page.runs;
    } catch (error) {
      if (this._text === query) {
        const hint = error instanceof ApiError ? error.hint : null;
        this._error = { message: messageOf(error), hint };
      }
      return [];
    }
  }

  private _text = '';
  private _error: { message: string; hint: string | null } | null = null;
  private _found: RunList | null = null;
}
