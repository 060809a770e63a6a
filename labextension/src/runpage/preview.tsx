import React, { useEffect, useState } from 'react';
import type { IArtifact } from '../api';
import { Failed, Loading } from '../components/states';
import { useTrans } from '../components/trans';
import { formatSize } from '../format';
import type { RunDetail } from '../model';
import { messageOf } from '../request';
import { Code } from '../rendering/code';
import { JsonPreview, NotebookPreview, TextTable } from './previews';
import { dataUrl, previewKind } from './previewkind';

type Content =
  | { kind: 'loading' }
  | { kind: 'error'; message: string }
  | { kind: 'text' | 'json' | 'notebook'; text: string }
  | { kind: 'table'; text: string; delimiter: string }
  | { kind: 'image'; url: string };

/**
 * A look into a file: an image or plain text, never markup. Anything else is
 * offered for download.
 */
export function Preview(props: {
  detail: RunDetail;
  file: IArtifact;
}): React.JSX.Element {
  const { detail, file } = props;
  const trans = useTrans();
  const kind = previewKind(file);
  const [attempt, setAttempt] = useState(0);
  const [content, setContent] = useState<Content>({ kind: 'loading' });

  useEffect(() => {
    if (kind === null) {
      return;
    }
    let isGone = false;
    let blobUrl: string | null = null;
    const read = async (): Promise<Content> => {
      const bytes = await detail.artifactBytes(file.path);
      if (kind.kind !== 'image') {
        return { ...kind, text: new TextDecoder().decode(bytes) };
      }
      if (kind.isActive) {
        return { kind: 'image', url: dataUrl(bytes, kind.type) };
      }
      blobUrl = URL.createObjectURL(new Blob([bytes], { type: kind.type }));
      return { kind: 'image', url: blobUrl };
    };
    setContent({ kind: 'loading' });
    void read()
      .catch((error: unknown): Content => {
        return { kind: 'error', message: messageOf(error) };
      })
      .then(result => {
        if (!isGone) {
          setContent(result);
        } else if (blobUrl !== null) {
          URL.revokeObjectURL(blobUrl);
        }
      });
    return () => {
      isGone = true;
      if (blobUrl !== null) {
        URL.revokeObjectURL(blobUrl);
      }
    };
  }, [detail, file.path, file.file_size, kind?.kind, attempt]);

  return (
    <>
      <div className="mlops-nb-preview-head">
        <span className="mlops-nb-preview-name" dir="auto">
          {file.path}
        </span>
        <a href={detail.artifactUrl(file.path)} download>
          {trans.__('Download')} {formatSize(file.file_size)}
        </a>
      </div>
      {kind === null ? (
        <p className="mlops-nb-none">
          {trans.__('No preview for this kind or size of file.')}
        </p>
      ) : (
        <PreviewContent
          content={content}
          name={file.path}
          retry={() => {
            setAttempt(attempt + 1);
          }}
        />
      )}
    </>
  );
}

function PreviewContent(props: {
  content: Content;
  name: string;
  retry: () => void;
}): React.JSX.Element {
  const { content, name } = props;
  const trans = useTrans();
  switch (content.kind) {
    case 'loading':
      return <Loading label={trans.__('Loading the file…')} />;
    case 'error':
      return (
        <Failed
          what={trans.__('Could not read the file.')}
          error={content.message}
          retry={props.retry}
        />
      );
    case 'image':
      return <img src={content.url} alt={name} />;
    case 'table':
      return <TextTable {...content} name={name} />;
    case 'json':
      return <JsonPreview text={content.text} name={name} />;
    case 'notebook':
      return <NotebookPreview text={content.text} name={name} />;
    case 'text':
      return <Code source={content.text} label={name} language={name} />;
  }
}
