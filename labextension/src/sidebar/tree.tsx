import { defaultRangeExtractor, useVirtualizer } from '@tanstack/react-virtual';
import React, { useCallback, useEffect, useLayoutEffect, useRef } from 'react';
import { useTrans } from '../components/trans';
import { CommandIds } from '../commandids';
import type { ISidebarContext } from './context';
import type { Item } from './items';
import { ItemContent } from './itemcontent';
import { type Move, moveOf } from './keys';
import { openMenu } from './rowmenu';
import {
  endpointOf,
  expandedOf,
  heightOf,
  isFixed,
  isGroup,
  levelOf,
  runIdOf,
  runnerOf
} from './rowshape';

/** Rows from the end at which the next page is asked for. */
const AHEAD = 120;
const PAGE_ROWS = 10;

/**
 * The rows as one tree for the keyboard. Only those in sight are in the page.
 */
export function RunTree(props: {
  items: Item[];
  context: ISidebarContext;
  now: number;
}): React.JSX.Element {
  const { items, context, now } = props;
  const { model, state } = context;
  const trans = useTrans();
  const root = useRef<HTMLDivElement>(null);
  /** The row that gets the focus once it is in the page. */
  const wanted = useRef<string | null>(null);
  // Asked anew for each key: several may come between two frames.
  const activeIndex = () =>
    Math.max(
      0,
      items.findIndex(item => item.key === state.activeKey)
    );
  const active = activeIndex();

  const rows = useVirtualizer({
    count: items.length,
    getScrollElement: () => root.current,
    estimateSize: index => heightOf(items[index]),
    getItemKey: index => items[index]?.key ?? index,
    overscan: 12,
    // The row with the focus stays, or the keyboard would be lost by scrolling.
    rangeExtractor: range => {
      const shown = defaultRangeExtractor(range);
      return shown.includes(active) || active >= items.length
        ? shown
        : [...shown, active].sort((a, b) => a - b);
    }
  });
  const shown = rows.getVirtualItems();

  const last = shown.at(-1)?.index ?? 0;
  const end = items.at(-1);
  useEffect(() => {
    if (end?.kind === 'more' && last > items.length - AHEAD) {
      void model.loadMore(end.list);
    }
  }, [last, items.length, end, model]);

  const find = (key: string) =>
    root.current?.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`);
  useLayoutEffect(() => {
    const node = wanted.current === null ? null : find(wanted.current);
    if (node) {
      wanted.current = null;
      node.focus({ preventScroll: true });
    }
  });
  useEffect(() => {
    // The panel was opened by keyboard before there were rows: the first drawing
    // that has some takes the focus over.
    const panel = root.current?.closest('.mlops-nb-Sidebar');
    if (panel && panel === document.activeElement) {
      root.current
        ?.querySelector<HTMLElement>('[tabindex="0"]')
        ?.focus({ preventScroll: true });
    }
  });

  const focus = useCallback(
    (index: number) => {
      const item = items[Math.min(Math.max(index, 0), items.length - 1)];
      if (item) {
        wanted.current = item.key;
        state.activeKey = item.key;
        model.selection.active = runIdOf(item);
        rows.scrollToIndex(items.indexOf(item), { align: 'auto' });
        state.touch();
      }
    },
    [items, model, rows, state]
  );

  const act = (item: Item | undefined) => {
    switch (item?.kind) {
      case 'group':
      case 'rest':
        state.setOpen(item.key, !item.isOpen);
        break;
      case 'run':
        context.execute(CommandIds.openRun, { runId: item.run.run_id });
        break;
      case 'endpoint':
        context.execute(CommandIds.tryEndpoint, {
          endpoint: item.endpoint.name
        });
        break;
      case 'runner':
        context.execute(CommandIds.runnerLog, { runner: item.runner.id });
        break;
      case 'model':
        context.execute(CommandIds.openModel, { name: item.model.name });
        break;
      case 'more':
        void model.loadMore(item.list);
        break;
      case 'retry':
        void model.load(model.project.list);
        break;
    }
  };

  const fold = (item: Item | undefined, isOpen: boolean): boolean => {
    if (item?.kind === 'group' && item.isOpen !== isOpen) {
      state.setOpen(item.key, isOpen);
      return true;
    }
    const hasEarlier = item?.kind === 'run' && item.judged?.earlier.length;
    if (hasEarlier && item.isOpen !== isOpen) {
      state.setOpen(`${item.key}/earlier`, isOpen);
      return true;
    }
    return false;
  };

  const move = (to: Move) => {
    const active = activeIndex();
    const item = items[active];
    const steps: Partial<Record<Move['to'], number>> = {
      next: active + 1,
      previous: active - 1,
      first: 0,
      last: items.length - 1,
      'page-down': active + PAGE_ROWS,
      'page-up': active - PAGE_ROWS
    };
    const step = steps[to.to];
    if (step !== undefined) {
      focus(step);
      return;
    }
    switch (to.to) {
      case 'act':
        act(item);
        break;
      case 'in':
        if (!fold(item, true)) {
          focus(active + 1);
        }
        break;
      case 'out':
        if (!fold(item, false)) {
          focus(items.slice(0, active).findLastIndex(isGroup));
        }
        break;
      case 'menu':
        openMenu(item && find(item.key));
        break;
      case 'filter':
        context.execute(CommandIds.filterRuns);
        break;
      case 'help':
        context.execute(CommandIds.showKeys);
        break;
      case 'command': {
        const runId = runIdOf(item);
        const endpoint = endpointOf(item);
        const runner = runnerOf(item);
        if (runner !== null && to.command === CommandIds.stopRun) {
          context.execute(CommandIds.stopRunner, { runner });
        } else if (endpoint !== null && to.command === CommandIds.stopRun) {
          context.execute(CommandIds.stopEndpoint, { endpoint });
        } else if (runId !== null) {
          // With several selected, a key means all of them.
          const isOne = to.command === CommandIds.selectRun;
          const many = !isOne && model.selection.has(runId);
          context.execute(to.command, many ? { isPalette: true } : { runId });
        }
      }
    }
  };

  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey) {
      return;
    }
    if (event.key === 'Escape' && model.selection.ids.length > 0) {
      event.preventDefault();
      model.selection.clear();
      return;
    }
    const to = moveOf(event.key);
    if (to) {
      event.preventDefault();
      event.stopPropagation();
      move(to);
    }
  };

  const onClick = (item: Item, index: number, event: React.MouseEvent) => {
    const runId = runIdOf(item);
    if (runId !== null && (event.ctrlKey || event.metaKey)) {
      model.selection.toggle(runId);
    } else if (runId !== null && event.shiftKey) {
      const [from, to] = index < active ? [index, active] : [active, index];
      const range = items.slice(from, to + 1).map(runIdOf);
      model.selection.set(range.filter(id => id !== null));
    } else {
      act(item);
    }
  };

  return (
    <div
      ref={root}
      role="tree"
      aria-label={trans.__('Runs')}
      aria-multiselectable="true"
      className="mlops-nb-tree"
      onKeyDown={onKeyDown}
    >
      <div
        role="none"
        className="mlops-nb-tree-all"
        style={{ height: rows.getTotalSize() }}
      >
        {shown.map(({ index, start }) => {
          const item = items[index];
          if (!item) {
            return null;
          }
          const runId = runIdOf(item);
          const isSelected = runId !== null && model.selection.has(runId);
          return (
            <div
              key={item.key}
              ref={isFixed(item) ? undefined : rows.measureElement}
              role="treeitem"
              aria-level={levelOf(item)}
              aria-expanded={expandedOf(item)}
              aria-selected={runId === null ? undefined : isSelected}
              aria-posinset={index + 1}
              aria-setsize={items.length}
              tabIndex={index === active ? 0 : -1}
              className={`mlops-nb-item mlops-nb-item-${item.kind}`}
              style={{ transform: `translateY(${start}px)` }}
              data-index={index}
              data-key={item.key}
              data-run-id={runId ?? undefined}
              data-endpoint={endpointOf(item) ?? undefined}
              data-runner={runnerOf(item) ?? undefined}
              data-level={levelOf(item)}
              onFocus={() => {
                state.activeKey = item.key;
                model.selection.active = runId;
              }}
              onClick={event => {
                onClick(item, index, event);
              }}
            >
              <ItemContent
                item={item}
                context={context}
                now={now}
                isSelected={isSelected}
              />
            </div>
          );
        })}
      </div>
    </div>
  );
}
