import { type ISignal, Signal } from '@lumino/signaling';
import { messageOf } from '../request';

/** Between two reads while there are some: not all that changes is an event. */
const READ_MS = 5000;

/**
 * What a server has of one kind, each with a name. It is read when somebody looks,
 * when the server says that it changed, and every few seconds while there is some.
 */
export class Polled<T extends { name: string }> {
  constructor(private readonly _all: () => Promise<T[]>) {}

  /** Emitted when what is known has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get list(): readonly T[] {
    return this._list;
  }

  /** Why they could not be read last, or `null`. */
  get error(): string | null {
    return this._error;
  }

  get(name: string): T | null {
    return this._list.find(one => one.name === name) ?? null;
  }

  /** Whether somebody looks; nothing is read while nobody does. */
  get isSeen(): boolean {
    return this._isSeen;
  }

  set isSeen(value: boolean) {
    if (value !== this._isSeen) {
      this._isSeen = value;
      this._schedule();
      if (value) {
        void this.load();
      }
    }
  }

  /** The server says that they have changed. */
  hint(): void {
    if (this._isSeen && !isHidden()) {
      void this.load();
    }
  }

  /** Read them; calls while a read is under way lead to one more. */
  async load(): Promise<void> {
    this._again = true;
    if (this._isLoading) {
      return;
    }
    this._isLoading = true;
    try {
      while (this._again) {
        this._again = false;
        await this._read();
      }
    } finally {
      this._isLoading = false;
      this._schedule();
    }
  }

  private async _read(): Promise<void> {
    const before = JSON.stringify([this._list, this._error]);
    try {
      this._list = await this._all();
      this._error = null;
    } catch (error) {
      // What was seen last stays; a server that is away is told elsewhere.
      this._error = messageOf(error);
    }
    if (JSON.stringify([this._list, this._error]) !== before) {
      this._changed.emit();
    }
  }

  private _schedule(): void {
    clearTimeout(this._timer ?? undefined);
    this._timer =
      this._isSeen && this._list.length > 0
        ? setTimeout(() => {
            if (isHidden()) {
              this._schedule();
            } else {
              void this.load();
            }
          }, READ_MS)
        : null;
  }

  private readonly _changed = new Signal<this, void>(this);
  private _list: readonly T[] = [];
  private _error: string | null = null;
  private _isSeen = false;
  private _isLoading = false;
  private _again = false;
  private _timer: ReturnType<typeof setTimeout> | null = null;
}

function isHidden(): boolean {
  return typeof document !== 'undefined' && document.hidden;
}
