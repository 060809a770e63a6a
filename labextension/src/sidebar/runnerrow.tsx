import type { TranslationBundle } from '@jupyterlab/translation';
import { Button, stopIcon } from '@jupyterlab/ui-components';
import React from 'react';
import { useTrans } from '../components/trans';
import { costOf, dollars, stopsAt } from '../model/runners';
import type { IRunner } from '../runnerapi';
import { leftText } from './endpointrow';

/** A runner in two lines: its work and what it costs, its machine and when it ends. */
export function RunnerRow(props: {
  runner: IRunner;
  now: number;
  stop: (id: string) => void;
}): React.JSX.Element {
  const { runner, now } = props;
  const trans = useTrans();
  const word = stateWord(runner, trans);
  const second = secondLine(runner, trans);
  const ends = stopsAt(runner) * 1000;
  const isLeaving = ['draining', 'destroying'].includes(runner.state);
  return (
    <>
      <span
        className="mlops-nb-runner-mark"
        data-state={runner.state}
        title={word}
      >
        <span aria-hidden="true">{GLYPHS[runner.state]}</span>
        <span className="mlops-nb-sr">{trans.__('Runner, %1', word)}</span>
      </span>
      <span className="mlops-nb-row-line">
        <span className="mlops-nb-row-name" title={runner.name} dir="auto">
          {runner.name}
        </span>
        <span className="mlops-nb-runner-cost" title={costTitle(runner, trans)}>
          {costText(runner, now)}
        </span>
        <Button
          className="jp-mod-minimal mlops-nb-icon-button mlops-nb-row-stop"
          tabIndex={-1}
          title={trans.__('Stop runner %1 (s)', runner.name)}
          aria-label={trans.__('Stop runner %1', runner.name)}
          onClick={event => {
            event.stopPropagation();
            props.stop(runner.id);
          }}
        >
          <stopIcon.react tag="span" width="14px" height="14px" />
        </Button>
      </span>
      <span className="mlops-nb-row-line mlops-nb-row-second">
        <span
          className={
            runner.state === 'lost'
              ? 'mlops-nb-row-reason'
              : 'mlops-nb-row-more'
          }
          title={second}
          dir="auto"
        >
          {second}
        </span>
        {!isLeaving && (
          <span
            className="mlops-nb-row-time"
            title={trans.__('Ends at %1', new Date(ends).toLocaleString())}
          >
            {trans.__('ends in %1', leftText(Math.max(0, ends - now)))}
          </span>
        )}
      </span>
    </>
  );
}

const GLYPHS: Record<IRunner['state'], string> = {
  requested: '◌',
  creating: '◌',
  booting: '◌',
  idle: '○',
  busy: '●',
  lost: '⚠',
  draining: '◌',
  destroying: '◌',
  gone: '■'
};

/** The state of a runner in words. */
export function stateWord(
  runner: Pick<IRunner, 'state'>,
  trans: TranslationBundle
): string {
  const words: Partial<Record<string, string>> = {
    requested: trans.__('starting'),
    creating: trans.__('starting'),
    booting: trans.__('booting'),
    idle: trans.__('idle'),
    busy: trans.__('busy'),
    lost: trans.__('no sign of life'),
    draining: trans.__('ends after its job'),
    destroying: trans.__('ending'),
    gone: trans.__('gone')
  };
  // A newer server may know a state that this front end does not.
  return words[runner.state] ?? runner.state;
}

function secondLine(runner: IRunner, trans: TranslationBundle): string {
  const { offer } = runner;
  const word = stateWord(runner, trans);
  // What asks for attention comes first: the end of the line may be cut off.
  const parts =
    ['lost', 'draining', 'destroying'].includes(runner.state) || !runner.job
      ? [word]
      : [];
  if (runner.interrupted !== null) {
    parts.push(trans.__('taken back'));
  }
  if (runner.job) {
    parts.push(runner.job);
  }
  if (runner.request.cloud === 'local') {
    parts.push(trans.__('this machine'));
    return parts.join(' · ');
  }
  if (offer) {
    const gpu =
      offer.gpu && offer.gpus > 0 ? ` ${offer.gpus}x ${offer.gpu}` : '';
    parts.push(
      `${offer.type}${gpu}${offer.spot ? ` ${trans.__('spot')}` : ''}`
    );
  }
  parts.push(runner.request.cloud);
  return parts.join(' · ');
}

function costText(runner: IRunner, now: number): string {
  const most = runner.request.guards.max_cost;
  const cost = dollars(costOf(runner, now));
  return most === null ? cost : `${cost}/${most.toFixed(2)}`;
}

function costTitle(runner: IRunner, trans: TranslationBundle): string {
  const hourly = runner.offer?.hourly ?? null;
  if (hourly === 0) {
    return trans.__('This machine is not rented: it costs nothing');
  }
  return hourly === null
    ? trans.__('The price of this machine is not known')
    : trans.__('%1 an hour by the list price', `$${hourly.toFixed(2)}`);
}
