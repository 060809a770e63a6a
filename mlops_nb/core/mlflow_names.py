"""What to use instead of the names of MLflow that are not here."""

from __future__ import annotations

_SERVED = "Our server speaks MLflow's REST API: use MLflow's own client with MLFLOW_TRACKING_URI set to the server."
_INSTEAD = {
    "MlflowClient": f"search_runs, get_run, tag_run and the other functions do its work. {_SERVED}",
    "client": _SERVED,
    "artifacts": f"The files of a run: mlops-nb artifacts. {_SERVED}",
    "MlflowException": "Errors of mlops_nb are MlopsError.",
    "exceptions": "Errors of mlops_nb are MlopsError.",
    "entities": "Runs and experiments have the attributes of MLflow's: run.info, run.data.",
    "pyfunc": "Log a model with log_model; what is kept is an MLflow folder, which mlflow.pyfunc.load_model loads.",
    "load_model": "What log_model keeps is an MLflow folder, which mlflow.pyfunc.load_model or that of the framework loads.",
    "trace": _SERVED,
    "start_span": _SERVED,
    "evaluate": "Log the scores with log(...); compare(...) says which run is better.",
    "projects": "A notebook runs headless with papermill --engine mlops_nb.",
    "run": "A notebook runs headless with papermill --engine mlops_nb.",
}


def message(name: str, known: list[str], module: str = "mlops_nb") -> str:
    """Return what to say of a name that a module has not."""
    from mlops_nb.errors import did_you_mean

    hint = _INSTEAD.get(name) or did_you_mean(name, known)
    return f"module '{module}' has no attribute '{name}'." + (f" {hint}" if hint else "")
