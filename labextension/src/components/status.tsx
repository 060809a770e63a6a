import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';
import type { RunStatus } from '../api';
import { useTrans } from './trans';

/** The word for a status, in the language of the interface. */
export function statusWord(
  status: RunStatus,
  trans: TranslationBundle
): string {
  const words: Partial<Record<string, string>> = {
    RUNNING: trans.__('Running'),
    SCHEDULED: trans.__('Scheduled'),
    FINISHED: trans.__('Finished'),
    FAILED: trans.__('Failed'),
    KILLED: trans.__('Stopped'),
    LOST: trans.__('Lost')
  };
  // A newer server may know a status that this front end does not.
  return words[status] ?? status;
}

const SHAPES: Record<RunStatus, React.ReactNode> = {
  RUNNING: <path d="M5 3.5v9l7.5-4.5z" fill="currentColor" />,
  SCHEDULED: (
    <path d="M8 4v4.2l2.6 1.6M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2z" fill="none" />
  ),
  FINISHED: <path d="M3.5 8.5l3 3 6-7" fill="none" />,
  FAILED: <path d="M4 4l8 8M12 4l-8 8" fill="none" />,
  KILLED: <rect x="4" y="4" width="8" height="8" rx="1" fill="currentColor" />,
  LOST: (
    <path
      d="M5.5 6A2.5 2.5 0 1 1 8 8.5v1.3M8 12.2v.9"
      fill="none"
      strokeLinecap="round"
    />
  )
};

/**
 * A status as a shape of its own and a word: the word is for screen readers, or
 * for everyone with `showWord`.
 */
export function StatusMark(props: {
  status: RunStatus;
  showWord?: boolean;
}): React.JSX.Element {
  const word = statusWord(props.status, useTrans());
  return (
    <span
      className="mlops-nb-status"
      data-status={props.status}
      title={props.showWord ? undefined : word}
    >
      <svg
        viewBox="0 0 16 16"
        width="14"
        height="14"
        stroke="currentColor"
        strokeWidth="1.8"
        aria-hidden="true"
      >
        {SHAPES[props.status]}
      </svg>
      <span className={props.showWord ? undefined : 'mlops-nb-sr'}>{word}</span>
    </span>
  );
}
