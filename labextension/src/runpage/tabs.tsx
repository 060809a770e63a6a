import React, { useRef } from 'react';

/** One tab: its name and what it shows. */
export interface ITab {
  id: string;
  label: string;
  render: () => React.JSX.Element;
}

/**
 * Tabs as ARIA wants them: one tab stop, arrows move and select.
 */
export function Tabs(props: {
  /** Makes the element ids unique in the document. */
  prefix: string;
  label: string;
  tabs: ITab[];
  current: string;
  select: (id: string) => void;
}): React.JSX.Element {
  const { prefix, tabs, current } = props;
  const list = useRef<HTMLDivElement>(null);
  const index = tabs.findIndex(tab => tab.id === current);

  const go = (to: number) => {
    const tab = tabs[(to + tabs.length) % tabs.length];
    if (tab) {
      props.select(tab.id);
      list.current
        ?.querySelector<HTMLElement>(`[data-tab="${tab.id}"]`)
        ?.focus();
    }
  };
  const targets: Record<string, number> = {
    ArrowRight: index + 1,
    ArrowLeft: index - 1,
    Home: 0,
    End: tabs.length - 1
  };

  return (
    <>
      <div
        ref={list}
        role="tablist"
        aria-label={props.label}
        className="mlops-nb-tabs"
        onKeyDown={event => {
          const target = targets[event.key];
          if (target !== undefined) {
            event.preventDefault();
            go(target);
          }
        }}
      >
        {tabs.map(tab => (
          <button
            key={tab.id}
            type="button"
            role="tab"
            id={`${prefix}-tab-${tab.id}`}
            data-tab={tab.id}
            aria-selected={tab.id === current}
            aria-controls={`${prefix}-panel`}
            tabIndex={tab.id === current ? 0 : -1}
            className="mlops-nb-tab"
            onClick={() => {
              props.select(tab.id);
            }}
          >
            {tab.label}
          </button>
        ))}
      </div>
      <div
        role="tabpanel"
        id={`${prefix}-panel`}
        aria-labelledby={`${prefix}-tab-${current}`}
        className="mlops-nb-panel"
        tabIndex={0}
      >
        {tabs[index]?.render()}
      </div>
    </>
  );
}
