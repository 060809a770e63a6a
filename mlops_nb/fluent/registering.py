"""Models under a name that outlives runs: `register_model`, `load_model`, `model_lineage`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops_nb.core.registry import ModelVersion
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.models import register_logged

if TYPE_CHECKING:
    from mlops_nb.models.lineage import Lineage
    from mlops_nb.models.loading import LoadedModel


def register_model(
    model_uri: str,
    name: str,
    await_registration_for: int | None = None,
    *,
    tags: Mapping[str, Any] | None = None,
    alias: str | None = None,
    **_mlflows: Any,
) -> ModelVersion:
    """Make the next version of a registered model, and the model where it is missing.

    Args:
        model_uri: `models:/m-…` as `log_model(...).model_uri` has it, or `runs:/RUN/NAME`.
        name: Of the registered model.
        await_registration_for: Taken for MLflow's sake.
        tags: Of the version.
        alias: A name for this version, such as `challenger`; what it named before, it names no more.

    Raises:
        InvalidInput, NotFound: If the name is not allowed, or there is no such model.
        StoreError: If the store cannot be reached.
    """
    return register_logged(sessions.current, model_uri, name, alias=alias, tags=tags)


def load_model(model: str | os.PathLike[str], *, allow_unsafe: bool = False, config: Mapping[str, Any] | None = None) -> LoadedModel:
    """Load a model into this process, and return what answers as `mlflow.pyfunc.load_model` does.

    Args:
        model: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `models:/m-ID`, `runs:/RUN/PATH`, or a folder.
        allow_unsafe: Load it also if what a scan finds could run code. Say so only of models whose makers you trust.
        config: Settings of the model, such as `{"device": "cuda"}`.

    Raises:
        NotFound, InvalidInput: If there is no such model, or it is damaged.
        UnsafeModel: If it could run code on loading, and nobody allowed that.
        MissingDependencyError: If its framework is not installed.
    """
    from mlops_nb import models
    from mlops_nb.models.sources import fetch_model, is_uri

    uri = os.fspath(model)
    found = fetch_model(uri, sessions.current.fresh_store() if is_uri(uri) else None)
    loaded: LoadedModel = models.load_model(found.folder, allow_unsafe=allow_unsafe, config=config)
    return loaded


def model_lineage(model: str) -> Lineage:
    """Return where a version of a registered model came from (run, cell, data), and which endpoints serve it.

    Args:
        model: `NAME@ALIAS`, `NAME/VERSION`, or `NAME` for the newest; also with `models:/` before it.

    Raises:
        InvalidInput, NotFound: If it names no version.
        StoreError: If the store cannot be reached.
    """
    from mlops_nb.fluent.serving import with_endpoints
    from mlops_nb.models.lineage import lineage, wanted

    return with_endpoints([lineage(sessions.current.fresh_store(), wanted(model))])[0]
