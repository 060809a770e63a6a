import type { TranslationBundle } from '@jupyterlab/translation';
import type { IRun } from './api';

/** Whether a notebook would give a run again, as the run's tags have it. */
export interface IGrade {
  hygiene: string;
  /** True or false after `reproduce`, `null` before it. */
  isVerified: boolean | null;
}

/** The grade of a run, or `null` where it has none. */
export function gradeOf(run: IRun): IGrade | null {
  const hygiene = run.tags['mlops.hygiene'];
  const verified = run.tags['mlops.verified'];
  if (hygiene === undefined && verified === undefined) {
    return null;
  }
  return {
    hygiene: hygiene ?? '',
    isVerified: verified === undefined ? null : verified === 'true'
  };
}

/** A grade in a few words: `linear ✓ verified`, `⚠ reordered`. */
export function gradeText(grade: IGrade, trans: TranslationBundle): string {
  const words: Partial<Record<string, string>> = {
    linear: trans.__('linear'),
    reordered: trans.__('⚠ reordered'),
    unsaved: trans.__('⚠ unsaved')
  };
  const parts = [words[grade.hygiene] ?? grade.hygiene];
  if (grade.isVerified !== null) {
    parts.push(
      grade.isVerified ? trans.__('✓ verified') : trans.__('⚠ not reproduced')
    );
  }
  return parts.filter(part => part !== '').join(' ');
}

/** What a grade means, for a tooltip. */
export function gradeTitle(grade: IGrade, trans: TranslationBundle): string {
  const meanings: Partial<Record<string, string>> = {
    linear: trans.__(
      'The notebook as saved gives this run from top to bottom.'
    ),
    reordered: trans.__('The cells were run in another order than they stand.'),
    unsaved: trans.__(
      'A version of a cell that the run needs is no longer in the notebook.'
    )
  };
  const meaning = meanings[grade.hygiene];
  const verified =
    grade.isVerified === true
      ? trans.__('Run again in a fresh kernel: the metrics agree.')
      : grade.isVerified === false
        ? trans.__('Run again in a fresh kernel: the metrics differ.')
        : undefined;
  return [meaning, verified].filter(text => text !== undefined).join('\n');
}
