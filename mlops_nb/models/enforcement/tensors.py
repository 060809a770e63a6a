"""Arrays, and mappings of arrays, against a signature of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from mlops_nb.errors import InvalidInput
from mlops_nb.models.signature import Field


def enforce_tensors(data: Any, fields: Sequence[Field]) -> Any:
    """Return an array, or a mapping of arrays where the signature names its tensors, with the types and shapes of the signature.

    Raises:
        InvalidInput: If a tensor is missing, or its type or shape is another.
    """
    import pandas

    if isinstance(data, pandas.Series):
        data = pandas.DataFrame(data)
    names = [field.get("name") for field in fields]
    if names[0] is None:
        return _unnamed(data, fields[0])
    if len(names) == 1 and isinstance(data, numpy.ndarray):
        data = {names[0]: data}
    if not isinstance(data, (dict, pandas.DataFrame)):
        raise InvalidInput(
            f"The model takes a mapping of names to arrays, and a {type(data).__name__} came.",
            hint=f"Give {{{', '.join(f'{name!r}: array' for name in names)}}}.",
        )
    missing = [name for name in names if name not in data]
    if missing:
        raise InvalidInput(
            f"The data lack {', '.join(repr(name) for name in missing)}, which the model needs.",
            hint=f"They have: {', '.join(repr(name) for name in list(data)[:8])}.",
        )
    return {str(field["name"]): _named(data[field["name"]], field) for field in fields}


def _unnamed(data: Any, field: Field) -> Any:
    import pandas

    shape = tuple(field["tensor-spec"]["shape"])
    if isinstance(data, pandas.DataFrame):
        if data.empty:
            raise InvalidInput("The data are an empty table.", hint="Give at least one row.")
        if len(data.columns) == 1:
            return _from_column(data[data.columns[0]], field)
        if shape != (-1, len(data.columns)):
            raise InvalidInput(
                f"The data have {len(data.columns)} columns, and the model takes an array of the shape {shape}.",
                hint="-1 stands for any number of rows.",
            )
        return check_tensor(data.to_numpy(), field)
    if isinstance(data, numpy.ndarray) or hasattr(data, "tocsr"):
        return check_tensor(data, field)
    raise InvalidInput(f"The model takes an array, and a {type(data).__name__} came.", hint="Give numpy.asarray(data).")


def _named(values: Any, field: Field) -> Any:
    import pandas

    if isinstance(values, pandas.Series):
        return _from_column(values, field)
    if not isinstance(values, numpy.ndarray):
        raise InvalidInput(f"'{field['name']}' is a {type(values).__name__}, and the model takes an array.", hint="Use numpy.asarray.")
    return check_tensor(values, field)


def check_tensor(array: Any, field: Field) -> Any:
    """Return an array that has the type and shape of a field as it is.

    Raises:
        InvalidInput: If it has others.
    """
    expected, kind = tuple(field["tensor-spec"]["shape"]), _kind(field)
    called = f"'{field['name']}'" if field.get("name") is not None else "The array"
    given = array.dtype if isinstance(array, numpy.ndarray) else array.data.dtype
    if kind.kind == "O" and expected == (-1,):
        return array
    if -1 in expected[1:] and array.ndim == 1 and given.kind == "O":
        return array  # rows of different sizes
    fits = len(expected) == array.ndim and all(want in (-1, have) for want, have in zip(expected, array.shape, strict=True))
    if not fits:
        raise InvalidInput(f"{called} has the shape {array.shape}, and the model takes {expected}.", hint="-1 stands for any size.")
    if _cleaned(given) != kind:
        raise InvalidInput(f"{called} holds {given}, and the model takes {kind}.", hint=f"Convert it: array.astype('{kind}').")
    return array


def _cleaned(dtype: Any) -> Any:
    """Return the type without the length that texts have."""
    return numpy.dtype(dtype.char) if dtype.char in "US" else dtype


def _kind(field: Field) -> Any:
    word = str(field["tensor-spec"]["dtype"])
    try:
        return numpy.dtype(word)
    except TypeError:
        raise InvalidInput(f"The signature has the type '{word[:60]}', which numpy does not know.") from None


def _from_column(values: Any, field: Field) -> Any:
    """Return the values of a column, numbers or lists, as an array of the shape of a field."""
    shape, kind = tuple(field["tensor-spec"]["shape"]), _kind(field)
    called = f"Column '{values.name}'"
    if shape[0] != -1 or -1 in shape[1:]:
        raise InvalidInput(f"{called} of a table cannot have the shape {shape}.", hint="Give an array.")
    if len(values) == 0:
        raise InvalidInput("The data are an empty table.", hint="Give at least one row.")
    first = values.iloc[0]
    try:
        if numpy.isscalar(first):
            if shape not in ((-1,), (-1, 1)):
                raise InvalidInput(f"{called} holds single values, and the model takes the shape {shape}.", hint="Give lists or arrays.")
            return check_tensor(numpy.array(values, dtype=kind).reshape(shape), field)
        if isinstance(first, (list, numpy.ndarray)):
            stacked = numpy.vstack(values.tolist()).reshape(shape)
            stacked = stacked.astype(kind) if isinstance(first, list) else stacked
            if len(stacked) == len(values):
                return stacked
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{called} has no form of the shape {shape} and type {kind}: {error}.", hint="Give an array.") from None
    if isinstance(first, (list, numpy.ndarray)):
        raise InvalidInput(f"{called} gives {len(stacked)} rows of the shape {shape}, not {len(values)}.", hint="Give an array.")
    raise InvalidInput(f"{called} holds a {type(first).__name__}, and the model takes numbers, lists or arrays.")
