"""The Python API: one function per verb, on the process's session. `import mlops_nb` shows all of it.

The names and arguments of MLflow's fluent API work as well: `import mlops_nb as mlflow`.
"""

from __future__ import annotations

from mlops_nb.fluent.active import (
    active_run,
    end_run,
    flush_async_logging,
    last_active_run,
    start_run,
    stop_run,
)
from mlops_nb.fluent.comparing import compare
from mlops_nb.fluent.experiments import (
    create_experiment,
    delete_experiment,
    get_experiment,
    get_experiment_by_name,
    restore_experiment,
    search_experiments,
    set_experiment,
    set_experiment_tag,
    set_experiment_tags,
)
from mlops_nb.fluent.logging import (
    delete_tag,
    log,
    log_artifact,
    log_artifacts,
    log_data,
    log_dict,
    log_figure,
    log_image,
    log_input,
    log_metric,
    log_metrics,
    log_param,
    log_params,
    log_predictions,
    log_table,
    log_text,
    set_tag,
    set_tags,
    watch,
)
from mlops_nb.fluent.notebooks import check_notebook, reproduce, restore_notebook, share_run
from mlops_nb.fluent.places import get_artifact_uri, get_registry_uri, get_tracking_uri, set_registry_uri, set_tracking_uri
from mlops_nb.fluent.registering import load_model, model_lineage, register_model
from mlops_nb.fluent.reporting import report
from mlops_nb.fluent.searching import search_runs
from mlops_nb.fluent.stored import archive_run, delete_run, get_parent_run, get_run, note_run, restore_run, tag_run
from mlops_nb.tracking.privacy import privacy

__all__ = [
    "active_run",
    "archive_run",
    "check_notebook",
    "compare",
    "create_experiment",
    "delete_experiment",
    "delete_run",
    "delete_tag",
    "end_run",
    "flush_async_logging",
    "get_artifact_uri",
    "get_experiment",
    "get_experiment_by_name",
    "get_parent_run",
    "get_registry_uri",
    "get_run",
    "get_tracking_uri",
    "last_active_run",
    "load_model",
    "log",
    "log_artifact",
    "log_artifacts",
    "log_data",
    "log_dict",
    "log_figure",
    "log_image",
    "log_input",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "log_predictions",
    "log_table",
    "log_text",
    "model_lineage",
    "note_run",
    "privacy",
    "register_model",
    "report",
    "reproduce",
    "restore_experiment",
    "restore_notebook",
    "restore_run",
    "search_experiments",
    "search_runs",
    "set_experiment",
    "set_experiment_tag",
    "set_experiment_tags",
    "set_registry_uri",
    "set_tag",
    "set_tags",
    "set_tracking_uri",
    "share_run",
    "start_run",
    "stop_run",
    "tag_run",
    "watch",
]
