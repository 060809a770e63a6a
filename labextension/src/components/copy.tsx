import { Clipboard } from '@jupyterlab/apputils';
import { Button, checkIcon, copyIcon } from '@jupyterlab/ui-components';
import React, { useEffect, useState } from 'react';
import { useTrans } from './trans';

const SHOWN_MS = 2000;

/** Copies `text` and says so. */
export function CopyButton(props: {
  text: string;
  label?: string;
}): React.JSX.Element {
  const trans = useTrans();
  const [isCopied, setCopied] = useState(false);
  useEffect(() => {
    if (!isCopied) {
      return;
    }
    const timer = window.setTimeout(() => {
      setCopied(false);
    }, SHOWN_MS);
    return () => {
      window.clearTimeout(timer);
    };
  }, [isCopied]);
  const label = props.label ?? trans.__('Copy');
  const Icon = isCopied ? checkIcon : copyIcon;
  return (
    <Button
      className="mlops-nb-copy jp-mod-minimal"
      title={label}
      aria-label={label}
      onClick={() => {
        Clipboard.copyToSystem(props.text);
        setCopied(true);
      }}
    >
      <Icon.react tag="span" width="14px" height="14px" />
      <span className="mlops-nb-sr" role="status">
        {isCopied ? trans.__('Copied') : ''}
      </span>
    </Button>
  );
}
