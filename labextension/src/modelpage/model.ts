import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { StoreModel } from '../model';
import type {
  IModelDescription,
  IModelVersion,
  IRegisteredModel
} from '../pageapi';
import { messageOf } from '../request';

/**
 * A registered model with its versions, read again when the store changes while
 * somebody sees it.
 */
export class RegisteredModelModel implements IDisposable {
  constructor(
    private readonly _store: StoreModel,
    readonly name: string
  ) {
    _store.changed.connect(this._onStoreChanged, this);
    void this.load();
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  get registered(): IRegisteredModel | null {
    return this._registered;
  }

  /** Newest first. */
  get versions(): readonly IModelVersion[] {
    return this._versions;
  }

  get error(): string | null {
    return this._error;
  }

  /** What is known of the files of a version; `null` until it is there. */
  description(version: string): IModelDescription | null {
    return this._descriptions.get(version) ?? null;
  }

  /** The name of a run, where it is known. */
  runName(runId: string): string {
    return this._store.records.get(runId)?.name ?? runId.slice(0, 8);
  }

  async load(): Promise<void> {
    try {
      const { pages } = this._store;
      [this._registered, this._versions] = await Promise.all([
        pages.registeredModel(this.name),
        pages.modelVersions(this.name)
      ]);
      this._error = null;
    } catch (error) {
      this._error = messageOf(error);
    }
    this._changed.emit();
  }

  /** Read what is known of the files of a version, once. */
  async describe(version: string): Promise<void> {
    if (this._descriptions.has(version)) {
      return;
    }
    try {
      const found = await this._store.pages.versionDescription(
        this.name,
        version
      );
      this._descriptions.set(version, found);
    } catch (error) {
      this._error = messageOf(error);
    }
    this._changed.emit();
  }

  /** Whether somebody sees it. */
  setActive(isActive: boolean): void {
    this._isActive = isActive;
    this._onStoreChanged(this._store);
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      this._store.changed.disconnect(this._onStoreChanged, this);
      Signal.clearData(this);
    }
  }

  private _onStoreChanged(store: StoreModel): void {
    const { revision } = store;
    if (this._isActive && revision !== this._revision) {
      this._revision = revision;
      void this.load();
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _descriptions = new Map<string, IModelDescription>();
  private _registered: IRegisteredModel | null = null;
  private _versions: readonly IModelVersion[] = [];
  private _error: string | null = null;
  private _revision = -1;
  private _isActive = true;
  private _isDisposed = false;
}
