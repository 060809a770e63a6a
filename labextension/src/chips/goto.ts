import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import type { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import { messageOf } from '../request';

/**
 * Which cell of the notebook at a path below the server's root: by its id, or,
 * where it has none or is gone, by its source.
 */
export interface ICellPlace {
  path: string;
  cell_id: string | null;
  source: string | null;
}

/** What finding a cell needs from the application. */
export interface IGoToOptions {
  app: JupyterFrontEnd;
  notebooks: INotebookTracker;
  browser: IDefaultFileBrowser | null;
  trans: TranslationBundle;
}

/** Open a notebook at a cell, and say so where there is no such cell any more. */
export async function goToCell(
  options: IGoToOptions,
  place: ICellPlace
): Promise<void> {
  const { app, trans } = options;
  const panel = await openNotebook(options, place.path);
  if (!panel) {
    return;
  }
  await panel.revealed;
  await panel.context.ready;
  const { content } = panel;
  const index = findCell(
    content.widgets.map(cell => cell.model),
    place
  );
  const cell = content.widgets[index];
  app.shell.activateById(panel.id);
  if (!cell) {
    Notification.warning(
      trans.__(
        'This cell is no longer in %1. The page of the run still has its source.',
        PathExt.basename(place.path)
      ),
      { autoClose: 6000 }
    );
    return;
  }
  content.activeCellIndex = index;
  await content.scrollToCell(cell, 'center');
}

/** The place of a cell by its id, else of one with the same source, else −1. */
export function findCell(
  cells: readonly { id: string; sharedModel: { getSource(): string } }[],
  place: Pick<ICellPlace, 'cell_id' | 'source'>
): number {
  const byId = cells.findIndex(cell => cell.id === place.cell_id);
  return byId >= 0 || !place.source
    ? byId
    : cells.findIndex(cell => cell.sharedModel.getSource() === place.source);
}

/** A notebook that is open, or else opened; `null` after telling why not. */
export async function openNotebook(
  { app, notebooks, browser, trans }: IGoToOptions,
  path: string
): Promise<NotebookPanel | null> {
  const { contents } = app.serviceManager;
  const open = notebooks.find(
    panel => contents.localPath(panel.context.path) === path
  );
  if (open) {
    return open;
  }
  // Where several work on one notebook, its drive has a name.
  const drive = browser?.model.driveName ?? '';
  try {
    const widget = (await app.commands.execute('docmanager:open', {
      path: drive === '' ? path : `${drive}:${path}`,
      factory: 'Notebook'
    })) as NotebookPanel | undefined;
    return widget ?? null;
  } catch (error) {
    Notification.error(
      `${trans.__('Could not open %1.', path)} ${messageOf(error)}`
    );
    return null;
  }
}
