/**
 * The colours of lines, by the theme, and how each line is dashed where colours
 * come back: no two of the first 32 look alike, and nothing is told by colour
 * alone.
 */
const COLOURS = [
  '--jp-brand-color1',
  '--jp-warn-color1',
  '--jp-success-color1',
  '--jp-error-color1',
  '--jp-mirror-editor-keyword-color',
  '--jp-info-color1',
  '--jp-ui-font-color2',
  '--jp-mirror-editor-comment-color'
] as const;

const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]] as const;

/** The CSS variable of a line's colour. */
export function colourOf(index: number): string {
  return COLOURS[index % COLOURS.length] ?? COLOURS[0];
}

/** How a line is dashed, in pixels. */
export function dashOf(index: number): number[] {
  return [
    ...(DASHES[Math.floor(index / COLOURS.length) % DASHES.length] ?? [])
  ];
}
