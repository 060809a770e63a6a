"""The table of all operations. Routers, the OpenAPI file and both mounts are derived from it."""

from __future__ import annotations

from mlops_nb.api.mlflow import artifacts as mlflow_artifacts
from mlops_nb.api.mlflow import assessments as mlflow_assessments
from mlops_nb.api.mlflow import direct_transfer as mlflow_direct_transfer
from mlops_nb.api.mlflow import experiments as mlflow_experiments
from mlops_nb.api.mlflow import inputs as mlflow_inputs
from mlops_nb.api.mlflow import logged_models as mlflow_logged_models
from mlops_nb.api.mlflow import metrics as mlflow_metrics
from mlops_nb.api.mlflow import model_versions as mlflow_model_versions
from mlops_nb.api.mlflow import registered_models as mlflow_registered_models
from mlops_nb.api.mlflow import runs as mlflow_runs
from mlops_nb.api.mlflow import server as mlflow_server
from mlops_nb.api.mlflow import traces as mlflow_traces
from mlops_nb.api.mlflow import traces_v2 as mlflow_traces_v2
from mlops_nb.api.mlflow import webhooks as mlflow_webhooks
from mlops_nb.api.operation import Operation
from mlops_nb.api.v1 import (
    artifacts,
    compare,
    details,
    endpoints,
    experiments,
    ingest,
    machines,
    metrics,
    notebooks,
    runner_ledger,
    runners,
    runs,
    status,
    webhooks,
)

OPERATIONS: tuple[Operation, ...] = (
    *status.OPERATIONS,
    *experiments.OPERATIONS,
    *runs.OPERATIONS,
    *metrics.OPERATIONS,
    *compare.OPERATIONS,
    *notebooks.OPERATIONS,
    *artifacts.OPERATIONS,
    *details.OPERATIONS,
    *ingest.OPERATIONS,
    *endpoints.OPERATIONS,
    *webhooks.OPERATIONS,
    *runner_ledger.OPERATIONS,
    *runners.OPERATIONS,
    *machines.OPERATIONS,
    *mlflow_server.OPERATIONS,
    *mlflow_experiments.OPERATIONS,
    *mlflow_runs.OPERATIONS,
    *mlflow_metrics.OPERATIONS,
    *mlflow_artifacts.OPERATIONS,
    *mlflow_direct_transfer.OPERATIONS,
    *mlflow_inputs.OPERATIONS,
    *mlflow_logged_models.OPERATIONS,
    *mlflow_registered_models.OPERATIONS,
    *mlflow_model_versions.OPERATIONS,
    *mlflow_webhooks.OPERATIONS,
    *mlflow_traces.OPERATIONS,
    *mlflow_traces_v2.OPERATIONS,
    *mlflow_assessments.OPERATIONS,
)
