import { type ISignal, Signal } from '@lumino/signaling';

/**
 * What the user has done to the sidebar: groups folded, the row in focus.
 */
export class SidebarState {
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Whether the panel can be seen. */
  get isVisible(): boolean {
    return this._isVisible;
  }

  set isVisible(value: boolean) {
    this._isVisible = value;
    this._changed.emit();
  }

  /** The row that Tab reaches. */
  get activeKey(): string | null {
    return this._activeKey;
  }

  set activeKey(key: string | null) {
    if (key !== this._activeKey) {
      this._activeKey = key;
      this._changed.emit();
    }
  }

  /** What a screen reader says next. */
  get announcement(): string {
    return this._announcement;
  }

  announce(message: string): void {
    this._announcement = message;
    this._changed.emit();
  }

  /**
   * Whether a group is unfolded. One that was unfolded at first stays so, even
   * when others come before it.
   */
  readonly isOpen = (key: string, atFirst: boolean): boolean => {
    const known = this._open.get(key);
    if (known === undefined && atFirst) {
      this._open.set(key, true);
    }
    return known ?? atFirst;
  };

  setOpen(key: string, isOpen: boolean): void {
    this._open.set(key, isOpen);
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _open = new Map<string, boolean>();
  private _isVisible = false;
  private _activeKey: string | null = null;
  private _announcement = '';
}
