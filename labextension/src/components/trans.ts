import {
  nullTranslator,
  type TranslationBundle
} from '@jupyterlab/translation';
import { createContext, useContext } from 'react';

export const TransContext = createContext<TranslationBundle>(
  nullTranslator.load('mlops_nb')
);

/** The translations of the extension. */
export function useTrans(): TranslationBundle {
  return useContext(TransContext);
}
