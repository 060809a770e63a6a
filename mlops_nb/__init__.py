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
    from mlops_nb.errors import MlopsError
    from mlops_nb.fluent import (
        active_run,
        compare,
        delete_run,
        get_run,
        log,
        log_artifact,
        log_dict,
        log_figure,
        log_metric,
        log_metrics,
        log_param,
        log_params,
        log_text,
        restore_run,
        search_runs,
        set_experiment,
        set_tag,
        set_tags,
        start_run,
        stop_run,
        tag_run,
    )

    __version__: str

__all__ = [
    "MlopsError",
    "__version__",
    "active_run",
    "compare",
    "delete_run",
    "get_run",
    "load_ipython_extension",
    "log",
    "log_artifact",
    "log_dict",
    "log_figure",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "log_text",
    "restore_run",
    "search_runs",
    "set_experiment",
    "set_tag",
    "set_tags",
    "start_run",
    "stop_run",
    "tag_run",
    "unload_ipython_extension",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mlops-nb")
    if name == "MlopsError":
        from mlops_nb.errors import MlopsError

        return MlopsError
    if name in __all__:
        from mlops_nb import fluent

        return getattr(fluent, name)
    raise AttributeError(f"module 'mlops_nb' has no attribute '{name}'")


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
