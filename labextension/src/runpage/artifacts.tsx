import { Button } from '@jupyterlab/ui-components';
import React, { useEffect, useState } from 'react';
import type { IArtifact } from '../api';
import { useTrans } from '../components/trans';
import { formatSize } from '../format';
import type { RunDetail } from '../model';
import { matches, NameFilter } from './parts';
import { Preview } from './preview';

/** More files than this get a filter. */
const FEW = 12;
const MOST = 500;

/** The files of the run, and a look into the chosen one. */
export function Artifacts(props: {
  detail: RunDetail;
  files: readonly IArtifact[];
  /** The file to choose. */
  target: string | null;
}): React.JSX.Element {
  const { detail, files, target } = props;
  const trans = useTrans();
  const [chosen, setChosen] = useState<string | null>(target);
  const [text, setText] = useState('');
  useEffect(() => {
    setChosen(target);
  }, [target]);
  const current = files.find(file => file.path === chosen) ?? null;
  const shown = files
    .filter(file => matches(file.path, text))
    .sort((a, b) => a.path.localeCompare(b.path));
  return (
    <div className="mlops-nb-artifacts">
      <div className="mlops-nb-files">
        {files.length > FEW && (
          <NameFilter
            text={text}
            set={setText}
            label={trans.__('Filter files')}
          />
        )}
        <ul aria-label={trans.__('Files')}>
          {shown.slice(0, MOST).map(file => (
            <li key={file.path}>
              <FileButton
                file={file}
                isChosen={file === current}
                choose={setChosen}
              />
            </li>
          ))}
        </ul>
        {shown.length > MOST && (
          <p className="mlops-nb-none">
            {trans.__('and %1 more', shown.length - MOST)}
          </p>
        )}
      </div>
      <div className="mlops-nb-preview">
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
