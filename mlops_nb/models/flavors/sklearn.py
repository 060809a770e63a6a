"""scikit-learn: skops, or a pickle where a model holds types that skops does not know."""

from __future__ import annotations

import copy
from typing import Any

from mlops_nb.errors import InvalidInput, NotSupported
from mlops_nb.models.by_position import by_position
from mlops_nb.models.flavors.form import TAG_FORMAT, Loaded, Opened, Parts, Request
from mlops_nb.models.flavors.pickling import dump, undump
from mlops_nb.models.metadata import inside


def predict(model: Any, request: Request) -> Any:
    """Return the prediction for the example, or what it is transformed to."""
    answer = getattr(model, str(request.options.get("pyfunc_predict_fn", "predict")), None) or getattr(model, "transform", None)
    return None if answer is None else answer(copy.deepcopy(request.example))


def save(model: Any, request: Request) -> Parts:
    """Write the estimator. Options: `serialization_format`, `pyfunc_predict_fn`."""
    import sklearn

    file, kind, trusted = dump(model, request.folder, request.options.get("serialization_format"))
    method = str(request.options.get("pyfunc_predict_fn", "predict"))
    about = {
        "code": None,
        "pickled_model": file,
        "serialization_format": kind,
        "sklearn_version": sklearn.__version__,
        "skops_trusted_types": trusted,
    }
    return Parts(
        flavors={"sklearn": about},
        pyfunc={"loader_module": "mlflow.sklearn", "model_path": file, "predict_fn": method} if hasattr(model, method) else None,
        packages=["scikit-learn", "numpy", "scipy", "pandas", "skops" if kind == "skops" else "cloudpickle", *_others(model)],
        tags={TAG_FORMAT: kind},
    )


def _others(model: Any) -> list[str]:
    """Return the packages that the steps of a pipeline or a search come from, besides scikit-learn."""
    parts = [model, *(model.get_params(deep=True).values() if hasattr(model, "get_params") else ())]
    known = {"xgboost": ["xgboost", "xgboost-cpu"], "lightgbm": ["lightgbm"], "catboost": ["catboost"]}
    return [name for part in parts for name in known.get(type(part).__module__.partition(".")[0], ())]


def load(opened: Opened) -> Loaded:
    """Load the estimator; its `predict`, or the method that it was saved with, answers."""
    path = inside(opened.folder, opened.about.get("pickled_model", opened.pyfunc.get("model_path", "model.pkl")))
    model = undump(path, str(opened.about.get("serialization_format", "pickle")), is_trusted=opened.is_trusted)
    method = str(opened.pyfunc.get("predict_fn", "predict"))
    if method not in _METHODS:
        raise InvalidInput(f"MLmodel asks for '{method}', which is no method to predict with.", hint=f"There are: {', '.join(_METHODS)}.")
    answer = getattr(model, method, None) or getattr(model, "transform", None)
    if answer is None:
        raise NotSupported(f"A {type(model).__name__} has no '{method}'.", hint="Use the model itself: load_model(...).native.")
    return Loaded(native=model, predict=lambda data, params: answer(data), predict_array=by_position(model, method))


_METHODS = ("predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba", "decision_function", "score", "transform")
