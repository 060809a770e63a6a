"""Holding what comes in against a model's signature, by MLflow's rules: only what loses nothing is converted.

    columns     tables: missing columns, safe casts, optional columns, times, categories, whole numbers with gaps
    nested      columns of objects, arrays and maps
    tensors     arrays and mappings of arrays: shape and type
    params      params of a request, with their defaults

Otherwise than in MLflow, on purpose: a column of categories counts as what its categories are (MLflow refuses it, though its
own inference calls it a string); two columns of one name are refused; what is given is never changed in place.

Every refusal is an `InvalidInput` that names the column, what came, what was expected, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops_nb.models.signature import Signature

__all__ = ["enforce", "enforce_params"]


def enforce(data: Any, signature: Signature | None) -> Any:
    """Return the data in the form that the signature asks for: a table of its columns, an array, or a mapping of arrays.

    Args:
        data: A table, an array, a mapping, a list or a single value; it is not changed.
        signature: Of the model; without one, or without inputs in it, the data pass as they are.

    Raises:
        InvalidInput: If the data do not have that form, and cannot be brought to it without loss.
    """
    if signature is None or not signature.inputs:
        return data
    if signature.is_tensors:
        from mlops_nb.models.enforcement.tensors import enforce_tensors

        return enforce_tensors(data, signature.inputs)
    from mlops_nb.models.enforcement.columns import enforce_columns

    return enforce_columns(data, signature.inputs)


def enforce_params(params: Mapping[str, Any] | None, signature: Signature | None) -> dict[str, Any]:
    """Return the params of a request with the defaults of those that are not given.

    Raises:
        InvalidInput: If a value does not have the type that the signature says.
    """
    from mlops_nb.models.enforcement.params import fill_params

    return fill_params(params, None if signature is None else signature.params)
