import { PageConfig } from '@jupyterlab/coreutils';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { Contents } from '@jupyterlab/services';
import type { StoreModel } from '../model';

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
 * The path under which the store knows a notebook: relative to the project, or
 * absolute where the notebook lies outside it.
 *
 * @param path the path below the root of the server
 */
export function storedPath(
  path: string,
  serverRoot: string,
  projectRoot: string
): string {
  if (serverRoot === '') {
    return path;
  }
  const full = `${serverRoot.replace(/\/$/, '')}/${path}`;
  const inside = `${projectRoot.replace(/\/$/, '')}/`;
  return full.startsWith(inside) ? full.slice(inside.length) : full;
}
