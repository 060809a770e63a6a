"""The flavors, and which one a model is of."""

from __future__ import annotations

import importlib
from typing import Any, cast

from mlops_nb.errors import InvalidInput, did_you_mean
from mlops_nb.models.flavors.form import Flavor

# By the package that defines a base class of the model. In this order: a classifier of XGBoost is an estimator too.
_BY_PACKAGE = {
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "keras": "keras",
    "statsmodels": "statsmodels",
    "transformers": "transformers",
    "torch": "pytorch",
    "onnx": "onnx",
    "spacy": "spacy",
    "sentence_transformers": "sentence_transformers",
    "prophet": "prophet",
    "sklearn": "sklearn",
}
NAMES = (*_BY_PACKAGE.values(), "python_function")

# By the loader that MLmodel names, the flavor that does the same; whatever else it names is code of the folder's own.
LOADERS = {
    "mlflow.sklearn": "sklearn",
    "mlflow.xgboost": "xgboost",
    "mlflow.lightgbm": "lightgbm",
    "mlflow.catboost": "catboost",
    "mlflow.pytorch": "pytorch",
    "mlflow.keras": "keras",
    "mlflow.statsmodels": "statsmodels",
    "mlflow.onnx": "onnx",
    "mlflow.transformers": "transformers",
    "mlflow.sentence_transformers": "sentence_transformers",
    "mlflow.spacy": "spacy",
    "mlflow.prophet": "prophet",
}


def name_of(model: Any) -> str:
    """Return the name of the flavor that takes a model.

    Raises:
        InvalidInput: If none does.
    """
    packages = [base.__module__.partition(".")[0] for base in type(model).__mro__]
    own = packages[0]
    if own in _BY_PACKAGE:
        return _BY_PACKAGE[own]
    for package, name in _BY_PACKAGE.items():
        if package in packages:
            return name
    from mlops_nb.models.flavors.python_function import is_one

    if is_one(model):
        return "python_function"
    raise InvalidInput(
        f"A {type(model).__module__}.{type(model).__qualname__} is no model that can be kept.",
        hint=f"Models of these frameworks can: {', '.join(_BY_PACKAGE.values())}; and functions, and classes with a method predict.",
    )


def flavor_of(model: Any) -> Flavor:
    """Return the flavor that takes a model."""
    return named(name_of(model))


def named(name: str) -> Flavor:
    """Return the flavor of a name.

    Raises:
        InvalidInput: If there is none.
    """
    if name not in NAMES:
        raise InvalidInput(f"There is no flavor '{name}'.", hint=did_you_mean(name, NAMES) or f"There are: {', '.join(NAMES)}.")
    return cast(Flavor, importlib.import_module(f"mlops_nb.models.flavors.{name}"))
