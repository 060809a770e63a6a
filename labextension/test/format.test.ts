import { describe, expect, it } from 'vitest';
import type { IArtifact, IMetric } from '../src/api';
import {
  formatAgo,
  formatClock,
  formatDuration,
  formatSize,
  formatValue,
  mainMetric
} from '../src/format';
import { previewKind } from '../src/runpage/previewkind';

function metric(key: string): IMetric {
  return { key, value: 1, step: 0, timestamp: 0, cell: null };
}

function file(path: string, media_type: string, file_size = 10): IArtifact {
  return { path, media_type, file_size, is_dir: false };
}

describe('values', () => {
  it.each([
    [0.912745, '0.91275'],
    [0, '0'],
    [42, '42'],
    [-1.5, '−1.5'],
    [0.0000471, '4.71e-5'],
    [12345678, '1.235e+7'],
    ['NaN' as const, 'NaN'],
    ['-Infinity' as const, '−∞']
  ])('%s reads %s', (value, text) => {
    expect(formatValue(value)).toBe(text);
  });
});

describe('times', () => {
  it.each([
    [12, '12 ms'],
    [2149, '2.1 s'],
    [187_000, '3:07'],
    [3_787_000, '1:03:07']
  ])('%d ms reads %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  it('tick in whole seconds', () => {
    expect([0, 999, 1000, 61_500].map(formatClock)).toEqual([
      '0:00',
      '0:00',
      '0:01',
      '1:01'
    ]);
  });

  it('say how long ago', () => {
    const ago = (seconds: number) => formatAgo(0, seconds * 1000, 'en');
    expect(ago(5)).toBe('now');
    expect(ago(180)).toBe('3 min. ago');
    expect(ago(7200)).toBe('2 hr. ago');
    expect(ago(-5)).toBe('now');
  });
});

describe('sizes', () => {
  it('are decimal', () => {
    expect([0, 999, 12_345, 5_000_000, null].map(formatSize)).toEqual([
      '0 B',
      '999 B',
      '12.3 kB',
      '5.0 MB',
      ''
    ]);
  });
});

describe('the main metric', () => {
  it('is a score on held-out data where there is one', () => {
    const keys = ['system/gpu', 'train_acc', 'val_loss', 'val_auc', 'lr'];
    expect(mainMetric(keys.map(metric))?.key).toBe('val_auc');
  });

  it('is the first one otherwise, and none without metrics', () => {
    expect(mainMetric(['loss', 'lr'].map(metric))?.key).toBe('loss');
    expect(mainMetric([])).toBeNull();
  });
});

describe('the preview of a file', () => {
  it('never gives an address on our origin to a format with scripts', () => {
    expect(previewKind(file('a.svg', 'image/svg+xml'))).toMatchObject({
      isActive: true
    });
    expect(previewKind(file('a.png', 'image/png'))).toMatchObject({
      isActive: false
    });
  });

  it('shows markup as text', () => {
    expect(previewKind(file('a.html', 'text/html'))).toEqual({ kind: 'text' });
  });

  it('is refused for what is large or unknown', () => {
    expect(previewKind(file('a.csv', 'text/csv', 2_000_001))).toBeNull();
    expect(
      previewKind(file('model.bin', 'application/octet-stream'))
    ).toBeNull();
  });
});
