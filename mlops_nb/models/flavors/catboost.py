"""CatBoost: its own binary format."""

from __future__ import annotations

from typing import Any

from mlops_nb.errors import InvalidInput
from mlops_nb.models.flavors.form import TAG_FORMAT, Loaded, Opened, Parts, Request
from mlops_nb.models.metadata import inside

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


def load(opened: Opened) -> Loaded:
    """Load the model as the class of CatBoost's that it was."""
    import catboost

    kind = str(opened.about.get("model_type", "CatBoost"))
    if kind not in _TYPES:
        raise InvalidInput(f"MLmodel names '{kind}', which is no class of CatBoost's models.", hint=f"There are: {', '.join(_TYPES)}.")
    model = getattr(catboost, kind)()
    model.load_model(str(inside(opened.folder, opened.about.get("data", _FILE))), format=str(opened.about.get("save_format", "cbm")))
    return Loaded(native=model, predict=lambda data, params: model.predict(data), predict_array=model.predict)


_TYPES = ("CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker")
