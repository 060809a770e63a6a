import React, { useEffect, useState } from 'react';
import type { ISeries } from '../api';
import { Empty, Failed, Loading, Snippet } from '../components/states';
import { useTrans } from '../components/trans';
import { formatValue } from '../format';
import type { RunDetail } from '../model';
import { Chart } from './chart';
import { toChart } from './chartdata';

/** One chart for each metric; a single value is a number, not a chart. */
export function Metrics(props: {
  detail: RunDetail;
  theme: number;
}): React.JSX.Element {
  const { detail, theme } = props;
  const trans = useTrans();
  const [isLog, setLog] = useState(false);
  useEffect(() => {
    detail.need('series');
  }, [detail]);
  const { phase, value, error } = detail.series;
  if (phase === 'error') {
    return (
      <Failed
        what={trans.__('Could not read the metrics.')}
        error={error}
        retry={() => {
          void detail.retry('series');
        }}
      />
    );
  }
  if (value === null) {
    return <Loading label={trans.__('Loading the metrics…')} />;
  }
  if (value.length === 0) {
    return (
      <Empty>
        <strong>{trans.__('No metrics yet.')}</strong>
        <span>{trans.__('Log one from the notebook:')}</span>
        <Snippet code="%track log acc=0.9 --step 1" />
      </Empty>
    );
  }
  return (
    <>
      <div className="mlops-nb-chart-options">
        <label>
          <input
            type="checkbox"
            checked={isLog}
            onChange={event => {
              setLog(event.target.checked);
            }}
          />
          {trans.__('Log scale')}
        </label>
      </div>
      <div className="mlops-nb-charts">
        {value.map(series => (
          <MetricCard
            key={series.key}
            series={series}
            isLog={isLog}
            theme={theme}
          />
        ))}
      </div>
    </>
  );
}

function MetricCard(props: {
  series: ISeries;
  isLog: boolean;
  theme: number;
}): React.JSX.Element {
  const { series, isLog, theme } = props;
  const trans = useTrans();
  const last = series.points[series.points.length - 1];
  const data = toChart(series, isLog);
  const isSingle = series.points.length < 2;
  const facts = [
    trans._n('%1 value', '%1 values', series.total),
    ...(data.min === null || data.max === null
      ? []
      : [
          trans.__('min %1', formatValue(data.min)),
          trans.__('max %1', formatValue(data.max))
        ])
  ];
  return (
    <figure
      className={isSingle ? 'mlops-nb-card mlops-nb-single' : 'mlops-nb-card'}
    >
      <figcaption>
        <span className="mlops-nb-card-name" title={series.key} dir="auto">
          {series.key}
        </span>
        {!isSingle && last && (
          <b className="mlops-nb-card-last">{formatValue(last[2])}</b>
        )}
      </figcaption>
      {isSingle ? (
        <p className="mlops-nb-big">{last ? formatValue(last[2]) : '–'}</p>
      ) : (
        <>
          <Chart
            data={data}
            isLog={isLog}
            theme={theme}
            label={`${series.key}: ${facts.join(', ')}`}
          />
          <p className="mlops-nb-card-facts">{facts.join(' · ')}</p>
        </>
      )}
    </figure>
  );
}
