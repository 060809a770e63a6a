"""The tables, the same on SQLite and PostgreSQL."""

from __future__ import annotations

from mlops_nb.store.sql.schema.metrics import latest_metrics, metric_blocks, metric_keys, metric_points
from mlops_nb.store.sql.schema.models import (
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
    model_aliases,
    model_version_tags,
    model_versions,
    registered_model_tags,
    registered_models,
    run_models,
)
from mlops_nb.store.sql.schema.runs import (
    FIRST_EXPERIMENT,
    cell_products,
    cells,
    datasets,
    deliveries,
    experiment_tags,
    experiments,
    params,
    purged_files,
    run_inputs,
    runs,
    store_state,
    tags,
)
from mlops_nb.store.sql.schema.traces import trace_assessments, trace_metadata, trace_runs, trace_tags, traces
from mlops_nb.store.sql.schema.types import INDEXED_LENGTH, SCHEMA_VERSION, metadata
from mlops_nb.store.sql.schema.webhooks import webhook_deliveries, webhook_events, webhooks

__all__ = [
    "FIRST_EXPERIMENT",
    "INDEXED_LENGTH",
    "SCHEMA_VERSION",
    "cell_products",
    "cells",
    "datasets",
    "deliveries",
    "experiment_tags",
    "experiments",
    "latest_metrics",
    "logged_model_metrics",
    "logged_model_params",
    "logged_model_tags",
    "logged_models",
    "metadata",
    "metric_blocks",
    "metric_keys",
    "metric_points",
    "model_aliases",
    "model_version_tags",
    "model_versions",
    "params",
    "purged_files",
    "registered_model_tags",
    "registered_models",
    "run_inputs",
    "run_models",
    "runs",
    "store_state",
    "tags",
    "trace_assessments",
    "trace_metadata",
    "trace_runs",
    "trace_tags",
    "traces",
    "webhook_deliveries",
    "webhook_events",
    "webhooks",
]
