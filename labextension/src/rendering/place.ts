import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { Widget } from '@lumino/widgets';

/**
 * Put a page into the main area, or beside it where that has room for one
 * document only, as in Notebook 7.
 */
export function showPage(
  shell: JupyterFrontEnd.IShell,
  page: Widget,
  type: string
): void {
  shell.add(page, 'main', { type });
  if (page.parent === null) {
    shell.add(page, 'right', { type });
  }
}
