"""LightGBM: boosters as text; estimators as scikit-learn's, whose attributes the text does not hold."""

from __future__ import annotations

from typing import Any

from mlops_nb.models.by_position import by_position
from mlops_nb.models.flavors.form import TAG_FORMAT, Loaded, Opened, Parts, Request
from mlops_nb.models.flavors.pickling import dump, undump
from mlops_nb.models.metadata import inside


def predict(model: Any, request: Request) -> Any:
    """Return the prediction for the example."""
    return model.predict(request.example)


def save(model: Any, request: Request) -> Parts:
    """Write the model. Option for estimators: `serialization_format`."""
    import lightgbm

    is_booster = isinstance(model, lightgbm.Booster)
    trusted: list[str] | None = None
    if is_booster:
        file, kind = "model.lgb", "text"
        model.save_model(str(request.folder / file))
    else:
        file, kind, trusted = dump(model, request.folder, request.options.get("serialization_format"))
    about = {
        "code": None,
        "data": file,
        "lgb_version": lightgbm.__version__,
        "model_class": f"{type(model).__module__}.{type(model).__qualname__}",
        "serialization_format": "cloudpickle" if is_booster else kind,
        "skops_trusted_types": trusted,
    }
    serializer = ["skops"] if kind == "skops" else []
    return Parts(
        flavors={"lightgbm": about},
        pyfunc={"loader_module": "mlflow.lightgbm", "data": file},
        packages=["lightgbm", "numpy", "scipy", "pandas", *serializer, *([] if is_booster else ["scikit-learn", "cloudpickle"])],
        tags={TAG_FORMAT: kind},
    )


def load(opened: Opened) -> Loaded:
    """Load the booster or the estimator."""
    import lightgbm

    path = inside(opened.folder, opened.about.get("data", "model.lgb"))
    if str(opened.about.get("model_class", "lightgbm.basic.Booster")) == "lightgbm.basic.Booster":
        model: Any = lightgbm.Booster(model_file=path)
        return Loaded(native=model, predict=lambda data, params: model.predict(data), predict_array=model.predict)
    model = undump(path, str(opened.about.get("serialization_format", "cloudpickle")), is_trusted=opened.is_trusted)
    return Loaded(native=model, predict=lambda data, params: model.predict(data), predict_array=by_position(model, "predict"))
