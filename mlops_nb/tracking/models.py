"""Logging models: a folder in MLflow's format, kept as a logged model of the run."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_nb.core import registry
from mlops_nb.core.logged_models import check_model_name, new_model_id
from mlops_nb.core.names import MAX_PARAM_VALUE
from mlops_nb.errors import StoreUnreachable
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.run import ActiveRun

if TYPE_CHECKING:
    from mlops_nb.core.registry import ModelVersion
    from mlops_nb.models.folder import ModelInfo

_DELIVERY_SECONDS = 30.0
_MODEL_ID = re.compile(r"m-\w[\w-]*")


def log_model(
    model: Any,
    artifact_path: str | None = None,
    *,
    name: str | None = None,
    input_example: Any = None,
    signature: Any = None,
    flavor: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    model_type: str = "",
    step: int = 0,
    model_id: str | None = None,
    run: ActiveRun | None = None,
    registered_model_name: str | None = None,
    **options: Any,
) -> ModelInfo:
    """Keep a model with the active run, starting one if none is open.

    Args:
        model: What a supported framework made.
        artifact_path: What MLflow 2 called `name`.
        name: What people call it; `model` by default.
        input_example: Some rows of input; the first ones are kept, and give the signature.
        signature: Ours or MLflow's; found with the input example by default. False: none.
        flavor: The framework; found from the model by default.
        params: Params of the model.
        tags: Tags of the model.
        model_type: Such as `classifier`.
        step: The training step that it is from.
        model_id: An id that `new_model_id` made; a new one by default.
        run: Another run than the active one.
        registered_model_name: Make it the next version of this registered model.
        **options: What `mlops_nb.models.save_model` and the flavor take, such as `serialization_format`.

    Raises:
        InvalidInput: If no flavor takes the model, or the name is not allowed.
    """
    from mlops_nb.models.folder import save_model

    if registered_model_name is not None:  # said before the work is done
        registry.check_model_name(registered_model_name)
    run = run or sessions.current.active or sessions.current.start()
    name = check_model_name(name or artifact_path or "model")
    identity = model_id or new_model_id()
    for unused in ("await_registration_for", "code_paths", "conda_env"):
        options.pop(unused, None)
    with tempfile.TemporaryDirectory(prefix="mlops_nb-model-") as folder:
        info = save_model(
            model,
            Path(folder),
            flavor=flavor,
            input_example=input_example,
            signature=signature,
            name=name,
            model_id=identity,
            run_id=run.run_id,
            **options,
        )
        run.add_model(
            Path(folder),
            name,
            model_id=identity,
            model_type=model_type,
            step=step,
            params={str(key): str(value)[:MAX_PARAM_VALUE] for key, value in (params or {}).items()},
            tags={**info.tags, **{str(key): str(value) for key, value in (tags or {}).items()}},
        )
    if registered_model_name is not None:
        register_logged(sessions.current, info.model_uri, registered_model_name)
    return info


def register_logged(
    session: sessions.Session, model_uri: str, name: str, *, alias: str | None = None, tags: Mapping[str, Any] | None = None
) -> ModelVersion:
    """Make the next version of a registered model of one that was logged; see `fluent.registering.register_model`."""
    from mlops_nb.store.registering import register

    registry.check_model_name(name)
    if alias is not None:
        registry.check_new_alias(alias)
    identity = model_uri.removeprefix("models:/")
    if not session.flush(_DELIVERY_SECONDS):
        raise StoreUnreachable(
            f"The model is kept, but not in the store yet, so it cannot be registered as '{name}' now.",
            hint=f"Later: mlops_nb.register_model('{model_uri}', '{name}')",
        )
    texts = {str(key): str(value) for key, value in (tags or {}).items()}
    model_id = identity if _MODEL_ID.fullmatch(identity) else None
    return register(session.store(), name, model_uri, model_id=model_id, aliases=[alias] if alias else [], tags=texts)
