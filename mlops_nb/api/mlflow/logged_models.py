"""MLflow's search for logged models. Clients make it whenever they list a folder of a run, and fail where it is missing."""

from __future__ import annotations

from mlops_nb.api.mlflow.wire import Empty, Request, twins
from mlops_nb.api.operation import Context, Permission, operation


class SearchLoggedModels(Request, kw_only=True):
    experiment_ids: list[str] | None = None


@operation("mlflow.loggedModels.search", "POST", twins("/logged-models/search"), permission=Permission.READ)
def search_logged_models(context: Context, request: SearchLoggedModels) -> Empty:
    """Find no logged model: the files of a run are its artifacts, and nothing else is kept."""
    return Empty()


OPERATIONS = (search_logged_models,)
