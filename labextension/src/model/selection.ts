import { type ISignal, Signal } from '@lumino/signaling';

/**
 * The runs that the user has selected, in the order of selecting, and the one that
 * the keyboard is on.
 */
export class Selection {
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get ids(): readonly string[] {
    return this._ids;
  }

  /** The run that the keyboard is on. */
  get active(): string | null {
    return this._active;
  }

  set active(runId: string | null) {
    this._active = runId;
  }

  has(runId: string): boolean {
    return this._ids.includes(runId);
  }

  toggle(runId: string): void {
    this.set(
      this.has(runId)
        ? this._ids.filter(id => id !== runId)
        : [...this._ids, runId]
    );
  }

  set(runIds: readonly string[]): void {
    this._ids = [...new Set(runIds)];
    this._changed.emit();
  }

  clear(): void {
    if (this._ids.length > 0) {
      this.set([]);
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private _ids: string[] = [];
  private _active: string | null = null;
}
