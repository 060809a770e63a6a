"""The signature of a model: the form of what goes in and comes out, in MLflow's words.

An array is a tensor with a type and a shape whose first axis is free; a table has columns with types.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from mlops_nb.errors import InvalidInput
from mlops_nb.models import value_types

Field = dict[str, Any]
_log = logging.getLogger(__name__)


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
    """Return the signature of a model that takes such an input and gives such an output, as MLflow infers it.

    Where there is no word for what is given, it is `any`, which is not checked; the log says why.

    Args:
        model_input: An array, a table, a mapping of names to arrays or values, a list of values or records, or a value.
        model_output: The same.
        params: What may be given with a request, with its default.

    Raises:
        InvalidInput: If there is no word for the type of a param, or nothing is given.
    """
    if model_input is None and model_output is None and not params:
        raise InvalidInput(
            "Nothing is given that a signature could be made of.", hint="Give rows: infer_signature(X[:3], model.predict(X[:3]))"
        )
    return Signature(
        inputs=None if model_input is None else _inferred(model_input, "input"),
        outputs=None if model_output is None else _inferred(model_output, "output"),
        params=[_param(name, value) for name, value in params.items()] if params else None,
    )


def _inferred(data: Any, what: str) -> list[Field]:
    try:
        fields = fields_of(data)
        if any("name" not in field and not field.get("required", True) for field in fields):
            raise InvalidInput("What has no name cannot be missing.", hint="Give a table with names of columns.")
        return fields
    except InvalidInput as error:
        _log.warning("The model's %s is not checked, for its form cannot be told. %s", what, error)
        return [{**value_types.ANY, "required": True}]


def fields_of(data: Any) -> list[Field]:
    """Return the fields of an array, a table, a mapping, a list of values or records, or a value.

    Raises:
        InvalidInput: If there is no word for a type.
    """
    import numpy

    data = to_plain(data)
    if isinstance(data, numpy.ndarray):
        return [_tensor(data)]
    if isinstance(data, Mapping):
        return _fields_of_mapping(dict(data))
    if hasattr(data, "columns") and hasattr(data, "dtypes"):
        if not len(data.columns):
            raise InvalidInput("The table has no columns.")
        if not data.columns.is_unique:
            raise InvalidInput(f"The table has two columns '{data.columns[data.columns.duplicated()][0]}'.", hint="Rename one.")
        return [_column(data[name], name) for name in data.columns]
    if hasattr(data, "dtype") and hasattr(data, "index") and hasattr(data, "isna"):
        return [_column(data, data.name)]
    if type(data).__name__ in ("csr_matrix", "csc_matrix"):
        return [_tensor(data)]
    if isinstance(data, list):
        if not data:
            return [_field({"type": "string"})]
        if all(isinstance(value, dict) for value in data):
            return _fields_of_records(data)
        return [_field(_told(value_types.of_values(data)))]
    return [_field(_told(value_types.of_value(data)))]


def _fields_of_mapping(data: dict[Any, Any]) -> list[Field]:
    import numpy

    if not data:
        raise InvalidInput("The mapping is empty.")
    plain = {name: to_plain(value) for name, value in data.items()}
    if all(isinstance(value, numpy.ndarray) for value in plain.values()):
        return [{"name": name, **_tensor(value)} for name, value in plain.items()]
    odd = next((name for name in plain if not isinstance(name, str)), None)
    if odd is not None:
        raise InvalidInput(f"The key {odd!r} is a {type(odd).__name__}.", hint="Keys are texts.")
    fields = []
    for name, value in plain.items():
        gaps = any(map(value_types.is_nothing, value)) if isinstance(value, list) else value_types.is_nothing(value)
        fields.append(_field(_told(value_types.of_value(value)), name, required=not gaps))
    return fields


def _fields_of_records(records: list[dict[str, Any]]) -> list[Field]:
    columns: dict[str, list[Any]] = {}
    for record in records:
        for name, value in record.items():
            columns.setdefault(name, []).append(value)
    if not columns:
        raise InvalidInput("The records are empty.")
    return [
        _field(_told(value_types.of_values(values)), name, required=all(record.get(name) is not None for record in records))
        for name, values in columns.items()
    ]


def to_plain(data: Any) -> Any:
    """Return a tensor of torch or another library as an array of numpy, and anything else as it is."""
    if type(data).__module__.startswith("torch"):
        return data.detach().cpu().numpy()
    if type(data).__module__.startswith("polars") and hasattr(data, "to_pandas"):
        return data.to_pandas()
    return data


def _tensor(array: Any) -> Field:
    kind = array.dtype
    if not array.ndim:
        raise InvalidInput("The array has no dimensions.", hint="Give rows, such as [[1.0, 2.0]].")
    word = {"U": "str", "S": "bytes"}.get(kind.char, str(kind))
    return {"type": "tensor", "tensor-spec": {"dtype": word, "shape": [-1, *(int(n) for n in array.shape[1:])]}}


def _field(kind: value_types.Kind, name: Any = None, *, required: bool = True) -> Field:
    return {**kind, **({} if name is None else {"name": name}), "required": required}


def _told(kind: value_types.Kind | None) -> value_types.Kind:
    if kind is None:
        raise InvalidInput("Empty arrays do not tell their type.", hint="Give at least one value.")
    return kind


def _column(values: Any, name: Any) -> Field:
    """Return the field of a column of a table."""
    if values.dtype.kind == "O":
        values = values.infer_objects()
    try:
        kind = _of_objects(values) if values.dtype.kind == "O" else {"type": value_types.of_dtype(values.dtype)}
    except InvalidInput as error:
        raise InvalidInput(f"Column '{name}': {error.message}", hint=error.hint) from None
    gaps = any(map(value_types.is_nothing, values)) if values.dtype.kind == "O" else bool(values.isna().any())
    return _field(kind, name, required=not gaps)


def _of_objects(values: Any) -> value_types.Kind:
    import pandas

    try:
        return _told(value_types.of_values(values.to_list()))
    except InvalidInput:
        if pandas.api.types.is_string_dtype(values):
            return {"type": "string"}
        raise


def _param(name: str, value: Any) -> Field:
    """Return the field of a param with its default."""
    import numpy

    plain = value.tolist() if isinstance(value, (numpy.ndarray, numpy.generic)) else value
    try:
        if isinstance(value, dict):
            return {"name": name, "default": value, "shape": None, **_told(value_types.of_value(value))}
        if isinstance(value, (list, numpy.ndarray)):
            array = numpy.asarray(value)
            if array.ndim != 1:
                raise InvalidInput(f"It has {array.ndim} dimensions.", hint="A param is a value or a plain list.")
            if len({type(one) for one in array.tolist()}) > 1 or (
                array.dtype.kind == "U" and not all(isinstance(one, str) for one in value)
            ):
                raise InvalidInput("It holds values of different types.", hint="A list as a param has values of one type.")
            if all(isinstance(one, datetime.date) for one in value):
                return {"name": name, "type": "datetime", "default": [one.isoformat() for one in value], "shape": [-1]}
            return {"name": name, "type": value_types.of_dtype(array.dtype), "default": plain, "shape": [-1]}
        if isinstance(value, datetime.date):
            return {"name": name, "type": "datetime", "default": value.isoformat(), "shape": None}
        if not numpy.isscalar(value) or isinstance(value, bytes):
            raise InvalidInput(f"It is a {type(value).__name__}.", hint="A param is a number, a text, a boolean or a list of such.")
        return {"name": name, "type": value_types.of_dtype(numpy.asarray(value).dtype), "default": plain, "shape": None}
    except (InvalidInput, ValueError) as error:
        hint = getattr(error, "hint", None)
        raise InvalidInput(f"The param '{name}' has a default that cannot stand in a signature. {error}", hint=hint) from None
