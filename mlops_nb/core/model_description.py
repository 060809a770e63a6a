"""What a model folder says about itself: the file MLmodel, read for people, whoever wrote it."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from mlops_nb.core.records import Record

MLMODEL_FILE = "MLmodel"
MAX_MLMODEL = 1_000_000
"""Longer files (bytes) are not read."""

_MAX_FIELDS = 2000
_MAX_TEXT = 300
_MAX_AXES = 16


class Field(Record, frozen=True, kw_only=True):
    """A column or tensor of a signature. `type` is for people: `double`, `float32 [-1, 28, 28]`; `name` may be empty."""

    name: str = ""
    type: str
    required: bool = True


class FlavorInfo(Record, frozen=True, kw_only=True):
    """A flavor and the version of its library, where it says so."""

    name: str
    version: str = ""


class ModelDescription(Record, frozen=True, kw_only=True):
    """A model for people. `signature` lists are None where nothing is known; `uri` is what loads it.

    `problem` says why nothing more is known.
    """

    uri: str
    name: str = ""
    model_id: str = ""
    step: int | None = None
    status: str = ""
    model_type: str = ""
    created: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    flavors: list[FlavorInfo] = []
    inputs: list[Field] | None = None
    outputs: list[Field] | None = None
    problem: str = ""


def described(description: ModelDescription, text: bytes) -> ModelDescription:
    """Return a description with what MLmodel says. Nothing that stands there can make it fail.

    Args:
        description: What is known already.
        text: The file MLmodel.
    """
    try:
        content = msgspec.yaml.decode(text)
    except Exception as error:  # noqa: BLE001  # a file that anybody can upload: the YAML library raises many kinds
        return msgspec.structs.replace(description, problem=f"MLmodel cannot be read: {str(error)[:_MAX_TEXT]}")
    if not isinstance(content, dict):
        return msgspec.structs.replace(description, problem="MLmodel is no mapping.")
    signature = content.get("signature")
    signature = signature if isinstance(signature, dict) else {}
    flavors = content.get("flavors")
    return msgspec.structs.replace(
        description,
        created=_text(content.get("utc_time_created")),
        flavors=[_flavor(name, facts) for name, facts in flavors.items()] if isinstance(flavors, dict) else [],
        inputs=_fields(signature.get("inputs")),
        outputs=_fields(signature.get("outputs")),
    )


def _flavor(name: object, facts: object) -> FlavorInfo:
    found = facts if isinstance(facts, dict) else {}
    version = next((value for key, value in found.items() if str(key).endswith("_version") and str(key) != "python_version"), "")
    return FlavorInfo(name=_text(name), version=_text(version))


def _fields(text: object) -> list[Field] | None:
    try:
        fields = msgspec.json.decode(text) if isinstance(text, str) else text
    except (msgspec.MsgspecError, RecursionError):
        return None
    if not isinstance(fields, list):
        return None
    return [_field(field) for field in fields[:_MAX_FIELDS] if isinstance(field, dict)]


def _field(field: dict[str, Any]) -> Field:
    spec = field.get("tensor-spec")
    word = _text(field.get("type"))
    if isinstance(spec, dict):
        shape = spec.get("shape")
        sizes = ", ".join(map(_text, shape[:_MAX_AXES])) if isinstance(shape, list) else ""
        word = f"{_text(spec.get('dtype'))} [{sizes}]"
    return Field(name=_text(field.get("name")), type=word, required=field.get("required") is not False)


def _text(value: object) -> str:
    # Only plain values: a few lines of YAML can stand for a list whose text fills the memory.
    return str(value)[:_MAX_TEXT] if isinstance(value, str | int | float | date) else ""
