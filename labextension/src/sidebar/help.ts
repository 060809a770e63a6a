import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

/** Show what each key does in the panel. */
export async function showKeys(trans: TranslationBundle): Promise<void> {
  const keys: [keys: string, meaning: string][] = [
    ['Alt+Shift+E', trans.__('come to this panel')],
    ['↑ ↓  k j', trans.__('move')],
    ['← →', trans.__('fold, unfold')],
    [
      'Enter',
      trans.__('open the run, try the endpoint, read the runner’s logs')
    ],
    [trans.__('Space'), trans.__('select')],
    ['c', trans.__('compare')],
    ['d', trans.__('compare cell by cell')],
    ['g', trans.__('go to the cell')],
    ['s', trans.__('stop')],
    ['t', trans.__('tag')],
    ['n', trans.__('note')],
    ['/', trans.__('filter')],
    ['.', trans.__('all actions')],
    ['Esc', trans.__('clear the selection, the filter')],
    ['?', trans.__('these keys')]
  ];
  const table = document.createElement('table');
  table.className = 'mlops-nb-keys';
  for (const [key, meaning] of keys) {
    const row = table.insertRow();
    const head = document.createElement('th');
    head.scope = 'row';
    const word = document.createElement('kbd');
    word.textContent = key;
    head.append(word);
    row.append(head);
    row.insertCell().textContent = meaning;
  }
  await showDialog({
    title: trans.__('Keys of the experiments panel'),
    body: new Widget({ node: table }),
    buttons: [Dialog.okButton({ label: trans.__('Close') })]
  });
}
