"""The state of the server and its store."""

from __future__ import annotations

import functools
import importlib.metadata

from mlops_nb.api.operation import AgentScope, Context, Nothing, Permission, operation
from mlops_nb.core.wire import ProjectJson, StatusAnswer
from mlops_nb.errors import MlopsError

UNKNOWN_VERSION = "0+unknown"


@operation("status", "GET", "/api/v1/status", permission=Permission.READ, agent=AgentScope.ANY)
def get_status(context: Context, request: Nothing) -> StatusAnswer:
    """Return what the server and its store are; a store that cannot be opened is told as a problem."""
    project = context.project
    answer = StatusAnswer(version=package_version(), project=ProjectJson(name=project.name, root=project.root), store=project.store_uri)
    try:
        totals = context.store.status()
    except MlopsError as error:
        answer.problem = str(error)
        return answer
    answer.revision, answer.experiment_count, answer.run_count = totals.revision, totals.experiment_count, totals.run_count
    return answer


@functools.cache
def package_version() -> str:
    """Return the version of mlops_nb, or a word for a source tree that is not installed."""
    try:
        return importlib.metadata.version("mlops-nb")
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN_VERSION


OPERATIONS = (get_status,)
