import type { IArtifact } from '../api';

/** How a file can be shown without running anything in it. */
export type PreviewKind =
  | { kind: 'text' | 'json' | 'notebook' }
  | { kind: 'table'; delimiter: string }
  | {
      kind: 'image';
      type: string;
      /**
       * Whether the format may hold scripts. Such an image must not get an
       * address on our origin, where opening it in a tab would run them.
       */
      isActive: boolean;
    };

const MAX_TEXT = 200_000;
const MAX_TABLE = 2_000_000;
const MAX_NOTEBOOK = 5_000_000;
const MAX_IMAGE = 20_000_000;
const IMAGES = new Set([
  'image/png',
  'image/jpeg',
  'image/gif',
  'image/webp',
  'image/bmp'
]);
const TEXTS = new Set([
  'application/json',
  'application/x-ndjson',
  'application/yaml',
  'application/x-yaml',
  'application/toml',
  'application/xml'
]);
const TEXT_NAMES =
  /(^|\/)(MLmodel|[^/]+\.(txt|md|csv|tsv|json|jsonl|ya?ml|toml|ini|cfg|log|py|r|sql|html?|xml|ipynb))$/i;

/** How to show a file, or `null` where only a download is right. */
export function previewKind(file: IArtifact): PreviewKind | null {
  const type = ((file.media_type ?? '').split(';')[0] ?? '').trim();
  const size = file.file_size ?? Infinity;
  if (IMAGES.has(type) && size <= MAX_IMAGE) {
    return { kind: 'image', type, isActive: false };
  }
  if (type === 'image/svg+xml' && size <= MAX_TEXT) {
    return { kind: 'image', type, isActive: true };
  }
  if (/\.ipynb$/i.test(file.path) && size <= MAX_NOTEBOOK) {
    return { kind: 'notebook' };
  }
  const table = /\.(csv|tsv)$/i.exec(file.path);
  if (table && size <= MAX_TABLE) {
    return {
      kind: 'table',
      delimiter: table[1]?.toLowerCase() === 'tsv' ? '\t' : ','
    };
  }
  if (/\.json$/i.test(file.path) && size <= MAX_TABLE) {
    return { kind: 'json' };
  }
  const isText =
    type.startsWith('text/') || TEXTS.has(type) || TEXT_NAMES.test(file.path);
  return isText && size <= MAX_TEXT ? { kind: 'text' } : null;
}

/** The bytes as an address without an origin. */
export function dataUrl(bytes: ArrayBuffer, type: string): string {
  let text = '';
  for (const byte of new Uint8Array(bytes)) {
    text += String.fromCharCode(byte);
  }
  return `data:${type};base64,${btoa(text)}`;
}
