import type { MetricValue, Point } from './api';
import type { IRequester } from './request';

/** A data set that a run read; `schema` and `profile` are JSON texts. */
export interface IDatasetInput {
  dataset: {
    name: string;
    digest: string;
    source_type: string;
    source: string;
    schema: string | null;
    profile: string | null;
  };
  tags: Record<string, string>;
}

/** Indexes of the ledger: what gave a result, and the fewest cells behind it. */
export interface IProvenance {
  targets: number[];
  needed: number[];
}

export interface IEnvironment {
  machine: Record<string, string | number | boolean | null>;
  gpus: string[];
  packages: Record<string, string>;
  git: {
    commit: string;
    branch: string;
    repository: string;
    is_dirty: boolean;
    /** The artifact with what was not committed. */
    changes: string | null;
  };
}

export interface IField {
  name: string;
  type: string;
  required: boolean;
}

export interface IModelDescription {
  /** What loads the model. */
  uri: string;
  name: string;
  model_id: string;
  step: number | null;
  status: string;
  model_type: string;
  created: string;
  params: Record<string, string>;
  tags: Record<string, string>;
  flavors: { name: string; version: string }[];
  inputs: IField[] | null;
  outputs: IField[] | null;
  /** Why nothing more is known, or empty. */
  problem: string;
}

export interface IKeyValue {
  key: string;
  value: string;
}

/** A version of a registered model, as MLflow's API writes it. */
export interface IModelVersion {
  name: string;
  version: string;
  creation_timestamp: number;
  last_updated_timestamp: number;
  user_id?: string;
  current_stage: string;
  description?: string;
  source: string;
  run_id?: string;
  status: string;
  tags?: IKeyValue[];
  aliases?: string[];
}

export interface IRegisteredModel {
  name: string;
  creation_timestamp: number;
  last_updated_timestamp: number;
  description?: string;
  tags?: IKeyValue[];
  aliases?: { alias: string; version: string }[];
}

/** The points of one metric of one run among several. */
export interface IRunSeries {
  run_id: string;
  points: Point[];
}

export interface IMetricChange {
  run_id: string;
  value: MetricValue | null;
  difference: MetricValue | null;
  verdict: string;
  interval: [MetricValue, MetricValue] | null;
  p_value: number | null;
  method: string;
  note: string;
}

export interface IMetricRow {
  key: string;
  /** Which end is good: `higher`, `lower`, or `none`. */
  direction: string;
  base: MetricValue | null;
  changes: IMetricChange[];
}

/** A param, package or fact: one value for each run, in their order. */
export interface IValueRow {
  key: string;
  values: (string | null)[];
  changed: boolean;
}

export interface IComparedCell {
  index: number;
  cell_id: string | null;
  execution_count: number | null;
  source: string;
  /** Milliseconds. */
  duration: number;
  peak_memory: number | null;
  outcome: string;
  /** How often it ran. */
  times: number;
  /** As nbformat has them. */
  outputs: unknown[];
}

export interface ICellPair {
  /** same, changed, added, removed or moved. */
  status: string;
  base: IComparedCell | null;
  other: IComparedCell | null;
  /** `=` is in both, `-` only in the base, `+` only in the other. */
  source_diff: [string, string][];
  outputs_changed: boolean;
  moved: boolean;
  /** Names that the cell read and that were another value. */
  inputs: string[];
  summary: string;
}

export interface IComparedColumn {
  data: string;
  column: string;
  verdict: string;
  rows_changed: number | null;
  at_most: boolean;
  text: string;
}

export interface IComparedRun {
  run_id: string;
  name: string;
  status: string;
  start_time: number;
}

export interface IComparison {
  runs: IComparedRun[];
  verdict: { word: string | null; text: string; significance: string };
  metrics: IMetricRow[] | null;
  params: IValueRow[] | null;
  environment: IValueRow[] | null;
  explanations:
    { kind: string; name: string; text: string; weight: number }[] | null;
  data: { same: boolean; text: string; columns: IComparedColumn[] } | null;
  cells: ICellPair[] | null;
}

export type ComparisonPart =
  'metrics' | 'params' | 'cells' | 'data' | 'environment' | 'explanations';

/** What a result is asked for: a metric, or a product of a cell by its name. */
export type ResultName = { metric: string } | { product: string } | null;

const ROOT = 'api/v1';
const MLFLOW = 'api/2.0/mlflow';

/**
 * The routes that the pages of runs, models and comparisons need.
 */
export class PageApi {
  constructor(private readonly _http: IRequester) {}

  provenance(runId: string, result: ResultName): Promise<IProvenance> {
    return this._http.json(
      `${runPath(runId)}/provenance${query({ ...result })}`
    );
  }

  async environment(runId: string): Promise<IEnvironment> {
    const answer = await this._http.json<{ environment: IEnvironment }>(
      `${runPath(runId)}/environment`
    );
    return answer.environment;
  }

  async models(runId: string): Promise<IModelDescription[]> {
    const answer = await this._http.json<{ models: IModelDescription[] }>(
      `${runPath(runId)}/models`
    );
    return answer.models;
  }

  /** One metric of many runs, thinned for a chart. */
  async manySeries(
    runIds: readonly string[],
    key: string,
    maxPoints: number,
    steps: [number, number] | null
  ): Promise<IRunSeries[]> {
    const answer = await this._http.json<{ series: IRunSeries[] }>(
      `${ROOT}/series/search`,
      'POST',
      {
        run_ids: runIds,
        key,
        max_points: maxPoints,
        start_step: steps?.[0],
        end_step: steps?.[1]
      }
    );
    return answer.series;
  }

  compare(
    runIds: readonly string[],
    parts: readonly ComparisonPart[]
  ): Promise<IComparison> {
    return this._http.json(`${ROOT}/compare`, 'POST', {
      run_ids: runIds,
      parts
    });
  }

  async registeredModel(name: string): Promise<IRegisteredModel> {
    const answer = await this._http.json<{
      registered_model: IRegisteredModel;
    }>(`${MLFLOW}/registered-models/get${query({ name })}`);
    return answer.registered_model;
  }

  /** The versions of a registered model, newest first. */
  async modelVersions(name: string): Promise<IModelVersion[]> {
    const versions: IModelVersion[] = [];
    let page_token: string | undefined;
    do {
      const answer = await this._http.json<{
        model_versions?: IModelVersion[];
        next_page_token?: string;
      }>(
        `${MLFLOW}/model-versions/search${query({
          filter: `name = '${name.replaceAll("'", "''")}'`,
          max_results: '1000',
          page_token
        })}`
      );
      versions.push(...(answer.model_versions ?? []));
      page_token = answer.next_page_token ?? undefined;
    } while (page_token !== undefined && page_token !== '');
    return versions.sort((a, b) => Number(b.version) - Number(a.version));
  }

  async versionDescription(
    name: string,
    version: string
  ): Promise<IModelDescription> {
    const answer = await this._http.json<{ model: IModelDescription }>(
      `${ROOT}/registered-models/${encodeURIComponent(name)}` +
        `/versions/${encodeURIComponent(version)}/description`
    );
    return answer.model;
  }
}

function runPath(runId: string): string {
  return `${ROOT}/runs/${encodeURIComponent(runId)}`;
}

function query(values: Record<string, string | undefined>): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) {
    if (value !== undefined) {
      search.append(key, value);
    }
  }
  const text = search.toString();
  return text === '' ? '' : `?${text}`;
}
