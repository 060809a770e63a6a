import { PageConfig } from '@jupyterlab/coreutils';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { Contents } from '@jupyterlab/services';
import type { ICell, IRun } from '../api';
import type { StoreModel } from '../model';
import { servedPath, storedPath } from '../paths';

/**
 * Tell the model which notebook is in front, now and whenever that changes.
 */
export function followNotebook(
  notebooks: INotebookTracker,
  contents: Contents.IManager,
  model: StoreModel
): void {
  const serverRoot = PageConfig.getOption('serverRoot');
  let panel: NotebookPanel | null = null;
  const update = () => {
    const root = model.status?.project.root;
    model.setNotebook(
      panel === null || root === undefined
        ? null
        : storedPath(contents.localPath(panel.context.path), serverRoot, root)
    );
  };
  const change = () => {
    panel?.context.pathChanged.disconnect(update);
    panel = notebooks.currentWidget;
    panel?.context.pathChanged.connect(update);
    update();
  };
  notebooks.currentChanged.connect(change);
  model.changed.connect(update);
  change();
}

/**
 * Where a cell of a run stands among the code cells of its notebook, from 1, or
 * `null` where the notebook is not open or lacks the cell.
 */
export function placeOfCell(
  notebooks: INotebookTracker,
  contents: Contents.IManager,
  projectRoot: string,
  run: IRun,
  cell: ICell
): { place: number; of: number } | null {
  const path = servedPath(
    run.tags['mlops.notebook'] ?? '',
    PageConfig.getOption('serverRoot'),
    projectRoot
  );
  const panel = notebooks.find(
    open => contents.localPath(open.context.path) === path
  );
  const code = panel?.content.widgets.filter(
    ({ model }) =>
      model.type === 'code' && model.sharedModel.getSource().trim() !== ''
  );
  const index = code?.findIndex(w => w.model.id === cell.cell_id) ?? -1;
  return code && index >= 0 ? { place: index + 1, of: code.length } : null;
}
