import { Notification } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { StoreModel } from './model';
import { servedPath } from './paths';

/**
 * The path below the server's root of a notebook that the store knows; `null`
 * after telling that it lies outside.
 */
export function servedNotebook(
  model: StoreModel,
  stored: string,
  trans: TranslationBundle
): string | null {
  const path = servedPath(
    stored,
    PageConfig.getOption('serverRoot'),
    model.status?.project.root ?? ''
  );
  if (path === null) {
    Notification.error(
      trans.__('%1 is outside of what this server can open.', stored)
    );
  }
  return path;
}
