import type { TranslationBundle } from '@jupyterlab/translation';
import { Button, stopIcon } from '@jupyterlab/ui-components';
import React from 'react';
import { useTrans } from '../components/trans';
import type { IEndpoint, IEndpointVersion } from '../endpointapi';
import { formatDuration } from '../format';

/** An endpoint in two lines: what is live and how its requests are, its traffic and when it ends. */
export function EndpointRow(props: {
  endpoint: IEndpoint;
  now: number;
  stop: (name: string) => void;
}): React.JSX.Element {
  const { endpoint, now } = props;
  const trans = useTrans();
  const { name, live } = endpoint;
  const word = stateWord(endpoint, trans);
  const drift = driftText(endpoint.drift, trans);
  const second = endpoint.problem || trafficText(endpoint, trans);
  return (
    <>
      <span
        className="mlops-nb-endpoint-mark"
        data-state={endpoint.state}
        title={word}
      >
        <span aria-hidden="true">{GLYPHS[endpoint.state]}</span>
        <span className="mlops-nb-sr">{trans.__('Endpoint, %1', word)}</span>
      </span>
      <span className="mlops-nb-row-line">
        <span className="mlops-nb-row-name" title={name} dir="auto">
          {name} {live && versionText(live)}
        </span>
        {endpoint.state === 'ready' ? (
          drift && (
            <span
              className="mlops-nb-endpoint-drift"
              data-drift={endpoint.drift}
              title={driftTitle(endpoint.drift, trans)}
            >
              {drift}
            </span>
          )
        ) : (
          <span className="mlops-nb-endpoint-state">{word}</span>
        )}
        <Button
          className="jp-mod-minimal mlops-nb-icon-button mlops-nb-row-stop"
          tabIndex={-1}
          title={trans.__('Stop endpoint %1 (s)', name)}
          aria-label={trans.__('Stop endpoint %1', name)}
          onClick={event => {
            event.stopPropagation();
            props.stop(name);
          }}
        >
          <stopIcon.react tag="span" width="14px" height="14px" />
        </Button>
      </span>
      <span className="mlops-nb-row-line mlops-nb-row-second">
        <span
          className={
            endpoint.problem ? 'mlops-nb-row-reason' : 'mlops-nb-row-more'
          }
          title={second}
          dir="auto"
        >
          {second}
        </span>
        {endpoint.expires > 0 && (
          <span
            className="mlops-nb-row-time"
            title={trans.__(
              'Ends at %1',
              new Date(endpoint.expires * 1000).toLocaleString()
            )}
          >
            {trans.__(
              'ends in %1',
              leftText(Math.max(0, endpoint.expires * 1000 - now))
            )}
          </span>
        )}
      </span>
    </>
  );
}

const GLYPHS: Record<IEndpoint['state'], string> = {
  ready: '◉',
  starting: '◌',
  restarting: '◌',
  parked: '✗',
  failed: '✗',
  stopped: '■'
};

function stateWord(endpoint: IEndpoint, trans: TranslationBundle): string {
  const words: Partial<Record<string, string>> = {
    ready: trans.__('ready'),
    starting: trans.__('starting'),
    restarting: trans.__('restarting'),
    parked: trans.__('parked'),
    failed: trans.__('failed'),
    stopped: trans.__('stopped')
  };
  // A newer server may know a state that this front end does not.
  return words[endpoint.state] ?? endpoint.state;
}

function versionText(version: IEndpointVersion): string {
  return version.registered === '' ? '' : `v${version.label}`;
}

function driftText(drift: string, trans: TranslationBundle): string {
  switch (drift) {
    case 'ok':
      return trans.__('✓ drift ok');
    case 'shifted':
      return trans.__('△ shifted');
    case 'drift':
      return trans.__('▲ drift');
    default:
      // Too few rows, or nothing to hold requests against: no news.
      return '';
  }
}

function driftTitle(drift: string, trans: TranslationBundle): string {
  return drift === 'ok'
    ? trans.__('Requests are like the data that they are held against')
    : trans.__(
        'Requests differ from the data that they are held against: %1 names the columns',
        '%serve monitor'
      );
}

function trafficText(endpoint: IEndpoint, trans: TranslationBundle): string {
  const { traffic, canary, shadow } = endpoint;
  const parts = [trans.__('%1 rpm', traffic.requests)];
  if (traffic.p95 !== null) {
    const ms = traffic.p95;
    parts.push(trans.__('p95 %1 ms', ms < 10 ? ms.toFixed(1) : ms.toFixed(0)));
  }
  if (traffic.errors > 0) {
    parts.push(trans.__('%1 failed', traffic.errors));
  }
  if (canary) {
    const share = `${Math.round(canary.share * 100)} %`;
    parts.push(trans.__('canary %1 %2', versionText(canary), share));
  }
  if (shadow) {
    parts.push(trans.__('shadow %1', versionText(shadow)));
  }
  return parts.join(' · ');
}

/** Minutes are enough, until there is less than one. */
export function leftText(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) {
    return formatDuration(ms);
  }
  const hours = Math.floor(minutes / 60);
  const rest = hours > 0 && minutes % 60 === 0 ? '' : `${minutes % 60} min`;
  return hours > 0 ? `${hours} h ${rest}`.trim() : rest;
}
