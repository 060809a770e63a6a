import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { createContext } from 'react';

/** What draws code and outputs as JupyterLab does; `null` where it is missing. */
export interface IRendering {
  languages: IEditorLanguageRegistry | null;
  rendermime: IRenderMimeRegistry | null;
}

export const RenderingContext = createContext<IRendering>({
  languages: null,
  rendermime: null
});
