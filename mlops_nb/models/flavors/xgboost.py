"""XGBoost: boosters and estimators in its own format (UBJSON or JSON)."""

from __future__ import annotations

from typing import Any

from mlops_nb.models.flavors.classes import accepted, class_named
from mlops_nb.models.flavors.form import TAG_FORMAT, Loaded, Opened, Parts, Request
from mlops_nb.models.metadata import inside


def predict(model: Any, request: Request) -> Any:
    """Return the prediction for the example."""
    import xgboost

    return model.predict(xgboost.DMatrix(request.example) if isinstance(model, xgboost.Booster) else request.example)


def save(model: Any, request: Request) -> Parts:
    """Write the model. Option: `model_format`, `ubj` or `json`."""
    import xgboost

    kind = str(request.options.get("model_format", "ubj"))
    file = f"model.{kind}"
    model.save_model(request.folder / file)
    about = {
        "code": None,
        "data": file,
        "model_class": f"{type(model).__module__}.{type(model).__qualname__}",
        "model_format": kind,
        "xgb_version": xgboost.__version__,
    }
    return Parts(
        flavors={"xgboost": about},
        pyfunc={"loader_module": "mlflow.xgboost", "data": file},
        packages=["xgboost", "xgboost-cpu", "numpy", "scipy", "pandas"] + ([] if isinstance(model, xgboost.Booster) else ["scikit-learn"]),
        tags={TAG_FORMAT: kind},
    )


def load(opened: Opened) -> Loaded:
    """Load the booster or the estimator. Params of a request go to its `predict`, as far as that takes them."""
    import xgboost

    kind = class_named(str(opened.about.get("model_class", "xgboost.core.Booster")), "xgboost", (xgboost.Booster, xgboost.XGBModel))
    model = kind()
    model.load_model(inside(opened.folder, opened.about.get("data", "model.xgb")))

    def predict(data: Any, params: dict[str, Any]) -> Any:
        given = accepted(model.predict, params)
        return model.predict(xgboost.DMatrix(data) if isinstance(model, xgboost.Booster) else data, **given)

    def predict_array(rows: Any) -> Any:
        if isinstance(model, xgboost.Booster):
            return model.inplace_predict(rows, validate_features=False)
        return model.predict(rows, validate_features=False)

    return Loaded(native=model, predict=predict, predict_array=predict_array)
