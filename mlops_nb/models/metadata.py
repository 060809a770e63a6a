"""Reading `MLmodel`, whoever wrote it: nothing in it is run, and no path in it leads out of the folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.models.signature import Signature

MLMODEL_FILE = "MLmodel"
MAX_BYTES = 20_000_000
_MAX_ALIASES = 200
_MAX_DEPTH = 60
_MAX_FIELDS = 100_000


class ModelMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What `MLmodel` says.

    Attributes:
        flavors: By the name of a flavor, what it needs to load the model.
        signature: The form of what goes in and comes out; None where nobody said.
        model_id: The id of the logged model, or "".
        run_id: The run that made it, or "".
        name: What people call it, or where it was in the run.
        model_uuid: Of the folder.
        mlflow_version: Of the format.
        utc_time_created: As it was written.
        input_example: Where the input example is, and how it is written; None where there is none.
        metadata: What people said about it.
        checks_itself: Whether the model was written with type hints, which check what comes in instead of the signature.
    """

    flavors: dict[str, dict[str, Any]]
    signature: Signature | None = None
    model_id: str = ""
    run_id: str = ""
    name: str = ""
    model_uuid: str = ""
    mlflow_version: str = ""
    utc_time_created: str = ""
    input_example: dict[str, Any] | None = None
    metadata: dict[str, Any] = {}
    checks_itself: bool = False

    @property
    def pyfunc(self) -> dict[str, Any] | None:
        """What the generic loader needs; None if the model answers no generic `predict`."""
        return self.flavors.get("python_function")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain values only, and not so many references or levels that reading them takes for ever."""

    _aliases = 0
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            self._aliases += 1
            if self._aliases > _MAX_ALIASES:
                raise yaml.YAMLError(f"more than {_MAX_ALIASES} references")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise yaml.YAMLError(f"more than {_MAX_DEPTH} levels")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def read_metadata(folder: str | Path) -> ModelMetadata:
    """Read what a model folder says about itself.

    Raises:
        NotFound: If there is no `MLmodel`.
        InvalidInput: If it cannot be right; names what.
    """
    path = Path(folder) / MLMODEL_FILE
    content = read_yaml(path)
    flavors = content.get("flavors")
    if not isinstance(flavors, Mapping) or not all(isinstance(about, Mapping) for about in flavors.values()):
        raise _wrong(path, "it names no flavors")
    example = content.get("saved_input_example_info")
    return ModelMetadata(
        flavors={str(name): dict(about) for name, about in flavors.items()},
        signature=_signature(content.get("signature"), path),
        model_id=_text(content.get("model_id")),
        run_id=_text(content.get("run_id")),
        name=_text(content.get("artifact_path")),
        model_uuid=_text(content.get("model_uuid")),
        mlflow_version=_text(content.get("mlflow_version")),
        utc_time_created=_text(content.get("utc_time_created")),
        input_example=dict(example) if isinstance(example, Mapping) else None,
        metadata=dict(content["metadata"]) if isinstance(content.get("metadata"), Mapping) else {},
        checks_itself=content.get("is_signature_from_type_hint") is True,
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        NotFound: If it is not there.
        InvalidInput: If it is too large, has tags, or holds something else.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _wrong(path, f"it is larger than {MAX_BYTES // 1_000_000} MB")
        with path.open(encoding="utf-8") as file:
            content = yaml.load(file, _Loader)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"There is no {path.name} in '{path.parent}'.", hint="A model folder holds a file of that name.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _wrong(path, " ".join(str(error).split())[:300] or type(error).__name__) from None
    if not isinstance(content, dict):
        raise _wrong(path, "it holds no mapping")
    return content


def inside(folder: Path, relative: object) -> Path:
    """Return a path that a model folder names, if it is in the folder.

    Raises:
        InvalidInput: If it leads out of it.
    """
    path = folder / str(relative)
    if not isinstance(relative, (str, Path)) or not path.resolve().is_relative_to(folder.resolve()):
        raise InvalidInput(f"MLmodel names '{relative}', which is not in the folder '{folder}'.", hint="The folder is damaged or hostile.")
    return path


def _wrong(path: Path, why: str) -> InvalidInput:
    return InvalidInput(f"{path} cannot be read: {why}.", hint="The folder is damaged or hostile: get the model anew.")


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _signature(given: object, path: Path) -> Signature | None:
    if not isinstance(given, Mapping):
        return None
    lists: dict[str, Any] = {}
    for name in ("inputs", "outputs", "params"):
        try:
            fields = json.loads(given[name]) if isinstance(given.get(name), str) else given.get(name)
        except (ValueError, RecursionError):
            raise _wrong(path, f"the {name} of its signature are no JSON") from None
        right = fields is None or (isinstance(fields, list) and all(isinstance(field, dict) for field in fields))
        if not right or len(fields or ()) > _MAX_FIELDS:
            raise _wrong(path, f"the {name} of its signature are no list of fields")
        lists[name] = fields or None
    return Signature(**lists) if any(lists.values()) else None
