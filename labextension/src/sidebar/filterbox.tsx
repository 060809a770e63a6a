import { Button, closeIcon } from '@jupyterlab/ui-components';
import React, { useEffect, useLayoutEffect, useRef, useState } from 'react';
import { useTrans } from '../components/trans';
import type { IRefusal, StoreModel } from '../model';
import { accept, keysOf, suggest } from './suggest';

const TYPING_MS = 250;
const MESSAGE = 'mlops-nb-filter-message';
const OPTIONS = 'mlops-nb-filter-options';

/**
 * The filter with hints for what can be typed: arrows choose one, Tab or Enter
 * takes it, Escape closes them and then clears the filter.
 */
export function FilterBox(props: { model: StoreModel }): React.JSX.Element {
  const { model } = props;
  const { project } = model;
  const trans = useTrans();
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(project.scope.text);
  const [caret, setCaret] = useState(0);
  const [isOpen, setOpen] = useState(false);
  const [chosen, setChosen] = useState(-1);
  const nextCaret = useRef<number | null>(null);

  const asked = project.scope.text;
  const sent = useRef(asked);
  useEffect(() => {
    // Somebody else changed the filter, such as the link that clears it.
    if (asked !== sent.current) {
      sent.current = asked;
      setText(asked);
    }
  }, [asked]);
  useEffect(() => {
    const wanted = text.trim();
    if (wanted === sent.current) {
      return;
    }
    const timer = window.setTimeout(() => {
      sent.current = wanted;
      void model.setScope({ text: wanted });
    }, TYPING_MS);
    return () => {
      window.clearTimeout(timer);
    };
  }, [text, model]);
  useLayoutEffect(() => {
    if (nextCaret.current !== null) {
      input.current?.setSelectionRange(nextCaret.current, nextCaret.current);
      nextCaret.current = null;
    }
  }, [text]);

  const hints = isOpen
    ? suggest(text, caret, keysOf(model.records.active()))
    : { from: 0, to: 0, options: [] };
  const isShown = hints.options.length > 0;
  const close = () => {
    setOpen(false);
    setChosen(-1);
  };
  const take = (option: string) => {
    const next = accept(text, hints, option);
    nextCaret.current = next.caret;
    setText(next.text);
    setCaret(next.caret);
    setChosen(-1);
    input.current?.focus();
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    const count = hints.options.length;
    const option = hints.options[Math.max(chosen, 0)];
    if (isShown && event.key === 'ArrowDown') {
      setChosen((chosen + 1) % count);
    } else if (isShown && event.key === 'ArrowUp') {
      setChosen((Math.max(chosen, 0) - 1 + count) % count);
    } else if (
      isShown &&
      option !== undefined &&
      ((event.key === 'Tab' && !event.shiftKey) ||
        (event.key === 'Enter' && chosen >= 0))
    ) {
      take(option);
    } else if (event.key === 'Escape' && isShown) {
      close();
    } else if (event.key === 'Escape' && text !== '') {
      setText('');
      close();
    } else {
      if (event.key === 'Enter') {
        close();
      }
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div className="mlops-nb-filter">
      <input
        ref={input}
        type="text"
        role="combobox"
        className="jp-mod-styled"
        spellCheck={false}
        autoComplete="off"
        value={text}
        placeholder={trans.__('filter: name, or metrics.acc > 0.9')}
        aria-label={trans.__('Filter runs')}
        aria-invalid={project.refusal !== null}
        aria-describedby={MESSAGE}
        aria-expanded={isShown}
        aria-controls={OPTIONS}
        aria-autocomplete="list"
        aria-activedescendant={chosen < 0 ? undefined : `${OPTIONS}-${chosen}`}
        title={trans.__('Press / to come here, Escape to clear')}
        onChange={event => {
          setText(event.target.value);
          setCaret(event.target.selectionStart ?? event.target.value.length);
          setOpen(true);
          setChosen(-1);
        }}
        onBlur={close}
        onKeyDown={onKeyDown}
      />
      {text !== '' && (
        <Button
          className="jp-mod-minimal mlops-nb-icon-button mlops-nb-clear"
          title={trans.__('Clear the filter')}
          aria-label={trans.__('Clear the filter')}
          onClick={() => {
            setText('');
          }}
        >
          <closeIcon.react tag="span" />
        </Button>
      )}
      <ul
        id={OPTIONS}
        role="listbox"
        aria-label={trans.__('Hints')}
        className="mlops-nb-options"
        hidden={!isShown}
      >
        {hints.options.map((option, index) => (
          <li
            key={option}
            id={`${OPTIONS}-${index}`}
            role="option"
            aria-selected={index === chosen}
            onMouseDown={event => {
              event.preventDefault();
              take(option);
            }}
          >
            {option}
          </li>
        ))}
      </ul>
      <div id={MESSAGE} className="mlops-nb-filter-message" aria-live="polite">
        {project.refusal && (
          <Refused refusal={project.refusal} text={project.scope.text} />
        )}
      </div>
    </div>
  );
}

/** Why a filter was refused, and where in it. */
function Refused(props: {
  refusal: IRefusal;
  text: string;
}): React.JSX.Element {
  const { refusal, text } = props;
  const { position } = refusal;
  return (
    <>
      {position !== null && position <= text.length && (
        <code className="mlops-nb-filter-place">
          {text.slice(0, position)}
          <mark>{text.slice(position, position + 12) || ' '}</mark>
        </code>
      )}
      {refusal.message}
      {refusal.hint && <span className="mlops-nb-hint">{refusal.hint}</span>}
    </>
  );
}
