import React, { useContext, useEffect, useRef } from 'react';
import { RenderingContext } from './context';
import { useSeen } from './seen';

/** Longer sources stay plain: colouring them would take too long. */
const MOST_COLOURED = 50_000;

/** Source code, coloured as in the notebook once it comes into view. */
export function Code(props: {
  source: string;
  label: string;
  /** A name or a file name; Python where nothing is said. */
  language?: string;
}): React.JSX.Element {
  const { source, language = 'python' } = props;
  const { languages } = useContext(RenderingContext);
  const node = useRef<HTMLPreElement>(null);
  const isSeen = useSeen(node, true);
  useEffect(() => {
    const pre = node.current;
    if (!pre) {
      return;
    }
    pre.textContent = source;
    const spec =
      languages?.findByName(language) ??
      languages?.findByFileName(language) ??
      null;
    if (!languages || !spec || !isSeen || source.length > MOST_COLOURED) {
      return;
    }
    let isGone = false;
    const coloured = document.createElement('pre');
    void languages.highlight(source, spec, coloured).then(() => {
      // What cannot be coloured stays as it is.
      if (!isGone && coloured.textContent === source) {
        pre.replaceChildren(...coloured.childNodes);
      }
    });
    return () => {
      isGone = true;
    };
  }, [source, language, languages, isSeen]);
  return (
    <pre
      ref={node}
      className="mlops-nb-code cm-s-jupyter"
      tabIndex={0}
      aria-label={props.label}
    />
  );
}
