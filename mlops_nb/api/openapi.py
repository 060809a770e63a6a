"""The OpenAPI 3.1 description, derived from the table of operations.

python -m mlops_nb.api.openapi           print it
python -m mlops_nb.api.openapi --write   write it to mlops_nb/api/openapi.json, which a test holds equal
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from mlops_nb.api.operation import Operation, Permission, Stream
from mlops_nb.api.table import OPERATIONS

FILE = Path(__file__).with_name("openapi.json")
_REF = "#/components/schemas/{name}"
_GREEDY = re.compile(r"\{(\w+)\.\.\.\}")
_MLFLOW = re.compile(r"mlops_nb\.api\.mlflow\.\w+\.")
_OURS = re.compile(r"mlops_nb\.(?:core\.wire|api\.v1\.\w+)\.")
_NAME = re.compile(r"\{(\w+)(?:\.\.\.)?\}")


def document() -> dict[str, Any]:
    """Return the description as JSON data."""
    types = list(dict.fromkeys(t for o in OPERATIONS for t in (o.request, o.answer) if _is_struct(t)))
    references, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    named = dict(zip(types, references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        for number, (method, path) in enumerate(operation.routes):
            name = operation.name if number == 0 else f"{operation.name}.{number + 1}"
            paths.setdefault(_GREEDY.sub(r"{\1}", path), {})[method.lower()] = _operation(operation, name, method, path, named)
    spoken_of = json.dumps([paths, schemas])
    used = {name: schema for name, schema in schemas.items() if json.dumps(_REF.format(name=name)) in spoken_of}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mlops_nb",
            "version": "1",
            "description": "Served below {base_url}mlops. /api/v1 is our own API; the other paths are MLflow's.",
        },
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "The token of the Jupyter server."}},
            "schemas": {**used, "Error": _error_schema()},
            "responses": {
                "Error": {
                    "description": "It failed; the message says why.",
                    "content": {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}},
                }
            },
        },
    }


def text() -> str:
    """Return the description as the text of the committed file."""
    plain = json.dumps(document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    # Types of one name in two modules are told apart by their module; ours are shorter with the API's name.
    return _OURS.sub("", _MLFLOW.sub("MLflow", plain))


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind is not Stream


def _operation(operation: Operation, name: str, method: str, path: str, named: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    in_path = _NAME.findall(path)
    entry: dict[str, Any] = {
        "operationId": name,
        "summary": operation.summary,
        "x-permission": operation.permission.value,
        "responses": {"200": _answer(operation, named), "default": {"$ref": "#/components/responses/Error"}},
    }
    if operation.permission is Permission.TICKET:
        entry["security"] = []
    elif operation.agent is not None:
        entry["x-agent"] = operation.agent.value
    info = msgspec.inspect.type_info(operation.request)
    assert isinstance(info, msgspec.inspect.StructType)
    own = msgspec.json.schema_components([operation.request], ref_template=_REF)[1]
    properties = own[operation.request.__name__]["properties"]
    parameters = [{"name": field, "in": "path", "required": True, "schema": {"type": "string"}} for field in in_path]
    if method in ("GET", "HEAD") or operation.upload:
        parameters += [
            {"name": field.encode_name, "in": "query", "required": field.required, "schema": properties[field.encode_name]}
            for field in info.fields
            if field.encode_name not in in_path
        ]
    elif any(field.encode_name not in in_path for field in info.fields):
        entry["requestBody"] = {"required": True, "content": {"application/json": {"schema": named[operation.request]}}}
    if operation.upload:
        entry["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    if parameters:
        entry["parameters"] = parameters
    return entry


def _answer(operation: Operation, named: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    if operation.answer is str:
        return {"description": "A line of text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    if operation.answer is Stream:
        return {"description": "The bytes of the file.", "content": {"application/octet-stream": {}}}
    return {"description": "Done.", "content": {"application/json": {"schema": named[operation.answer]}}}


def _error_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["error_code", "message"],
        "properties": {
            "error_code": {"type": "string", "description": "One of MLflow's error codes."},
            "message": {"type": "string"},
            "hint": {"type": "string", "description": "What to do next."},
            "position": {"type": ["integer", "null"], "description": "In a filter: the offset of the first wrong character."},
        },
    }


def main() -> None:
    """Print the description, or write the committed file."""
    if "--write" in sys.argv[1:]:
        FILE.write_text(text(), encoding="utf-8")
    else:
        sys.stdout.write(text())


if __name__ == "__main__":
    main()
