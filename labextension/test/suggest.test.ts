import { describe, expect, it } from 'vitest';
import { accept, keysOf, suggest } from '../src/sidebar/suggest';
import { makeRun } from './fakes';

const metric = (key: string) => ({
  key,
  value: 1,
  step: 0,
  timestamp: 0,
  cell: null
});
const KEYS = keysOf([
  makeRun('a', {
    metrics: [metric('val_auc'), metric('odd `name')],
    params: { lr: '1' },
    tags: { stage: 'x', 'mlops.notebook': 'n' }
  })
]);

function optionsAt(text: string): string[] {
  return suggest(text, text.length, KEYS).options;
}

describe('the hints of the filter', () => {
  it('name what the runs have, quoted where it must be', () => {
    expect(KEYS.slice(0, 4)).toEqual([
      'metrics.`odd ``name`',
      'metrics.val_auc',
      'params.lr',
      'tags.stage'
    ]);
  });

  it('follow the grammar: a name, an operator, a value, and or or', () => {
    expect(optionsAt('auc')).toEqual(['metrics.val_auc']);
    expect(optionsAt('metrics.val_auc ')).toContain('>');
    expect(optionsAt('params.lr ')).toContain('LIKE');
    expect(optionsAt('attributes.status = ')).toContain("'FAILED'");
    expect(optionsAt('metrics.val_auc > 0.9 ')).toEqual(['and', 'or']);
    expect(optionsAt('metrics.val_auc > 0.9 and tags')).toEqual(['tags.stage']);
    expect(optionsAt('metrics.val_auc > ')).toEqual([]);
  });

  it('take the place of the word at the caret', () => {
    const text = 'auc and lr = 1';
    const found = suggest(text, 3, KEYS);
    expect(accept(text, found, 'metrics.val_auc')).toEqual({
      text: 'metrics.val_auc and lr = 1',
      caret: 16
    });
  });
});
