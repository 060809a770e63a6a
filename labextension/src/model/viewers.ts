import type { IDisposable } from '@lumino/disposable';

/** How often what nobody looks at is kept current, for the status bar. */
export const UNSEEN_MS = 5000;

/**
 * Who looks: while nobody does, the model asks the server less often.
 */
export class Viewers {
  /**
   * @param onFirst called when somebody looks after nobody did
   */
  constructor(private readonly _onFirst: () => void) {}

  get isSeen(): boolean {
    for (const viewer of this._viewers) {
      if (viewer.isDisposed) {
        this._viewers.delete(viewer);
      }
    }
    return this._viewers.size > 0;
  }

  /** Count `viewer` until it is disposed. */
  add<T extends IDisposable>(viewer: T): T {
    const isFirst = !this.isSeen;
    this._viewers.add(viewer);
    if (isFirst) {
      this._onFirst();
    }
    return viewer;
  }

  private readonly _viewers = new Set<IDisposable>();
}
