"""Logging models: a folder in MLflow's format, kept as a logged model of the run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_nb.core.logged_models import check_model_name, new_model_id
from mlops_nb.core.names import MAX_PARAM_VALUE
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.run import ActiveRun

if TYPE_CHECKING:
    from mlops_nb.models.folder import ModelInfo


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
        **options: What `mlops_nb.models.save_model` and the flavor take, such as `serialization_format`.

    Raises:
        InvalidInput: If no flavor takes the model, or the name is not allowed.
    """
    from mlops_nb.models.folder import save_model

    run = run or sessions.current.active or sessions.current.start()
    name = check_model_name(name or artifact_path or "model")
    identity = model_id or new_model_id()
    for unused in ("registered_model_name", "await_registration_for", "code_paths", "conda_env"):
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
    return info
