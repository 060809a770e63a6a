import {
  Button,
  caretDownIcon,
  caretRightIcon
} from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import React, { useEffect, useRef } from 'react';
import { useTrans } from '../components/trans';
import type { StoreModel } from '../model';
import { type IGroupItem, type Item } from './items';
import { RunRow } from './row';
import type { SidebarState } from './viewstate';

/**
 * The rows as one tree for the keyboard: arrows or j and k move, left and right
 * fold, Enter acts.
 */
export function RunTree(props: {
  items: Item[];
  model: StoreModel;
  state: SidebarState;
  now: number;
  openRun: (runId: string) => void;
}): React.JSX.Element {
  const { items, model, state } = props;
  const trans = useTrans();
  const root = useRef<HTMLDivElement>(null);
  const rows = items.filter(item => item.kind !== 'heading');
  const active = Math.max(
    0,
    rows.findIndex(item => item.key === state.activeKey)
  );

  const opened = items
    .map(item =>
      item.kind === 'group' && item.isOpen ? item.experimentId : null
    )
    .filter(id => id !== null);
  useEffect(() => {
    for (const id of opened) {
      model.openExperiment(id);
    }
  }, [opened.join()]);

  useEffect(() => {
    // The panel was opened by keyboard before there were rows.
    const panel = root.current?.closest('.mlops-nb-Sidebar');
    if (panel && panel === document.activeElement) {
      root.current?.querySelector<HTMLElement>('[tabindex="0"]')?.focus();
    }
  }, []);

  const act = (item: Item | undefined) => {
    switch (item?.kind) {
      case 'group':
        state.setOpen(item.key, !item.isOpen);
        break;
      case 'run':
        props.openRun(item.run.run_id);
        break;
      case 'more':
        void model.loadMore(item.list);
        break;
      case 'retry':
        void model.load(item.list);
        break;
    }
  };

  const focus = (index: number) => {
    const item = rows[Math.min(Math.max(index, 0), rows.length - 1)];
    if (item) {
      state.activeKey = item.key;
      root.current
        ?.querySelector<HTMLElement>(`[data-key="${CSS.escape(item.key)}"]`)
        ?.focus();
    }
  };

  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey) {
      return;
    }
    const item = rows[active];
    const steps: Record<string, () => void> = {
      ArrowDown: () => {
        focus(active + 1);
      },
      ArrowUp: () => {
        focus(active - 1);
      },
      Home: () => {
        focus(0);
      },
      End: () => {
        focus(rows.length - 1);
      },
      Enter: () => {
        act(item);
      },
      ArrowRight: () => {
        if (item?.kind === 'group' && !item.isOpen) {
          act(item);
        } else {
          focus(active + 1);
        }
      },
      ArrowLeft: () => {
        if (item?.kind === 'group') {
          state.setOpen(item.key, false);
        } else {
          focus(rows.slice(0, active).findLastIndex(i => i.kind === 'group'));
        }
      }
    };
    const aliases: Record<string, string> = {
      j: 'ArrowDown',
      k: 'ArrowUp',
      ' ': 'Enter'
    };
    const step = steps[aliases[event.key] ?? event.key];
    if (step) {
      event.preventDefault();
      event.stopPropagation();
      step();
    }
  };

  return (
    <div
      ref={root}
      role="tree"
      aria-label={trans.__('Runs')}
      className="mlops-nb-tree"
      onKeyDown={onKeyDown}
    >
      {items.map(item =>
        item.kind === 'heading' ? (
          <div key={item.key} role="none" className="mlops-nb-heading">
            {trans.__('Project')}
          </div>
        ) : (
          <div
            key={item.key}
            role="treeitem"
            aria-level={item.kind === 'group' ? 1 : 2}
            aria-expanded={item.kind === 'group' ? item.isOpen : undefined}
            aria-busy={item.kind === 'more' ? item.isBusy : undefined}
            tabIndex={item === rows[active] ? 0 : -1}
            className={`mlops-nb-item mlops-nb-item-${item.kind}`}
            data-key={item.key}
            data-section={item.kind === 'group' ? item.section : undefined}
            data-run-id={item.kind === 'run' ? item.run.run_id : undefined}
            onFocus={() => {
              state.activeKey = item.key;
            }}
            onClick={() => {
              act(item);
            }}
          >
            <ItemContent item={item} now={props.now} />
          </div>
        )
      )}
    </div>
  );
}

function ItemContent(props: {
  item: Exclude<Item, { kind: 'heading' }>;
  now: number;
}): React.JSX.Element {
  const { item, now } = props;
  const trans = useTrans();
  switch (item.kind) {
    case 'group':
      return <GroupRow item={item} />;
    case 'run':
      return <RunRow run={item.run} now={now} />;
    case 'more':
      return (
        <span>
          {item.isBusy ? trans.__('Loading more…') : trans.__('Load more')}
        </span>
      );
    case 'retry':
      return (
        <>
          <span>{trans.__('Could not load: %1', item.message)}</span>
          <Button className="jp-mod-minimal" tabIndex={-1}>
            {trans.__('Retry')}
          </Button>
        </>
      );
    case 'note':
      return <span>{noteText(item.note, trans)}</span>;
  }
}

function GroupRow(props: { item: IGroupItem }): React.JSX.Element {
  const { item } = props;
  const trans = useTrans();
  const Caret = item.isOpen ? caretDownIcon : caretRightIcon;
  const isExperiment = item.section === null;
  return (
    <>
      <Caret.react tag="span" className="mlops-nb-caret" />
      <span
        className={isExperiment ? 'mlops-nb-experiment' : 'mlops-nb-section'}
        title={item.name ?? undefined}
        dir="auto"
      >
        {isExperiment ? item.name : sectionTitle(item, trans)}
      </span>
      {item.count !== null && (
        <span
          className="mlops-nb-count"
          aria-label={trans._n('%1 run', '%1 runs', item.count)}
        >
          {item.count}
        </span>
      )}
    </>
  );
}

function sectionTitle(item: IGroupItem, trans: TranslationBundle): string {
  switch (item.section) {
    case 'now':
      return trans.__('Now');
    case 'notebook':
      return trans.__('This notebook');
    default:
      return trans.__('Matches');
  }
}

function noteText(
  note: 'loading' | 'no-runs' | 'no-match',
  trans: TranslationBundle
): string {
  switch (note) {
    case 'loading':
      return trans.__('Loading runs…');
    case 'no-match':
      return trans.__('No run matches. Clear the filter to see all.');
    default:
      return trans.__('No runs yet.');
  }
}
