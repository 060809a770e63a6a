import type { Item } from './items';

const HEIGHTS = {
  group: 30,
  run: 44,
  endpoint: 44,
  runner: 44,
  model: 30,
  rest: 26,
  more: 30
};
const NOTE_HEIGHT = 60;

/** Whether rows of this kind have one height whatever they say. */
export function isFixed(item: Item): boolean {
  return item.kind in HEIGHTS;
}

/** How high a row is drawn, or supposed to be until it is measured; CSS px. */
export function heightOf(item: Item | undefined): number {
  const heights: Partial<Record<string, number>> = HEIGHTS;
  return heights[item?.kind ?? ''] ?? NOTE_HEIGHT;
}

/** Whether a row begins a section. */
export function isGroup(item: Item): boolean {
  return item.kind === 'group';
}

/** The run of a row, or `null`. */
export function runIdOf(item: Item | undefined): string | null {
  return item?.kind === 'run' ? item.run.run_id : null;
}

/** The endpoint of a row, or `null`. */
export function endpointOf(item: Item | undefined): string | null {
  return item?.kind === 'endpoint' ? item.endpoint.name : null;
}

/** The id of the runner of a row, or `null`. */
export function runnerOf(item: Item | undefined): string | null {
  return item?.kind === 'runner' ? item.runner.id : null;
}

/** How deep a row stands in the tree, from 1. */
export function levelOf(item: Item): number {
  return item.kind === 'group' ? 1 : item.kind === 'run' ? item.level : 2;
}

/** Whether a row is unfolded; `undefined` where nothing is below it. */
export function expandedOf(item: Item): boolean | undefined {
  if (item.kind === 'run') {
    return item.judged && item.judged.earlier.length > 0
      ? item.isOpen
      : undefined;
  }
  return item.kind === 'group' || item.kind === 'rest'
    ? item.isOpen
    : undefined;
}
