import type { Api, IRun, IRunPage, IRunSearch } from '../api';
import { messageOf } from '../request';

/** The state of anything that is fetched. */
export type Phase = 'loading' | 'ready' | 'error';

const PAGE = 50;
const NEWEST_FIRST = ['attributes.start_time DESC'];

/**
 * A server-side search that is read page by page and kept current by changes.
 *
 * It holds run ids only; the records live once, in the store model.
 */
export class RunList {
  /**
   * @param search what to ask the server
   * @param accepts whether a run that just changed belongs here, or `null` where
   * only the server can tell
   */
  constructor(
    private readonly _api: Api,
    private readonly _search: IRunSearch,
    private readonly _accepts: ((run: IRun) => boolean) | null
  ) {}

  get phase(): Phase {
    return this._phase;
  }

  get error(): string | null {
    return this._error;
  }

  get ids(): ReadonlySet<string> {
    return this._ids;
  }

  get hasMore(): boolean {
    return this._token !== null;
  }

  get isLoadingMore(): boolean {
    return this._loadingMore;
  }

  /**
   * Read the first page, or read it again.
   *
   * @returns the runs of the page; none after a failure, which `error` tells
   */
  async load(): Promise<IRun[]> {
    this._phase = this._ids.size > 0 ? 'ready' : 'loading';
    const meanwhile: IRun[] = [];
    this._meanwhile.add(meanwhile);
    try {
      const page = await this.firstPage();
      this._meanwhile.delete(meanwhile);
      this.show(page);
      for (const run of meanwhile) {
        this.merge(run);
      }
      return page.runs;
    } catch (error) {
      this._phase = 'error';
      this._error = messageOf(error);
      return [];
    } finally {
      this._meanwhile.delete(meanwhile);
    }
  }

  /** Ask for the first page without showing it. */
  firstPage(): Promise<IRunPage> {
    return this._api.searchRuns({
      order_by: NEWEST_FIRST,
      max_results: PAGE,
      ...this._search
    });
  }

  /** Show `page` as the whole list. */
  show(page: IRunPage): void {
    this._ids = new Set(page.runs.map(run => run.run_id));
    this._token = page.next_page_token ?? null;
    this._phase = 'ready';
    this._error = null;
  }

  /** Read the next page behind the ones shown. */
  async loadMore(): Promise<IRun[]> {
    if (this._token === null || this._loadingMore) {
      return [];
    }
    this._loadingMore = true;
    try {
      const page = await this._api.searchRuns({
        order_by: NEWEST_FIRST,
        max_results: PAGE,
        ...this._search,
        page_token: this._token
      });
      for (const run of page.runs) {
        this._ids.add(run.run_id);
      }
      this._token = page.next_page_token ?? null;
      this._error = null;
      return page.runs;
    } catch (error) {
      this._error = messageOf(error);
      return [];
    } finally {
      this._loadingMore = false;
    }
  }

  /** Take a changed run in, or drop it where it no longer belongs. */
  merge(run: IRun): void {
    for (const runs of this._meanwhile) {
      runs.push(run);
    }
    if (run.lifecycle_stage === 'deleted') {
      this._ids.delete(run.run_id);
    } else if (this._accepts) {
      if (this._accepts(run)) {
        this._ids.add(run.run_id);
      } else {
        this._ids.delete(run.run_id);
      }
    }
  }

  private _phase: Phase = 'loading';
  private _error: string | null = null;
  private _ids = new Set<string>();
  private _token: string | null = null;
  private _loadingMore = false;
  /** What changed while pages were read that cannot know of it. */
  private readonly _meanwhile = new Set<IRun[]>();
}
