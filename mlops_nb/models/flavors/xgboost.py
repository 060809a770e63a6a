"""XGBoost: boosters and estimators in its own format (UBJSON or JSON)."""

from __future__ import annotations

from typing import Any

from mlops_nb.models.flavors.form import TAG_FORMAT, Parts, Request


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
