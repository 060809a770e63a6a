"""Between what notebooks hold and what travels: tables and arrays to requests, answers back to arrays and tables."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from mlops_nb.models.signature import to_plain


def request_of(data: Any, params: Mapping[str, Any] | None = None) -> bytes:
    """Return the body of `POST /invocations` that asks for the prediction of some data.

    Args:
        data: A table, an array, a mapping of names to arrays, or a list of rows. Gaps travel as null.
        params: Of the request.
    """
    data = to_plain(data)
    if hasattr(data, "to_frame") and not hasattr(data, "columns"):
        data = data.to_frame()
    if hasattr(data, "columns") and hasattr(data, "to_dict"):
        table = data.to_dict(orient="split", index=False)
        document: dict[str, Any] = {"dataframe_split": {"columns": table["columns"], "data": table["data"]}}
    elif isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        document = {"dataframe_records": data}
    elif isinstance(data, Mapping):
        document = {"inputs": {str(name): to_plain(values) for name, values in data.items()}}
    else:
        document = {"inputs": data.toarray() if hasattr(data, "tocsr") else data}
    if params:
        document["params"] = dict(params)
    return _encode(document)


def _plain(value: Any) -> Any:
    """Return what JSON has no word for as MLflow's server reads it."""
    if hasattr(value, "isoformat"):
        return value.isoformat() if value == value else None  # NaT
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "detach"):
        return to_plain(value)
    raise TypeError(f"A {type(value).__name__} cannot travel as JSON.")


_encoder = msgspec.json.Encoder(enc_hook=_plain)


def _encode(document: Any) -> bytes:
    try:
        return _encoder.encode(document)
    except TypeError:
        return _encoder.encode(_by_text(document))


def _by_text(value: Any) -> Any:
    """Return a document whose keys are texts and whose bytes are as MLflow writes them."""
    if isinstance(value, Mapping):
        return {str(key): _by_text(one) for key, one in value.items()}
    if isinstance(value, (bytes, bytearray)):
        return base64.encodebytes(value).decode("ascii")
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [_by_text(one) for one in value] if isinstance(value, (list, tuple)) else value


def prediction_of(body: bytes) -> Any:
    """Return the predictions of an answer: an array, or a table where each row is a record."""
    import json

    document = json.loads(body)  # knows NaN, which MLflow's servers write
    predictions = document.get("predictions", document) if isinstance(document, dict) else document
    if isinstance(predictions, list) and predictions and all(isinstance(row, dict) for row in predictions):
        import pandas

        return pandas.DataFrame(predictions)
    if isinstance(predictions, list):
        import numpy

        try:
            return numpy.asarray(predictions)
        except ValueError:  # rows of different lengths
            return predictions
    return predictions
