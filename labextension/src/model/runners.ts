import type { IRunner, RunnerApi } from '../runnerapi';
import { Polled } from './polled';

/** The runners that are not gone. */
export class Runners extends Polled<IRunner> {
  constructor(readonly api: RunnerApi) {
    super(() => api.alive());
  }
}

/**
 * What a runner has cost so far by its list price, in US dollars; `null`: not known.
 *
 * @param now Unix milliseconds
 */
export function costOf(runner: IRunner, now: number): number | null {
  if (!runner.offer) {
    return 0;
  }
  if (runner.offer.hourly === null) {
    return null;
  }
  const end = runner.ended ?? now / 1000;
  return (Math.max(0, end - runner.created) / 3600) * runner.offer.hourly;
}

/** When a runner ends if nothing changes; Unix seconds. */
export function stopsAt(runner: IRunner): number {
  return runner.idle_since === null
    ? runner.hard_stop
    : Math.min(
        runner.hard_stop,
        runner.idle_since + runner.request.guards.idle
      );
}

/** The cost of several; `null` where that of one is not known. */
export function costOfAll(
  runners: readonly IRunner[],
  now: number
): number | null {
  return runners.reduce<number | null>((sum, runner) => {
    const cost = costOf(runner, now);
    return sum === null || cost === null ? null : sum + cost;
  }, 0);
}

/** Dollars as a ticker shows them: cents, or less where there is less. */
export function dollars(value: number | null): string {
  const digits = value !== null && value > 0 && value < 1 ? 3 : 2;
  return value === null ? '$?' : `$${value.toFixed(digits)}`;
}
