import { Button } from '@jupyterlab/ui-components';
import React, { useState } from 'react';
import { useTrans } from '../components/trans';
import { messageOf } from '../request';

/** A note that can be changed in place. */
export function Note(props: {
  note: string;
  save: (note: string | null) => Promise<void>;
}): React.JSX.Element {
  const trans = useTrans();
  const [draft, setDraft] = useState<string | null>(null);
  const { error, act } = useAction();
  if (draft === null) {
    return (
      <>
        {props.note !== '' && (
          <p className="mlops-nb-run-note" dir="auto">
            {props.note}
          </p>
        )}
        <button
          type="button"
          className="mlops-nb-link"
          onClick={() => {
            setDraft(props.note);
          }}
        >
          {props.note === '' ? trans.__('Add a note') : trans.__('Edit')}
        </button>
      </>
    );
  }
  const save = () => {
    void act(async () => {
      await props.save(draft.trim() === '' ? null : draft);
      setDraft(null);
    });
  };
  return (
    <form
      className="mlops-nb-note-form"
      onSubmit={event => {
        event.preventDefault();
        save();
      }}
    >
      <textarea
        className="jp-mod-styled"
        rows={4}
        aria-label={trans.__('Note')}
        dir="auto"
        autoFocus
        value={draft}
        onChange={event => {
          setDraft(event.target.value);
        }}
        onKeyDown={event => {
          if (event.key === 'Escape') {
            setDraft(null);
          } else if (
            event.key === 'Enter' &&
            (event.ctrlKey || event.metaKey)
          ) {
            save();
          }
        }}
      />
      <Button type="submit" className="jp-mod-styled jp-mod-accept">
        {trans.__('Save')}
      </Button>
      <Button
        type="button"
        className="jp-mod-styled jp-mod-reject"
        onClick={() => {
          setDraft(null);
        }}
      >
        {trans.__('Cancel')}
      </Button>
      {error !== null && <span role="alert">{error}</span>}
    </form>
  );
}

/** The tags of a user: each can go, new ones come as `name` or `name=value`. */
export function Tags(props: {
  tags: readonly (readonly [string, string])[];
  change: (tags: Record<string, string | null>) => Promise<void>;
}): React.JSX.Element {
  const trans = useTrans();
  const [text, setText] = useState('');
  const { error, act } = useAction();
  return (
    <>
      <ul className="mlops-nb-tag-list">
        {[...props.tags]
          .sort(([a], [b]) => a.localeCompare(b))
          .map(([key, value]) => (
            <li key={key} className="mlops-nb-tag" dir="auto">
              {value === '' ? key : `${key}=${value}`}
              <button
                type="button"
                aria-label={trans.__('Remove the tag %1', key)}
                onClick={() => {
                  void act(() => props.change({ [key]: null }));
                }}
              >
                ×
              </button>
            </li>
          ))}
      </ul>
      <form
        className="mlops-nb-tag-form"
        onSubmit={event => {
          event.preventDefault();
          const [key = '', ...rest] = text.split('=');
          if (key.trim() !== '') {
            void act(async () => {
              await props.change({ [key.trim()]: rest.join('=').trim() });
              setText('');
            });
          }
        }}
      >
        <input
          className="jp-mod-styled"
          placeholder={trans.__('name=value')}
          aria-label={trans.__('New tag')}
          value={text}
          onChange={event => {
            setText(event.target.value);
          }}
        />
        <Button type="submit" className="jp-mod-styled jp-mod-minimal">
          {trans.__('Add')}
        </Button>
        {error !== null && <span role="alert">{error}</span>}
      </form>
    </>
  );
}

/** Runs something and keeps why it failed. */
function useAction(): {
  error: string | null;
  act: (action: () => Promise<void>) => Promise<void>;
} {
  const [error, setError] = useState<string | null>(null);
  const act = async (action: () => Promise<void>) => {
    try {
      await action();
      setError(null);
    } catch (reason) {
      setError(messageOf(reason));
    }
  };
  return { error, act };
}
