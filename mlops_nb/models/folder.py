"""Writing a model folder: one flavor saves the model's file, the rest is the same for all of them."""

from __future__ import annotations

import platform
import secrets
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from mlops_nb.errors import InvalidInput
from mlops_nb.models import environment, flavors
from mlops_nb.models.example import as_rows, first_rows, write_example
from mlops_nb.models.flavors.form import Request
from mlops_nb.models.inferring import imported_by
from mlops_nb.models.metadata import MLMODEL_FILE
from mlops_nb.models.scan import trust
from mlops_nb.models.signature import Signature, infer_signature, signature_of

FORMAT_VERSION = "3.4.0"
"""The version of MLflow whose format the folders have."""


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A model folder that was written, or a model that was logged.

    Attributes:
        name: What people call it.
        model_id: `m-` and 32 hex digits.
        run_id: The run that made it; "" for a folder alone.
        model_uri: Where it is: `models:/<model id>`, or the folder.
        flavors: By the name of a flavor, what MLmodel says about it.
        signature: Its signature, where known.
        model_uuid: Of this folder.
        utc_time_created: When it was written.
        tags: What to know about it, such as how it is serialized.
    """

    name: str
    model_id: str
    run_id: str = ""
    model_uri: str
    flavors: dict[str, dict[str, Any]]
    signature: Signature | None = None
    model_uuid: str
    utc_time_created: str
    tags: dict[str, str] = {}

    @property
    def artifact_path(self) -> str:
        """The name, as MLflow 2 called it."""
        return self.name


def save_model(
    model: Any,
    path: str | Path,
    *,
    flavor: str | None = None,
    input_example: Any = None,
    keeps_example: bool = True,
    signature: Any = None,
    name: str = "model",
    model_id: str = "",
    run_id: str = "",
    metadata: Mapping[str, Any] | None = None,
    pip_requirements: Sequence[str] | None = None,
    extra_pip_requirements: Sequence[str] = (),
    **options: Any,
) -> ModelInfo:
    """Write a model into a folder that is made, in MLflow's format.

    Args:
        model: What a supported framework made.
        path: The folder; it must not hold anything yet.
        flavor: The framework; found from the model by default.
        input_example: Some rows of input; the first ones are kept.
        keeps_example: Whether the example is written; else it only serves to find the form of input and output.
        signature: Ours or MLflow's; found with the input example by default. False: none.
        name: What people call it.
        model_id: The id of the logged model that it becomes.
        run_id: The run that made it.
        metadata: Kept in MLmodel.
        pip_requirements: Instead of those that are found. Code of one's own is asked for the example in another process to find them.
        extra_pip_requirements: Besides those.
        **options: What the flavor takes, such as `serialization_format`.

    Raises:
        InvalidInput: If no flavor takes the model, or the folder is not empty.
    """
    folder = Path(path)
    if folder.exists() and any(folder.iterdir()):
        raise InvalidInput(f"The folder '{folder}' is not empty.")
    folder.mkdir(parents=True, exist_ok=True)
    input_example = as_rows(input_example, flavor or flavors.name_of(model))
    example = first_rows(input_example) if _has_rows(input_example) else input_example
    form = None if signature is False else signature_of(signature)
    module = flavors.named(flavor) if flavor else flavors.flavor_of(model)
    request = Request(folder=folder, example=example, signature=form, options=dict(options))
    if form is None and signature is not False and example is not None:
        request.signature = form = infer_signature(example, module.predict(model, request))
    if not keeps_example and type(example).__module__ == "numpy":
        import numpy

        request.example = numpy.zeros_like(example)  # an exported graph holds the values that it was traced with
    parts = module.save(model, request)
    info = None if example is None or not keeps_example else write_example(folder, example)
    needed = list(pip_requirements) if pip_requirements is not None else environment.requirements(parts.packages)
    environment.write_environment(folder, [*needed, *extra_pip_requirements])
    known = dict(parts.flavors)
    if parts.pyfunc is not None:
        env = {"conda": environment.CONDA_FILE, "virtualenv": environment.PYTHON_FILE}
        known["python_function"] = {"env": env, "python_version": platform.python_version(), **parts.pyfunc}
    written = ModelInfo(
        name=name,
        model_id=model_id or f"m-{secrets.token_hex(16)}",
        run_id=run_id,
        model_uri=f"models:/{model_id}" if model_id else str(folder),
        flavors=known,
        signature=form,
        model_uuid=uuid.uuid4().hex,
        utc_time_created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        tags=parts.tags,
    )
    _write_mlmodel(folder, written, run_id, model_id, info, metadata)
    if pip_requirements is None and info is not None and "mlops_nb" in known and set(known) <= {"mlops_nb", "python_function"}:
        # Of frameworks it is known what they need; code of one's own imports what it likes, when it likes.
        found = imported_by(folder)
        if found:
            environment.write_environment(folder, [*environment.requirements([*parts.packages, *found]), *extra_pip_requirements])
            _write_mlmodel(folder, written, run_id, model_id, info, metadata)
    trust.remember(folder)
    return written


def _has_rows(example: Any) -> bool:
    return hasattr(example, "shape") or hasattr(example, "iloc") or isinstance(example, Mapping)


def _write_mlmodel(
    folder: Path, written: ModelInfo, run_id: str, model_id: str, example: Mapping[str, Any] | None, metadata: Mapping[str, Any] | None
) -> None:
    content: dict[str, Any] = {
        "artifact_path": f"models:/{model_id}" if model_id else written.name,
        "flavors": written.flavors,
        "is_signature_from_type_hint": False,
        "mlflow_version": FORMAT_VERSION,
        "model_id": model_id or None,
        "model_size_bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "model_uuid": written.model_uuid,
        "prompts": None,
        "type_hint_from_example": False,
        "utc_time_created": written.utc_time_created,
    }
    if run_id:
        content["run_id"] = run_id
    if metadata:
        content["metadata"] = dict(metadata)
    if example is not None:
        content["saved_input_example_info"] = dict(example)
    if written.signature is not None:
        content["signature"] = written.signature.to_dict()
    (folder / MLMODEL_FILE).write_text(yaml.safe_dump(content, default_flow_style=False), encoding="utf-8")
