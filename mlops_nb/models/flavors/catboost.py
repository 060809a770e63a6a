"""CatBoost: its own binary format."""

from __future__ import annotations

from typing import Any

from mlops_nb.models.flavors.form import TAG_FORMAT, Parts, Request

_FILE = "model.cb"


def predict(model: Any, request: Request) -> Any:
    """Return the prediction for the example."""
    return model.predict(request.example)


def save(model: Any, request: Request) -> Parts:
    """Write the model."""
    import catboost

    model.save_model(str(request.folder / _FILE))
    about = {
        "catboost_version": catboost.__version__,
        "code": None,
        "data": _FILE,
        "model_type": _type_name(model),
        "save_format": "cbm",
    }
    return Parts(
        flavors={"catboost": about},
        pyfunc={"loader_module": "mlflow.catboost", "data": _FILE},
        packages=["catboost", "numpy", "pandas"],
        tags={TAG_FORMAT: "cbm"},
    )


def _type_name(model: Any) -> str:
    """Return the class of CatBoost's own that the loader makes; a subclass is loaded as what it is based on."""
    return next(base.__name__ for base in type(model).__mro__ if base.__module__.startswith("catboost"))
