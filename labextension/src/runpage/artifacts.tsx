import { Button } from '@jupyterlab/ui-components';
import React, { useEffect, useState } from 'react';
import type { IArtifact } from '../api';
import { Empty, Failed, Loading, Snippet } from '../components/states';
import { useTrans } from '../components/trans';
import { formatSize } from '../format';
import type { RunDetail } from '../model';
import { Preview } from './preview';

/** The files of the run, and a look into the chosen one. */
export function Artifacts(props: { detail: RunDetail }): React.JSX.Element {
  const { detail } = props;
  const trans = useTrans();
  const [chosen, setChosen] = useState<string | null>(null);
  useEffect(() => {
    detail.need('artifacts');
  }, [detail]);
  const { phase, value, error } = detail.artifacts;
  if (phase === 'error') {
    return (
      <Failed
        what={trans.__('Could not read the artifacts.')}
        error={error}
        retry={() => {
          void detail.retry('artifacts');
        }}
      />
    );
  }
  if (value === null) {
    return <Loading label={trans.__('Loading the artifacts…')} />;
  }
  if (value.length === 0) {
    return (
      <Empty>
        <strong>{trans.__('No files yet.')}</strong>
        <span>{trans.__('Keep one with the run:')}</span>
        <Snippet code="%track file figure.png" />
      </Empty>
    );
  }
  const current = value.find(file => file.path === chosen) ?? null;
  return (
    <div className="mlops-nb-artifacts">
      <ul className="mlops-nb-files" aria-label={trans.__('Files')}>
        {[...value]
          .sort((a, b) => a.path.localeCompare(b.path))
          .map(file => (
            <li key={file.path}>
              <FileButton
                file={file}
                isChosen={file === current}
                choose={setChosen}
              />
            </li>
          ))}
      </ul>
      <div className="mlops-nb-preview" aria-live="polite">
        {current ? (
          <Preview key={current.path} detail={detail} file={current} />
        ) : (
          <p className="mlops-nb-none">{trans.__('Choose a file.')}</p>
        )}
      </div>
    </div>
  );
}

function FileButton(props: {
  file: IArtifact;
  isChosen: boolean;
  choose: (path: string) => void;
}): React.JSX.Element {
  const { file } = props;
  const cut = file.path.lastIndexOf('/') + 1;
  return (
    <Button
      className="jp-mod-minimal mlops-nb-file"
      title={file.path}
      aria-pressed={props.isChosen}
      onClick={() => {
        props.choose(file.path);
      }}
    >
      <span className="mlops-nb-file-name">
        <span className="mlops-nb-folder">{file.path.slice(0, cut)}</span>
        {file.path.slice(cut)}
      </span>
      <span className="mlops-nb-file-size">{formatSize(file.file_size)}</span>
    </Button>
  );
}
