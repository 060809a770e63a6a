import type { Api, IRun, IRunSearch } from '../api';
import { ApiError, messageOf } from '../request';
import { NEWEST_FIRST, RunList } from './runlist';

/** Which runs of the project are listed, and in which order. */
export interface IScope {
  /** A filter or free text, without blanks around it; empty for all. */
  text: string;
  /** One experiment, or `null` for all. */
  experimentId: string | null;
  /** A clause of the search language, such as `metrics.auc DESC`. */
  order: string;
}

/** Why a filter was refused. */
export interface IRefusal {
  message: string;
  hint: string | null;
  /** The offset of the first wrong character, where there is one. */
  position: number | null;
}

/**
 * The runs of the project: what was asked for, what it found, why it was refused.
 */
export class ProjectRuns {
  constructor(private readonly _api: Api) {
    this._list = this._listOf(this._scope);
  }

  /** What was asked for last. */
  get scope(): Readonly<IScope> {
    return this._scope;
  }

  /** What the last accepted scope found. */
  get list(): RunList {
    return this._list;
  }

  /** Why the scope was refused; `list` still holds the answer before it. */
  get refusal(): IRefusal | null {
    return this._refusal;
  }

  get isFiltered(): boolean {
    return this._scope.text !== '';
  }

  /**
   * Ask for other runs, or for the same in another order.
   *
   * @returns the runs found; none if another call overtook this one
   */
  async apply(scope: Partial<IScope>): Promise<IRun[]> {
    const wanted = { ...this._scope, ...scope };
    wanted.text = wanted.text.trim();
    this._scope = wanted;
    const list = this._listOf(wanted);
    try {
      const page = await list.firstPage();
      if (this._scope !== wanted) {
        return [];
      }
      list.show(page);
      this._list = list;
      this._refusal = null;
      return page.runs;
    } catch (error) {
      if (this._scope === wanted) {
        this._refusal = {
          message: messageOf(error),
          hint: error instanceof ApiError ? error.hint : null,
          position: error instanceof ApiError ? error.position : null
        };
      }
      return [];
    }
  }

  private _listOf({ text, experimentId, order }: IScope): RunList {
    const search: IRunSearch = { order_by: [order] };
    if (experimentId !== null) {
      search.experiment_ids = [experimentId];
    }
    if (text !== '') {
      search.query = text;
    }
    const isPlain = text === '' && order === NEWEST_FIRST;
    return new RunList(
      this._api,
      search,
      isPlain
        ? run => experimentId === null || run.experiment_id === experimentId
        : null
    );
  }

  private _scope: IScope = {
    text: '',
    experimentId: null,
    order: NEWEST_FIRST
  };
  private _list: RunList;
  private _refusal: IRefusal | null = null;
}
