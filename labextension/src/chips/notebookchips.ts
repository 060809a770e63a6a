import type { Cell } from '@jupyterlab/cells';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import type { RunDetail, StoreModel } from '../model';
import { Chip } from './chip';
import { type ICellResult, resultsOf } from './results';

/** What the chips of one notebook need. */
export interface INotebookChipsOptions {
  panel: NotebookPanel;
  model: StoreModel;
  trans: TranslationBundle;
  /** The path of the notebook as the store knows it, or `null` before. */
  pathOf: (panel: NotebookPanel) => string | null;
  open: (result: ICellResult) => void;
}

/**
 * The chips of one open notebook: what its cells gave its newest run, or the one
 * that was chosen. Without a run it does nothing.
 */
export class NotebookChips implements IDisposable {
  constructor(private readonly _options: INotebookChipsOptions) {
    const { panel, model } = _options;
    model.changed.connect(this._onStoreChanged, this);
    panel.content.modelContentChanged.connect(this._onCellsChanged, this);
    panel.content.modelChanged.connect(this._onCellsChanged, this);
    panel.disposed.connect(this.dispose, this);
    this._onStoreChanged();
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Show the results of a run until a newer one begins. */
  choose(runId: string): void {
    this._chosen = runId;
    this._newestAtChoice = this._newest;
    this._follow(runId);
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    const { panel, model } = this._options;
    model.changed.disconnect(this._onStoreChanged, this);
    panel.disposed.disconnect(this.dispose, this);
    if (!panel.isDisposed) {
      panel.content.modelContentChanged.disconnect(this._onCellsChanged, this);
      panel.content.modelChanged.disconnect(this._onCellsChanged, this);
    }
    window.cancelAnimationFrame(this._frame);
    this._follow(null);
  }

  /** The model lists the runs of the notebook in front: learn the newest. */
  private _onStoreChanged(): void {
    const { panel, model, pathOf } = this._options;
    this._detail?.setActive(panel.isVisible);
    const path = pathOf(panel);
    const list = model.notebookRuns;
    if (path === null || model.notebook !== path || list?.phase !== 'ready') {
      return;
    }
    const runs = model.records
      .of(list)
      .filter(run => run.lifecycle_stage === 'active');
    this._newest = runs[0]?.run_id ?? null;
    if (this._chosen !== null && this._newest !== this._newestAtChoice) {
      this._chosen = null;
    }
    this._follow(this._chosen ?? this._newest);
  }

  private _follow(runId: string | null): void {
    if (runId === (this._detail?.runId ?? null)) {
      return;
    }
    this._detail?.dispose();
    this._detail = null;
    if (runId === null) {
      this._results = [];
      this._place();
      return;
    }
    const detail = this._options.model.detail(runId);
    this._detail = detail;
    detail.changed.connect(this._onRunChanged, this);
    detail.need('cells');
    if (detail.run === null) {
      void detail.load();
    }
  }

  private _onRunChanged(detail: RunDetail): void {
    const cells = detail.part('cells').value;
    if (detail.run && cells) {
      this._results = resultsOf(detail.run, cells);
      this._place();
    }
  }

  private _onCellsChanged(): void {
    // Without results there is nothing to place.
    if (this._results.length > 0 && this._frame === 0) {
      this._frame = window.requestAnimationFrame(() => {
        this._frame = 0;
        this._place();
      });
    }
  }

  /** Bring every chip to its cell, and take away those without one. */
  private _place(): void {
    const { panel } = this._options;
    const cells = panel.isDisposed ? [] : panel.content.widgets;
    const wanted = new Map<Cell, ICellResult>();
    const byId = new Map(cells.map(cell => [cell.model.id, cell]));
    for (const result of this._results) {
      const { cell_id, source } = result.cell;
      const cell =
        byId.get(cell_id ?? '') ??
        (cell_id === null && source !== ''
          ? cells.find(one => one.model.sharedModel.getSource() === source)
          : undefined);
      if (cell) {
        wanted.set(cell, result);
      }
    }
    for (const [cell, chip] of this._chips) {
      if (chip.isDisposed || !wanted.has(cell)) {
        chip.dispose();
        this._chips.delete(cell);
      }
    }
    for (const [cell, result] of wanted) {
      this._chipOf(cell).setResult(result);
    }
  }

  private _chipOf(cell: Cell): Chip {
    const known = this._chips.get(cell);
    if (known) {
      return known;
    }
    const { trans, open } = this._options;
    const chip = new Chip(cell, trans, open);
    this._chips.set(cell, chip);
    return chip;
  }

  private readonly _chips = new Map<Cell, Chip>();
  private _results: ICellResult[] = [];
  private _detail: RunDetail | null = null;
  private _chosen: string | null = null;
  private _newest: string | null = null;
  private _newestAtChoice: string | null = null;
  private _frame = 0;
  private _isDisposed = false;
}
