import { CommandIds } from '../commandids';

/** The keys that act on the run in focus, as the help tells them. */
export const RUN_KEYS: Readonly<Record<string, string>> = {
  ' ': CommandIds.selectRun,
  c: CommandIds.compareRuns,
  d: CommandIds.diffCells,
  g: CommandIds.jumpToCell,
  s: CommandIds.stopRun,
  t: CommandIds.tagRun,
  n: CommandIds.noteRun
};

/** What the keyboard can do in the rows; the caller acts. */
export type Move =
  | { to: 'next' | 'previous' | 'first' | 'last' | 'page-down' | 'page-up' }
  | { to: 'act' | 'in' | 'out' | 'menu' | 'filter' | 'help' }
  | { to: 'command'; command: string };

const MOVES: Readonly<Record<string, Exclude<Move['to'], 'command'>>> = {
  ArrowDown: 'next',
  j: 'next',
  ArrowUp: 'previous',
  k: 'previous',
  Home: 'first',
  End: 'last',
  PageDown: 'page-down',
  PageUp: 'page-up',
  Enter: 'act',
  ArrowRight: 'in',
  ArrowLeft: 'out',
  '.': 'menu',
  ContextMenu: 'menu',
  '/': 'filter',
  '?': 'help'
};

/** What a key means in the rows, or `null`. */
export function moveOf(key: string): Move | null {
  const to = MOVES[key];
  if (to !== undefined) {
    return { to };
  }
  const command = RUN_KEYS[key];
  return command === undefined ? null : { to: 'command', command };
}
