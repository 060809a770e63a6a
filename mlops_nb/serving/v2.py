"""The open inference protocol (KServe V2): reading `infer`, and telling of the model.

Source: https://github.com/kserve/open-inference-protocol, the REST part. Data come as JSON; the binary extension is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops_nb.serving.answers import v2_type
from mlops_nb.serving.failures import ScoringFailure, invalid, too_large
from mlops_nb.serving.invocations import Asked, loads
from mlops_nb.serving.schema import Field, InputSchema, numpy_type

_FROM_V2 = {
    "BOOL": "bool",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
_MOST_INPUTS = 10_000


def read_infer(body: bytes, schema: InputSchema, max_rows: int) -> tuple[Asked, str | None]:
    """Read the body of `POST /v2/models/{name}/infer` and return what it asks, and its id.

    Raises:
        ScoringFailure: If it cannot be read.
    """
    document = loads(body)
    if not isinstance(document, dict):
        raise invalid("An inference request is a JSON object with 'inputs'.")
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise invalid("'id' must be a text.")
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise invalid("'inputs' must be a list of at least one tensor.")
    if len(inputs) > _MOST_INPUTS:
        raise too_large(f"The request has {len(inputs)} inputs; at most {_MOST_INPUTS} are taken.")
    tensors = [_tensor(one, max_rows) for one in inputs]
    params = document.get("parameters")
    named = dict(tensors)
    if len(named) != len(tensors):
        raise invalid("Two inputs have the same name.")
    return _asked(named, schema, _model_params(params)), request_id


def _model_params(given: Any) -> dict[str, Any] | None:
    """Return what `parameters` says to the model; `content_type` and `headers` are for servers."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise invalid("'parameters' must be an object.")
    return {key: value for key, value in given.items() if key not in ("content_type", "headers", "binary_data_output")} or None


def _tensor(given: Any, max_rows: int) -> tuple[str, Any]:
    import numpy

    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise invalid("Each input needs a 'name', a 'shape', a 'datatype' and 'data'.")
    name, shape, kind = given["name"], given.get("shape"), given.get("datatype")
    shown = name[:100]
    if kind not in _FROM_V2:
        raise invalid(f"The input '{shown}' has the datatype {str(kind)[:40]!r}. Known ones: {', '.join(_FROM_V2)}.")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 32:
        raise invalid(f"The shape of the input '{shown}' must be a list of whole numbers.")
    if "data" not in given:
        raise invalid(f"The input '{shown}' has no 'data'; binary data are not taken.")
    if shape and shape[0] > max_rows:
        raise too_large(f"The input '{shown}' has {shape[0]} rows; this server takes {max_rows} at a time.")
    try:
        array = numpy.array(given["data"], dtype=_FROM_V2[kind])
        return name, array.reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid(f"The data of the input '{shown}' are no {kind} of the shape {shape}: {error}.") from None


def _asked(tensors: dict[str, Any], schema: InputSchema, params: dict[str, Any] | None) -> Asked:
    arrays = list(tensors.values())
    first = arrays[0]
    rows = int(first.shape[0]) if first.ndim else 1
    if len(arrays) == 1 and not (schema.has_names and set(tensors) == set(schema.names)):
        if schema.fits(first) and first.dtype.kind in "iuf":
            wanted = numpy_type(schema.fields[0])
            if first.dtype == wanted or (first.dtype.kind != "f" and str(wanted) in ("float64", "int64")):
                return Asked(None, first.astype(wanted, copy=False), params, rows)
        if schema.has_names and first.ndim == 2 and first.shape[1] == len(schema.names):
            return _frame({name: first[:, place] for place, name in enumerate(schema.names)}, schema, params, rows)
        if schema.has_names and not schema.is_tensors:
            wanted_names = ", ".join(schema.names[:20])
            raise invalid(f"The model takes {len(schema.names)} columns ({wanted_names}); the input has the shape {list(first.shape)}.")
        return Asked(first, None, params, rows)
    if any(one.ndim == 0 or one.shape[0] != rows for one in arrays):
        raise invalid("All inputs must have as many rows.")
    if schema.is_tensors:
        return Asked(tensors, None, params, rows)
    columns = {name: one.reshape(rows) if one.size == rows else list(one) for name, one in tensors.items()}
    return _frame(columns, schema, params, rows)


def _frame(columns: dict[str, Any], schema: InputSchema, params: dict[str, Any] | None, rows: int) -> Asked:
    import pandas

    array = schema.array_of_columns(columns) if all(getattr(one, "dtype", None) is not None for one in columns.values()) else None
    if array is not None:
        return Asked(None, array, params, rows)
    frame = pandas.DataFrame(columns)
    for name, field in schema.by_name.items():
        kind = numpy_type(field)
        if name in frame.columns and kind not in (None, "object") and frame[name].dtype != kind:
            try:
                frame[name] = frame[name].astype(kind)
            except (TypeError, ValueError) as error:
                raise invalid(f"The column '{name[:100]}' cannot be read as {kind}: {error}.") from None
    return Asked(frame, None, params, rows)


def tensors_of(fields: list[Field] | None, unnamed: str) -> list[dict[str, Any]]:
    """Return the fields of a signature as the protocol tells of them."""
    told = []
    for place, field in enumerate(fields or []):
        shape = field["tensor-spec"]["shape"] if field["type"] == "tensor" else [-1, 1]
        name = field.get("name")
        told.append(
            {"name": str(name if name is not None else unnamed + str(place)), "datatype": v2_type(numpy_type(field)), "shape": shape}
        )
    return told


def error_body(failure: ScoringFailure) -> bytes:
    """Return the protocol's body of an error."""
    import json

    return json.dumps({"error": failure.message}).encode()
