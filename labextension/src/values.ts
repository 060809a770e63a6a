/** What another program sent where a text belongs: texts and plain values, else nothing. */
export function textOf(value: unknown, fallback = ''): string {
  return typeof value === 'string' ||
    typeof value === 'number' ||
    typeof value === 'boolean'
    ? String(value)
    : fallback;
}
