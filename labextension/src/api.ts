import { type IDatasetInput, PageApi } from './pageapi';
import type { IRequester } from './request';

export type RunStatus =
  'RUNNING' | 'SCHEDULED' | 'FINISHED' | 'FAILED' | 'KILLED' | 'LOST';

export type Lifecycle = 'active' | 'deleted';

/** A metric's value: JSON has no word for the three that are not finite. */
export type MetricValue = number | 'NaN' | 'Infinity' | '-Infinity';

export interface IStatus {
  version: string;
  project: { name: string; root: string };
  store: string;
  revision: number;
  experiment_count: number;
  run_count: number;
  problem: string | null;
}

export interface IExperiment {
  experiment_id: string;
  name: string;
  lifecycle_stage: Lifecycle;
  creation_time: number;
  last_update_time: number;
  tags: Record<string, string>;
  run_count: number;
}

export interface IMetric {
  key: string;
  value: MetricValue;
  step: number;
  timestamp: number;
  /** The `index` of the cell execution that logged the value. */
  cell: number | null;
}

/** One run; times are Unix milliseconds. */
export interface IRun {
  run_id: string;
  experiment_id: string;
  name: string;
  status: RunStatus;
  reason: string | null;
  start_time: number;
  end_time: number | null;
  lifecycle_stage: Lifecycle;
  user: string;
  revision: number;
  params: Record<string, string>;
  metrics: IMetric[];
  tags: Record<string, string>;
  inputs?: { datasets: IDatasetInput[]; models: string[] };
  outputs?: { model_id: string; step: number }[];
}

export interface IRunSearch {
  experiment_ids?: string[];
  query?: string;
  order_by?: string[];
  max_results?: number;
  page_token?: string;
  lifecycle_stage?: Lifecycle | 'all';
}

export interface IRunPage {
  runs: IRun[];
  next_page_token?: string | null;
  revision: number;
}

export interface IRunPatch {
  name?: string;
  /** A tag that is null goes. */
  tags?: Record<string, string | null>;
  lifecycle_stage?: Lifecycle;
  status?: RunStatus;
  end_time?: number;
  reason?: string;
}

/** One logged value: step, time, value. */
export type Point = [step: number, timestamp: number, value: MetricValue];

export interface ISeries {
  key: string;
  total: number;
  points: Point[];
}

/** One execution of one cell while the run was open. */
export interface ICell {
  /** Counts the executions within the run from 0. */
  index: number;
  cell_id: string | null;
  execution_count: number | null;
  source: string;
  source_hash: string;
  started: number;
  duration_ms: number;
  outcome: 'ok' | 'error' | 'interrupted' | 'running';
  error: string | null;
  reads?: string[];
  writes?: string[];
  /** Bytes that the kernel held at most meanwhile. */
  peak_memory?: number | null;
  /** A short text of what the cell showed. */
  outputs?: string | null;
  products?: { kind: string; name: string }[];
}

export interface IArtifact {
  path: string;
  is_dir: boolean;
  file_size: number | null;
  media_type: string | null;
}

/** A version of a registered model. */
export interface IModelVersion {
  version: string;
  run_id: string | null;
  aliases: string[];
}

/** A registered model as MLflow's REST API gives it, with its newest versions. */
export interface IRegisteredModel {
  name: string;
  last_updated_timestamp: number;
  latest_versions?: IModelVersion[];
  aliases?: { alias: string; version: string }[];
}

export interface IChanges {
  revision: number;
  runs: IRun[];
  more: boolean;
}

/** The event that the server emits after every change of the store. */
export const STORE_CHANGED =
  'https://mlops-nb.readthedocs.io/events/store_changed/v1';

const ROOT = 'api/v1';

/**
 * The REST API of the server extension, one method per route.
 */
export class Api {
  constructor(private readonly _http: IRequester) {
    this.pages = new PageApi(_http);
  }

  /** The routes that the pages of runs, models and comparisons need. */
  readonly pages: PageApi;

  status(): Promise<IStatus> {
    return this._http.json(`${ROOT}/status`);
  }

  async experiments(): Promise<IExperiment[]> {
    const answer = await this._http.json<{ experiments: IExperiment[] }>(
      `${ROOT}/experiments`
    );
    return answer.experiments;
  }

  searchRuns(search: IRunSearch): Promise<IRunPage> {
    return this._http.json(`${ROOT}/runs/search`, 'POST', search);
  }

  async run(runId: string): Promise<IRun> {
    return (await this._http.json<{ run: IRun }>(runPath(runId))).run;
  }

  async patchRun(runId: string, patch: IRunPatch): Promise<IRun> {
    const answer = await this._http.json<{ run: IRun }>(
      runPath(runId),
      'PATCH',
      patch
    );
    return answer.run;
  }

  /**
   * Metrics of a run, thinned for charts.
   *
   * @param steps only what lies between, both included
   */
  async series(
    runId: string,
    keys: readonly string[],
    maxPoints = 1000,
    steps: readonly [number, number] | null = null
  ): Promise<ISeries[]> {
    const query = new URLSearchParams(keys.map(key => ['key', key]));
    query.append('max_points', String(maxPoints));
    if (steps) {
      query.append('start_step', String(steps[0]));
      query.append('end_step', String(steps[1]));
    }
    const answer = await this._http.json<{ series: ISeries[] }>(
      `${runPath(runId)}/series?${query.toString()}`
    );
    return answer.series;
  }

  /**
   * Write the cells of a run as a new notebook.
   *
   * @param folder where it goes, below the project; beside the run's notebook
   * where it is not given
   * @returns its path below the project
   */
  async restoreNotebook(runId: string, folder?: string): Promise<string> {
    const answer = await this._http.json<{ path: string }>(
      `${runPath(runId)}/notebook`,
      'POST',
      folder === undefined ? {} : { folder }
    );
    return answer.path;
  }

  /** The registered models, last changed first. */
  async models(maxResults: number): Promise<IRegisteredModel[]> {
    const answer = await this._http.json<{
      registered_models?: IRegisteredModel[];
    }>(
      `api/2.0/mlflow/registered-models/search?max_results=${maxResults}` +
        '&order_by=last_updated_timestamp%20DESC'
    );
    return answer.registered_models ?? [];
  }

  async cells(runId: string): Promise<ICell[]> {
    const answer = await this._http.json<{ cells: ICell[] }>(
      `${runPath(runId)}/cells`
    );
    return answer.cells;
  }

  async artifacts(runId: string): Promise<IArtifact[]> {
    const answer = await this._http.json<{ artifacts: IArtifact[] }>(
      `${runPath(runId)}/artifacts`
    );
    return answer.artifacts.filter(artifact => !artifact.is_dir);
  }

  artifactUrl(runId: string, path: string): string {
    return this._http.url(artifactPath(runId, path));
  }

  artifactBytes(runId: string, path: string): Promise<ArrayBuffer> {
    return this._http.bytes(artifactPath(runId, path));
  }

  changes(since: number): Promise<IChanges> {
    return this._http.json(`${ROOT}/changes?since=${since}`);
  }

  canSubscribe(): Promise<boolean> {
    return this._http.canSubscribe();
  }
}

function runPath(runId: string): string {
  return `${ROOT}/runs/${encodeURIComponent(runId)}`;
}

function artifactPath(runId: string, path: string): string {
  const segments = path.split('/').map(encodeURIComponent).join('/');
  return `${runPath(runId)}/artifacts/files/${segments}`;
}
