import { type RefObject, useEffect, useState } from 'react';

/** Begin a little before an element comes into view. */
const MARGIN = '300px';

/**
 * Whether an element is, or nearly is, in view.
 *
 * @param isOnce stay true from the first time on
 */
export function useSeen(
  element: RefObject<Element | null>,
  isOnce: boolean
): boolean {
  const [isSeen, setSeen] = useState(false);
  useEffect(() => {
    const node = element.current;
    if (!node || (isOnce && isSeen)) {
      return;
    }
    const observer = new IntersectionObserver(
      entries => {
        setSeen(entries[entries.length - 1]?.isIntersecting ?? false);
      },
      { rootMargin: MARGIN }
    );
    observer.observe(node);
    return () => {
      observer.disconnect();
    };
  }, [element, isOnce, isOnce && isSeen]);
  return isSeen;
}
