"""Models under a name that outlives runs: `register_model`, `model_lineage`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops_nb.core.registry import ModelVersion
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.models import register_logged

if TYPE_CHECKING:
    from mlops_nb.models.lineage import Lineage


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
