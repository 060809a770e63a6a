/** Open the context menu of a row, below its beginning. */
export function openMenu(row: HTMLElement | null | undefined): void {
  const box = row?.getBoundingClientRect();
  if (row && box) {
    const at = { clientX: box.left + 24, clientY: box.top + box.height / 2 };
    const event = { bubbles: true, cancelable: true, ...at };
    row.dispatchEvent(new MouseEvent('contextmenu', event));
  }
}
