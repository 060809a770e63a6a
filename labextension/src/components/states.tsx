import { Button } from '@jupyterlab/ui-components';
import React from 'react';
import { CopyButton } from './copy';
import { useTrans } from './trans';

/** Shown while a list is read for the first time. */
export function Loading(props: { label: string }): React.JSX.Element {
  return (
    <p className="mlops-nb-state" role="status">
      <span className="mlops-nb-spinner" aria-hidden="true" />
      {props.label}
    </p>
  );
}

/** Shown when something could not be read: what failed, and the way out. */
export function Failed(props: {
  what: string;
  error: string | null;
  retry: () => void;
}): React.JSX.Element {
  const trans = useTrans();
  return (
    <div className="mlops-nb-state mlops-nb-error" role="alert">
      <strong>{props.what}</strong>
      {props.error && <span>{props.error}</span>}
      <Button className="jp-mod-styled jp-mod-minimal" onClick={props.retry}>
        {trans.__('Retry')}
      </Button>
    </div>
  );
}

/** Shown for a list without entries: what to do to get one. */
export function Empty(props: { children: React.ReactNode }): React.JSX.Element {
  return <div className="mlops-nb-state">{props.children}</div>;
}

/** Lines to run elsewhere, with a button that copies them. */
export function Snippet(props: { code: string }): React.JSX.Element {
  return (
    <div className="mlops-nb-snippet">
      <pre>{props.code}</pre>
      <CopyButton text={props.code} />
    </div>
  );
}
