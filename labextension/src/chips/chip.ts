import type { Cell, ICellModel } from '@jupyterlab/cells';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { PanelLayout } from '@lumino/widgets';
import { Widget } from '@lumino/widgets';
import { type ICellResult, isChanged } from './results';

/** Typing on does not hash with every key. */
const QUIET_MS = 250;

/**
 * A line below the source of a cell that says what the cell gave a run.
 *
 * It is a widget in the layout of the cell, as the cell's own parts are: so it
 * moves, scrolls in and out of a windowed notebook, and goes with the cell.
 */
export class Chip extends Widget {
  constructor(
    private readonly _cell: Cell,
    private readonly _trans: TranslationBundle,
    private readonly _open: (result: ICellResult) => void
  ) {
    super();
    this.addClass('mlops-nb-Chip');
    // Keys pressed here are the button's, not shortcuts of the notebook.
    this.node.dataset.lmSuppressShortcuts = 'true';
    this._button = document.createElement('button');
    this._button.type = 'button';
    this._button.className = 'mlops-nb-chip';
    this._button.addEventListener('click', () => {
      if (this._result) {
        this._open(this._result);
      }
    });
    this.node.append(this._button);
    // Kept, since a cell that goes forgets its model first.
    this._model = _cell.model;
    this._model.contentChanged.connect(this._onEdited, this);
    _cell.disposed.connect(this.dispose, this);
    // A cell that was not in view yet has no parts.
    void _cell.ready.then(() => {
      this._insert();
    });
  }

  get cell(): Cell {
    return this._cell;
  }

  /** Show a result; the same one again changes nothing. */
  setResult(result: ICellResult): void {
    const isSame =
      this._result?.runId === result.runId &&
      this._result.cell.source_hash === result.cell.source_hash &&
      this._result.all.join('\n') === result.all.join('\n');
    this._result = result;
    if (!isSame) {
      this._draw();
      void this._check();
    }
  }

  override dispose(): void {
    if (!this.isDisposed) {
      window.clearTimeout(this._timer);
      this._model.contentChanged.disconnect(this._onEdited, this);
      this._cell.disposed.disconnect(this.dispose, this);
      super.dispose();
    }
  }

  private _insert(): void {
    if (this.isDisposed || this._cell.isDisposed) {
      return;
    }
    const layout = this._cell.layout as PanelLayout;
    const input = layout.widgets.findIndex(widget =>
      widget.hasClass('jp-Cell-inputWrapper')
    );
    layout.insertWidget(input + 1, this);
  }

  private _onEdited(): void {
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => {
      void this._check();
    }, QUIET_MS);
  }

  private async _check(): Promise<void> {
    const result = this._result;
    if (!result || this.isDisposed) {
      return;
    }
    const changed = await isChanged(
      result.cell,
      this._model.sharedModel.getSource()
    );
    // Another result may be shown by now.
    if (this._result === result && this._isChanged !== changed) {
      this._isChanged = changed;
      this._draw();
    }
  }

  private _draw(): void {
    const result = this._result;
    if (!result) {
      return;
    }
    const trans = this._trans;
    const id = result.runId.slice(0, 4);
    const note = this._isChanged ? ` · ${trans.__('changed since')}` : '';
    this._button.textContent = `● ${result.text} · ${trans.__('run %1', id)}${note}`;
    this._button.dataset.changed = String(this._isChanged);
    this._button.title = result.all.join('\n');
    this._button.setAttribute(
      'aria-label',
      this._isChanged
        ? trans.__(
            'Result of this cell before it was changed: %1. Open run %2.',
            result.all.join(', '),
            id
          )
        : trans.__(
            'Result of this cell: %1. Open run %2.',
            result.all.join(', '),
            id
          )
    );
  }

  private readonly _model: ICellModel;
  private readonly _button: HTMLButtonElement;
  private _result: ICellResult | null = null;
  private _isChanged = false;
  private _timer = 0;
}
