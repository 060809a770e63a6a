"""scikit-learn: skops, or a pickle where a model holds types that skops does not know."""

from __future__ import annotations

import copy
from typing import Any

from mlops_nb.models.flavors.form import TAG_FORMAT, Parts, Request
from mlops_nb.models.flavors.pickling import dump


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
