import { useEffect, useState } from 'react';

const TICK_MS = 1000;
const IDLE_MS = 30_000;

/**
 * The present time, renewed every second while something runs and else twice a
 * minute, and not at all while nobody can see it.
 */
export function useNow(isTicking: boolean, isVisible = true): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!isVisible) {
      return;
    }
    const update = () => {
      if (!document.hidden) {
        setNow(Date.now());
      }
    };
    update();
    const timer = window.setInterval(update, isTicking ? TICK_MS : IDLE_MS);
    document.addEventListener('visibilitychange', update);
    return () => {
      window.clearInterval(timer);
      document.removeEventListener('visibilitychange', update);
    };
  }, [isTicking, isVisible]);
  return now;
}
