import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

/** A text of several lines in a dialog. */
class NoteBody extends Widget {
  constructor(text: string, label: string) {
    super({ node: document.createElement('textarea') });
    this.addClass('mlops-nb-note');
    this._area.value = text;
    this._area.rows = 6;
    this._area.setAttribute('aria-label', label);
  }

  getValue(): string {
    return this._area.value;
  }

  private get _area(): HTMLTextAreaElement {
    return this.node as HTMLTextAreaElement;
  }
}

/** Ask for the note of a run; `null` where the user thought better of it. */
export async function noteDialog(
  name: string,
  text: string,
  trans: TranslationBundle
): Promise<string | null> {
  const { button, value } = await showDialog({
    title: trans.__('Note on %1', name),
    body: new NoteBody(text, trans.__('Note')),
    focusNodeSelector: 'textarea',
    // Enter begins a new line.
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.okButton({ label: trans.__('Save') })
    ]
  });
  return button.accept ? value : null;
}
