import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import type { ICell, IRun } from '../api';
import type { StoreModel } from '../model';
import type { Endpoints } from '../model/endpoints';
import type { Runners } from '../model/runners';
import type { Choices } from '../settings';
import type { SidebarState } from './viewstate';

/** What the parts of the panel draw from and call. */
export interface ISidebarContext {
  model: StoreModel;
  endpoints: Endpoints;
  runners: Runners;
  choices: Choices;
  state: SidebarState;
  /** Run one of our commands. */
  execute: (command: string, args?: ReadonlyPartialJSONObject) => void;
  /** Where a cell stands among the code cells of its open notebook, from 1. */
  placeOf: (run: IRun, cell: ICell) => { place: number; of: number } | null;
  openSettings: (() => void) | null;
}
