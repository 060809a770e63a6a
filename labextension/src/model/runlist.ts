import type { Api, IRun, IRunPage, IRunSearch } from '../api';
import { messageOf } from '../request';

/** The state of anything that is fetched. */
export type Phase = 'loading' | 'ready' | 'error';

export const NEWEST_FIRST = 'attributes.start_time DESC';
const PAGE = 200;

/**
 * A server-side search that is read page by page and kept current by changes.
 *
 * It holds run ids only, in order; the records live once, in the store model.
 */
export class RunList {
  /**
   * @param search what to ask the server
   * @param accepts whether a run that just changed belongs here, or `null` where
   * only the server can tell, as with a filter or another order than the newest
   * first
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

  /** The runs that are known, in the order of the list. */
  get ids(): readonly string[] {
    return this._ids;
  }

  get hasMore(): boolean {
    return this._token !== null;
  }

  get isLoadingMore(): boolean {
    return this._loadingMore;
  }

  /** Whether only the server can tell what belongs here, and where. */
  get isServerOrdered(): boolean {
    return this._accepts === null;
  }

  has(runId: string): boolean {
    return this._starts.has(runId);
  }

  /**
   * Read the first page, or read it again; what was read behind it stays.
   *
   * @returns the runs of the page; none after a failure, which `error` tells
   */
  async load(): Promise<IRun[]> {
    this._phase = this._ids.length > 0 ? 'ready' : 'loading';
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
    return this._api.searchRuns(this._request());
  }

  /** Show `page` as the beginning of the list, and as all of it where it is. */
  show(page: IRunPage): void {
    const head = new Set(page.runs.map(run => run.run_id));
    const isAll = !page.next_page_token;
    const tail = isAll ? [] : this._ids.filter(id => !head.has(id));
    const reachesFarther = this._ids.length > page.runs.length;
    const starts = this._starts;
    this._ids = [...head, ...tail];
    this._starts = new Map(tail.map(id => [id, starts.get(id) ?? 0]));
    for (const run of page.runs) {
      this._starts.set(run.run_id, run.start_time);
    }
    if (isAll || !reachesFarther) {
      this._token = page.next_page_token ?? null;
    }
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
        ...this._request(),
        page_token: this._token
      });
      const fresh = page.runs.filter(run => !this.has(run.run_id));
      this._ids = [...this._ids, ...fresh.map(run => run.run_id)];
      for (const run of fresh) {
        this._starts.set(run.run_id, run.start_time);
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
    const isGone =
      run.lifecycle_stage === 'deleted' ||
      (this._accepts !== null && !this._accepts(run));
    if (isGone) {
      this._remove(run.run_id);
    } else if (this._accepts && !this.has(run.run_id)) {
      this._insert(run);
    }
  }

  /** Forget everything, as when the store was replaced by another one. */
  clear(): void {
    this._ids = [];
    this._starts.clear();
    this._token = null;
    this._phase = 'loading';
  }

  private _request(): IRunSearch {
    return { order_by: [NEWEST_FIRST], max_results: PAGE, ...this._search };
  }

  private _remove(runId: string): void {
    if (this._starts.delete(runId)) {
      this._ids = this._ids.filter(id => id !== runId);
    }
  }

  private _insert(run: IRun): void {
    const at = this._ids.findIndex(
      id => (this._starts.get(id) ?? 0) <= run.start_time
    );
    if (at >= 0) {
      this._ids = this._ids.toSpliced(at, 0, run.run_id);
    } else if (!this.hasMore) {
      this._ids = [...this._ids, run.run_id];
    } else {
      return; // Older than what was read: its page will bring it.
    }
    this._starts.set(run.run_id, run.start_time);
  }

  private _phase: Phase = 'loading';
  private _error: string | null = null;
  private _ids: string[] = [];
  /** When each run of the list started. */
  private _starts = new Map<string, number>();
  private _token: string | null = null;
  private _loadingMore = false;
  /** What changed while pages were read that cannot know of it. */
  private readonly _meanwhile = new Set<IRun[]>();
}
