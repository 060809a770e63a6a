"""The input example of a model folder: a few rows, as MLflow keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_nb.errors import InvalidInput
from mlops_nb.models.signature import Signature, to_plain

EXAMPLE_FILE = "input_example.json"
SERVING_FILE = "serving_input_example.json"
ROWS = 5


def first_rows(data: Any, rows: int = ROWS) -> Any:
    """Return a copy of the first rows of an array or a table, or of each array of a mapping; None where it has no rows."""
    data = to_plain(data)
    if data is None:
        return None
    if isinstance(data, Mapping):
        return {name: first_rows(value, rows) if hasattr(to_plain(value), "shape") else value for name, value in data.items()}
    if hasattr(data, "iloc"):
        return data.iloc[:rows].copy()
    if hasattr(data, "tocsr"):
        return data.tocsr()[:rows]
    if isinstance(data, (list, tuple)):
        import numpy

        return numpy.asarray(data[:rows])
    return data[:rows].copy() if hasattr(data, "shape") and len(data.shape) > 0 else None


_TABULAR = ("sklearn", "xgboost", "lightgbm", "catboost", "statsmodels")
_NUMERIC = (*_TABULAR, "keras", "pytorch", "onnx")


def as_rows(example: Any, flavor: str) -> Any:
    """Return what a list stands for, where the framework takes tables or arrays: records a table, rows of numbers an array."""
    import numpy

    if not isinstance(example, (list, tuple)) or not example:
        return example
    if flavor in _TABULAR and all(isinstance(one, Mapping) for one in example):
        import pandas

        return pandas.DataFrame(list(example))
    if flavor in _NUMERIC and all(isinstance(one, (list, tuple, numpy.ndarray)) for one in example):
        try:
            array = numpy.asarray(example)
        except ValueError:
            raise InvalidInput("The rows of the example have different lengths.", hint="Give as many values in each row.") from None
        return array if array.dtype.kind in "biuf" else example
    return example


def write_example(folder: Path, example: Any) -> dict[str, Any] | None:
    """Write the example and the request that serves it; return what MLmodel says about it, None if it has no form there."""
    import numpy

    example = to_plain(example)
    if hasattr(example, "tocsr"):
        return None
    if hasattr(example, "to_frame") and not hasattr(example, "columns"):
        example = example.to_frame()
    if hasattr(example, "columns"):
        table = example.to_dict(orient="split")
        split = {"columns": [_plain(name) for name in table["columns"]], "data": _plain(table["data"])}
        _write(folder, split, {"dataframe_split": split})
        return {**_INFO, "type": "dataframe", "pandas_orient": "split"}
    if isinstance(example, Mapping):
        arrays = {name: to_plain(value) for name, value in example.items()}
        if all(isinstance(value, numpy.ndarray) for value in arrays.values()):
            values = {name: _plain(value) for name, value in arrays.items()}
            _write(folder, values, {"inputs": values})
            return {**_INFO, "type": "ndarray"}
    if isinstance(example, numpy.ndarray):
        values = _plain(example)
        _write(folder, values, {"inputs": values})
        return {**_INFO, "type": "ndarray"}
    _write(folder, _plain(example), {"inputs": _plain(example)})
    return {**_INFO, "type": "json_object"}


_INFO = {"artifact_path": EXAMPLE_FILE, "serving_input_path": SERVING_FILE}


def _write(folder: Path, example: Any, request: Any) -> None:
    (folder / EXAMPLE_FILE).write_text(json.dumps(example), encoding="utf-8")
    (folder / SERVING_FILE).write_text(json.dumps(request, indent=2), encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: gaps as null, times in ISO's form."""
    import base64

    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (bytes, bytearray)):
        return base64.encodebytes(value).decode("ascii")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if value != value:  # NaN, NaT
        return None
    return value if isinstance(value, float) else value.isoformat() if hasattr(value, "isoformat") else str(value)


MAX_EXAMPLE_BYTES = 50_000_000


def read_example(folder: Path, info: Mapping[str, Any] | None, signature: Signature | None) -> Any:
    """Return the example of a folder that we or MLflow wrote, in the form in which it was given; None where it has none.

    Raises:
        InvalidInput: If it cannot be read.
    """
    from mlops_nb.models.metadata import inside

    if not info:
        return None
    path = inside(folder, info.get("artifact_path", EXAMPLE_FILE))
    try:
        if path.stat().st_size > MAX_EXAMPLE_BYTES:
            raise InvalidInput(f"The input example {path.name} is larger than {MAX_EXAMPLE_BYTES // 1_000_000} MB.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"The input example {path.name} cannot be read: {error}.", hint="The folder is damaged.") from None
    return _as_given(content, str(info.get("type")), info, signature)


def _as_given(content: Any, kind: str, info: Mapping[str, Any], signature: Signature | None) -> Any:
    fields = signature.inputs if signature is not None else None
    try:
        if kind == "dataframe":
            return _as_table(content, str(info.get("pandas_orient", "split")), fields)
        if kind == "ndarray":
            return _as_arrays(content.get("inputs", content) if isinstance(content, dict) else content, fields)
        if kind.startswith("sparse_matrix"):
            from scipy import sparse

            form = sparse.csc_matrix if kind.endswith("csc") else sparse.csr_matrix
            return form((content["data"], content["indices"], content["indptr"]), shape=tuple(content["shape"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(f"The input example is no {kind}: {error}.", hint="The folder is damaged.") from None
    return content


def _as_table(content: Any, orient: str, fields: Any) -> Any:
    import base64

    import pandas

    if orient == "records" or isinstance(content, list):
        table = pandas.DataFrame(content)
    else:
        table = pandas.DataFrame(content["data"], columns=content.get("columns"), index=content.get("index"))
    words = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64", "boolean": "bool"}
    for place, field in enumerate(fields or ()):
        name = field.get("name", table.columns[place] if place < len(table.columns) else None)
        if name not in table:
            continue
        if field["type"] == "datetime":
            table[name] = pandas.to_datetime(table[name])
        elif field["type"] == "binary":
            table[name] = [base64.decodebytes(text.encode("ascii")) if isinstance(text, str) else text for text in table[name]]
        elif (field["type"] in words and not table[name].isna().any()) or field["type"] in ("float", "double"):
            table[name] = table[name].astype(words[field["type"]])
    return table


def _as_arrays(content: Any, fields: Any) -> Any:
    import numpy

    kinds = {field.get("name"): field["tensor-spec"]["dtype"] for field in fields or () if field["type"] == "tensor"}
    if isinstance(content, Mapping):
        return {name: numpy.array(values, dtype=kinds.get(name)) for name, values in content.items()}
    return numpy.array(content, dtype=kinds.get(None))
