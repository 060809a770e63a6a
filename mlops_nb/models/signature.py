"""The signature of a model: the form of what goes in and comes out, in MLflow's words.

An array is a tensor with a type and a shape whose first axis is free; a table has columns with types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from mlops_nb.errors import InvalidInput

Field = dict[str, Any]


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs, outputs and params of a model; each a list of fields, or None where unknown."""

    inputs: list[Field] | None = None
    outputs: list[Field] | None = None
    params: list[Field] | None = None

    def to_dict(self) -> dict[str, str | None]:
        """Return what stands in MLmodel: the three lists, each as a JSON text."""
        return {name: None if fields is None else json.dumps(fields) for name, fields in msgspec.structs.asdict(self).items()}

    @property
    def is_tensors(self) -> bool:
        """Whether the inputs are tensors."""
        return bool(self.inputs) and all(field["type"] == "tensor" for field in self.inputs or ())


def signature_of(given: Any) -> Signature | None:
    """Return a signature that somebody made, here or with MLflow, as ours; None for None.

    Raises:
        InvalidInput: If it is no signature.
    """
    if given is None or isinstance(given, Signature):
        return given
    as_dict = getattr(given, "to_dict", None)
    if as_dict is None:
        raise InvalidInput(f"A {type(given).__name__} is no signature.", hint="Make one: mlops_nb.models.infer_signature(X, prediction)")
    return Signature(**{name: None if text is None else json.loads(text) for name, text in as_dict().items() if name in _LISTS})


_LISTS = ("inputs", "outputs", "params")


def infer_signature(model_input: Any = None, model_output: Any = None, params: Mapping[str, Any] | None = None) -> Signature:
    """Return the signature of a model that takes such an input and gives such an output.

    Args:
        model_input: An array, a table, a mapping of names to arrays, or a list.
        model_output: The same.
        params: What may be given with a request, with its default.

    Raises:
        InvalidInput: If there is no word for a type.
    """
    return Signature(
        inputs=None if model_input is None else fields_of(model_input),
        outputs=None if model_output is None else fields_of(model_output),
        params=[_param(name, value) for name, value in params.items()] if params else None,
    )


def fields_of(data: Any) -> list[Field]:
    """Return the fields of an array, a table, a mapping of arrays or a list of values."""
    import numpy

    data = to_plain(data)
    if isinstance(data, numpy.ndarray):
        return [_tensor(data)]
    if isinstance(data, Mapping):
        arrays = {name: to_plain(value) for name, value in data.items()}
        if all(isinstance(value, numpy.ndarray) for value in arrays.values()):
            return [{"name": name, **_tensor(value)} for name, value in arrays.items()]
        return [_column(values if isinstance(values, (list, tuple)) else [values], name) for name, values in data.items()]
    if hasattr(data, "columns") and hasattr(data, "dtypes"):
        return [_column(data[name], name) for name in data.columns]
    if hasattr(data, "dtype") and hasattr(data, "index"):
        return [_column(data, data.name)]
    if hasattr(data, "tocsr"):
        return [_tensor(data)]
    values = data if isinstance(data, (list, tuple)) else [data]
    return [_column(values, None)]


def to_plain(data: Any) -> Any:
    """Return a tensor of torch or another library as an array of numpy, and anything else as it is."""
    if type(data).__module__.startswith("torch"):
        return data.detach().cpu().numpy()
    if type(data).__module__.startswith("polars") and hasattr(data, "to_pandas"):
        return data.to_pandas()
    return data


def _tensor(array: Any) -> Field:
    kind = array.dtype
    word = {"U": "str", "S": "bytes"}.get(kind.char, str(kind))
    return {"type": "tensor", "tensor-spec": {"dtype": word, "shape": [-1, *(int(n) for n in array.shape[1:])]}}


def _column(values: Any, name: Any) -> Field:
    kind = _type_of(values)
    field: Field = {"type": kind} if name is None else {"type": kind, "name": name}
    return {**field, "required": name is None or not _has_gaps(values)}


def _has_gaps(values: Any) -> bool:
    if hasattr(values, "isna"):
        return bool(values.isna().any())
    return any(value is None or value != value for value in values)


def _type_of(values: Any) -> str:
    dtype = getattr(values, "dtype", None)
    if dtype is not None and dtype.kind == "O" and hasattr(values, "infer_objects"):
        values = values.infer_objects()
        dtype = values.dtype
    if dtype is None or dtype.kind == "O":
        return _type_of_objects(values)
    if dtype.kind in "iu":
        width = dtype.itemsize * 8 + (dtype.kind == "u")
        if width <= 33 and not (dtype.kind == "u" and dtype.itemsize == 4):
            return "integer"
        if width <= 64:
            return "long"
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return "float" if dtype.itemsize <= 4 else "double"
    word = {"b": "boolean", "U": "string", "T": "string", "S": "binary", "M": "datetime"}.get(dtype.kind)
    if word is None:
        raise InvalidInput(f"MLflow's signatures have no type for '{dtype}'.")
    return word


def _type_of_objects(values: Any) -> str:
    import datetime

    found = {type(value) for value in values if value is not None and value == value}
    for kinds, word in (
        ((bool,), "boolean"),
        ((int,), "long"),
        ((int, float), "double"),
        ((str,), "string"),
        ((bytes, bytearray), "binary"),
        ((datetime.date, datetime.datetime), "datetime"),
    ):
        if found and all(issubclass(kind, kinds) for kind in found):
            return word
    if len(found) == 1:
        import numpy

        kind = next(iter(found))
        if issubclass(kind, numpy.generic):
            return _type_of(numpy.asarray(list(values)))
    if not found:
        return "string"
    raise InvalidInput(f"A column holds values of different types: {', '.join(sorted(kind.__name__ for kind in found))}.")


def _param(name: str, value: Any) -> Field:
    shape = [-1] if isinstance(value, (list, tuple)) else None
    return {"name": name, "type": _type_of_objects(value if shape else [value]), "default": value, "shape": shape}
