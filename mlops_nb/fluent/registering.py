"""Models under a name that outlives runs: `register_model`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops_nb.core.registry import ModelVersion
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.models import register_logged


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
