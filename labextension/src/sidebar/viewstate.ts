import { type ISignal, Signal } from '@lumino/signaling';

/**
 * What the user has done to the sidebar: what is folded, the row in focus; and
 * when to draw.
 *
 * However often something changes, it is drawn once a frame, and not at all while
 * the panel is hidden.
 */
export class SidebarState {
  /** Emitted when the panel has to be drawn again. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Whether the panel can be seen. */
  get isVisible(): boolean {
    return this._isVisible;
  }

  set isVisible(value: boolean) {
    this._isVisible = value;
    if (value) {
      this._changed.emit();
    }
  }

  /** The row that Tab reaches. */
  get activeKey(): string | null {
    return this._activeKey;
  }

  set activeKey(key: string | null) {
    if (key !== this._activeKey) {
      this._activeKey = key;
      this.touch();
    }
  }

  /** What a screen reader says next. */
  get announcement(): string {
    return this._announcement;
  }

  announce(message: string): void {
    this._announcement = message;
    this.touch();
  }

  /** Draw at the next frame. */
  touch(): void {
    if (this._isVisible && this._frame === null) {
      this._frame = requestAnimationFrame(() => {
        this._frame = null;
        if (this._isVisible) {
          this._changed.emit();
        }
      });
    }
  }

  /** Whether something is unfolded. */
  readonly isOpen = (key: string, atFirst: boolean): boolean =>
    this._open.get(key) ?? atFirst;

  setOpen(key: string, isOpen: boolean): void {
    this._open.set(key, isOpen);
    this._folded.emit();
    // At once, not at the next frame: the next key may mean a row that this shows.
    this._changed.emit();
  }

  /** Emitted when the user has folded or unfolded something. */
  get folded(): ISignal<this, void> {
    return this._folded;
  }

  /** What was folded and unfolded, to be kept. */
  get folding(): Record<string, boolean> {
    // Runs come and go; what lasts are the sections.
    return Object.fromEntries(
      [...this._open].filter(([key]) => !key.includes('/'))
    );
  }

  set folding(value: Record<string, boolean>) {
    for (const [key, isOpen] of Object.entries(value)) {
      this._open.set(key, isOpen);
    }
    this.touch();
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _folded = new Signal<this, void>(this);
  private readonly _open = new Map<string, boolean>();
  private _frame: number | null = null;
  private _isVisible = false;
  private _activeKey: string | null = null;
  private _announcement = '';
}
