"""From a prediction to the body of an answer, with the values that MLflow's scoring server writes."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from mlops_nb.serving.failures import ScoringFailure

_encode = msgspec.json.Encoder().encode


def predictions_body(prediction: Any) -> bytes:
    """Return `{"predictions": ...}`. What is not finite is written as Python writes it: NaN, Infinity."""
    plain = plain_list(prediction)
    if plain is not None:
        return b'{"predictions":' + _encode(plain) + b"}"
    return json.dumps({"predictions": _jsonable(prediction)}, default=_default).encode()


def unwrapped_body(prediction: Any) -> bytes:
    """Return the prediction alone: the answer of a chat model."""
    return json.dumps(_jsonable(prediction), default=_default).encode()


def plain_list(prediction: Any) -> list[Any] | None:
    """Return an array of finite numbers or texts as lists; None for anything else."""
    kind = getattr(getattr(prediction, "dtype", None), "kind", "")
    if not hasattr(prediction, "ndim") or hasattr(prediction, "index") or kind not in "iubfU" or not kind:
        return None
    if kind == "f":
        import numpy

        if not numpy.isfinite(prediction).all():
            return None
    return prediction.tolist()  # type: ignore[no-any-return]  # whose dtype says that it holds plain values


def _jsonable(value: Any) -> Any:
    if hasattr(value, "to_frame") and not hasattr(value, "columns"):
        value = value.to_frame()
    if hasattr(value, "columns") and hasattr(value, "to_dict"):
        return value.to_dict(orient="records")
    return value.tolist() if hasattr(value, "tolist") and hasattr(value, "dtype") else value


def _default(value: Any) -> Any:
    """Return what JSON has no word for as MLflow writes it."""
    if hasattr(value, "tolist"):  # arrays, and single values of numpy
        return value.tolist()
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if isinstance(value, (bytes, bytearray)):
        return base64.encodebytes(value).decode("ascii")
    if isinstance(value, (datetime.date, datetime.datetime, datetime.time)):
        return value.isoformat()
    if hasattr(value, "columns") or hasattr(value, "to_frame"):
        return _jsonable(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def split(prediction: Any, sizes: list[int]) -> list[Any]:
    """Return the parts of a prediction that belong to requests of so many rows each.

    Raises:
        ScoringFailure: If the prediction does not have a row for each row.
    """
    length = len(prediction)
    if length != sum(sizes):
        raise ScoringFailure(f"The model answered {sum(sizes)} rows with {length}.", "INTERNAL_ERROR")
    parts, at = [], 0
    rows = prediction.iloc if hasattr(prediction, "iloc") else prediction
    for size in sizes:
        parts.append(rows[at : at + size])
        at += size
    return parts


# -- the open inference protocol

_TO_V2 = {
    "bool": "BOOL",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}


def v2_type(numpy_type: str | None) -> str:
    """Return the protocol's word for a type of numpy; texts and everything else are BYTES."""
    return _TO_V2.get(numpy_type or "", "BYTES")


def v2_body(prediction: Any, *, model: str, version: str, request_id: str | None) -> bytes:
    """Return the answer of `/v2/models/{name}/infer`."""
    document: dict[str, Any] = {"model_name": model, "model_version": version}
    if request_id is not None:
        document["id"] = request_id
    document["outputs"] = [_v2_output(name, value) for name, value in _named(prediction)]
    try:
        return _encode(document)
    except (TypeError, msgspec.MsgspecError):
        return json.dumps(document, default=_default).encode()


def _named(prediction: Any) -> list[tuple[str, Any]]:
    if hasattr(prediction, "columns"):
        return [(str(name), prediction[name]) for name in prediction.columns]
    if isinstance(prediction, Mapping):
        return [(str(name), value) for name, value in prediction.items()]
    return [("predict", prediction)]


def _v2_output(name: str, value: Any) -> dict[str, Any]:
    import numpy

    array = numpy.asarray(value)
    if array.ndim == 0:
        array = array.reshape(1)
    kind = v2_type(str(array.dtype))
    shape = list(array.shape) if array.ndim > 1 else [array.shape[0], 1]
    data = array.ravel().tolist()
    if kind.startswith("FP") and not numpy.isfinite(array).all():
        data = [one if one == one and abs(one) != float("inf") else None for one in data]
    if kind == "BYTES":
        data = [one if isinstance(one, str) else json.dumps(_jsonable(one), default=_default) for one in data]
    return {"name": name, "shape": shape, "datatype": kind, "data": data}
