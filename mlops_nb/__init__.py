"""mlops_nb: track, compare and report machine-learning runs without leaving the notebook.

In a notebook: `%load_ext mlops_nb`, then `%track?`. In Python:

    import mlops_nb
    with mlops_nb.start_run("baseline", params={"lr": 0.1}) as run:
        run.log(loss=0.3)

Importing this package loads nothing heavy; what is used is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_nb.ci.running import run_notebooks
    from mlops_nb.errors import MlopsError
    from mlops_nb.fluent import (
        active_run,
        archive_run,
        check_notebook,
        compare,
        create_experiment,
        delete_experiment,
        delete_run,
        delete_tag,
        end_run,
        flush_async_logging,
        get_artifact_uri,
        get_experiment,
        get_experiment_by_name,
        get_parent_run,
        get_registry_uri,
        get_run,
        get_tracking_uri,
        last_active_run,
        load_model,
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
        model_lineage,
        note_run,
        privacy,
        register_model,
        report,
        reproduce,
        restore_experiment,
        restore_notebook,
        restore_run,
        search_experiments,
        search_runs,
        set_experiment,
        set_experiment_tag,
        set_experiment_tags,
        set_registry_uri,
        set_tag,
        set_tags,
        set_tracking_uri,
        share_run,
        start_run,
        stop_run,
        tag_run,
        watch,
    )
    from mlops_nb.fluent.runner_handle import get_runner, launch_runner, list_runners
    from mlops_nb.fluent.runner_jobs import submit_notebook
    from mlops_nb.fluent.serving import endpoint, serve
    from mlops_nb.fluent.webhooks import (
        create_webhook,
        delete_webhook,
        get_webhook,
        list_webhooks,
        test_webhook,
        update_webhook,
        webhook_deliveries,
    )
    from mlops_nb.tracking.autolog import autolog
    from mlops_nb.tracking.data.comparing import compare_data
    from mlops_nb.tracking.models import log_model
    from mlops_nb.tracking.system import (
        disable_system_metrics_logging,
        enable_system_metrics_logging,
        set_system_metrics_sampling_interval,
    )
    from mlops_nb.widgets.explorer import explore
    from mlops_nb.widgets.figures.kinds import plot
    from mlops_nb.widgets.run_table import run_table

    __version__: str

__all__ = [
    "MlopsError",
    "__version__",
    "active_run",
    "archive_run",
    "autolog",
    "check_notebook",
    "compare",
    "compare_data",
    "create_experiment",
    "create_webhook",
    "delete_experiment",
    "delete_run",
    "delete_tag",
    "delete_webhook",
    "disable_system_metrics_logging",
    "enable_system_metrics_logging",
    "end_run",
    "endpoint",
    "explore",
    "flush_async_logging",
    "get_artifact_uri",
    "get_experiment",
    "get_experiment_by_name",
    "get_parent_run",
    "get_registry_uri",
    "get_run",
    "get_runner",
    "get_tracking_uri",
    "get_webhook",
    "last_active_run",
    "launch_runner",
    "list_runners",
    "list_webhooks",
    "load_ipython_extension",
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
    "log_model",
    "log_param",
    "log_params",
    "log_predictions",
    "log_table",
    "log_text",
    "model_lineage",
    "note_run",
    "plot",
    "privacy",
    "register_model",
    "report",
    "reproduce",
    "restore_experiment",
    "restore_notebook",
    "restore_run",
    "run_notebooks",
    "run_table",
    "search_experiments",
    "search_runs",
    "serve",
    "set_experiment",
    "set_experiment_tag",
    "set_experiment_tags",
    "set_registry_uri",
    "set_system_metrics_sampling_interval",
    "set_tag",
    "set_tags",
    "set_tracking_uri",
    "share_run",
    "start_run",
    "stop_run",
    "submit_notebook",
    "tag_run",
    "test_webhook",
    "unload_ipython_extension",
    "update_webhook",
    "watch",
    "webhook_deliveries",
]

_FRAMEWORKS = ("sklearn", "xgboost", "lightgbm", "catboost", "keras", "pytorch", "lightning", "statsmodels", "transformers", "optuna")
_ELSEWHERE = {
    "get_runner": "mlops_nb.fluent.runner_handle",
    "launch_runner": "mlops_nb.fluent.runner_handle",
    "list_runners": "mlops_nb.fluent.runner_handle",
    "submit_notebook": "mlops_nb.fluent.runner_jobs",
    "explore": "mlops_nb.widgets.explorer",
    "plot": "mlops_nb.widgets.figures.kinds",
    "run_notebooks": "mlops_nb.ci.running",
    "run_table": "mlops_nb.widgets.run_table",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mlops-nb")
    if name == "MlopsError":
        from mlops_nb.errors import MlopsError

        return MlopsError
    if name in _FRAMEWORKS:
        from mlops_nb.tracking.autolog.namespaces import namespace

        return namespace(name)
    if name == "autolog":
        from mlops_nb.tracking.autolog import autolog

        return autolog
    if name == "log_model":
        from mlops_nb.tracking.models import log_model

        return log_model
    if name in _ELSEWHERE:
        import importlib

        return getattr(importlib.import_module(_ELSEWHERE[name]), name)
    if name in ("serve", "endpoint"):
        from mlops_nb.fluent import serving

        return getattr(serving, name)
    if name in __all__ and "webhook" in name:
        from mlops_nb.fluent import webhooks as hooks

        return getattr(hooks, name)
    if name == "compare_data":
        from mlops_nb.tracking.data.comparing import compare_data

        return compare_data
    if name in __all__ and "system_metrics" in name:
        from mlops_nb.tracking import system

        return getattr(system, name)
    if name in ("models", "data"):
        import importlib

        return importlib.import_module("mlops_nb.fluent.data" if name == "data" else "mlops_nb.models")
    if name in __all__:
        from mlops_nb import fluent

        return getattr(fluent, name)
    from importlib.util import find_spec

    if name.startswith("_") or find_spec(f"mlops_nb.{name}"):  # what introspection asks for, and parts that are being imported
        raise AttributeError(f"module 'mlops_nb' has no attribute '{name}'")
    from mlops_nb.core.mlflow_names import message

    raise AttributeError(message(name, __all__))


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(ipython: Any) -> None:
    """Register the magics and the cell hooks: `%load_ext mlops_nb`."""
    from mlops_nb.magics import load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Take the magics and the hooks back."""
    from mlops_nb.magics import unload

    unload(ipython)
