/** `name`, `name=value`, or `-name`, which takes the tag away. */
export function parseTag(
  text: string
): { key: string; value: string | null } | null {
  const typed = text.trim();
  const removes = typed.startsWith('-');
  const [name = '', ...value] = typed.slice(removes ? 1 : 0).split('=');
  const key = name.trim();
  if (key === '') {
    return null;
  }
  return {
    key,
    value: removes ? null : value.length > 0 ? value.join('=').trim() : 'true'
  };
}
