"""statsmodels: results of a fit, in its own pickle."""

from __future__ import annotations

from typing import Any

from mlops_nb.models.flavors.form import TAG_FORMAT, Parts, Request

_FILE = "model.statsmodels"


def predict(model: Any, request: Request) -> Any:
    """Return the prediction for the example; None for a time series, which is asked for dates."""
    from statsmodels.tsa.base.tsa_model import TimeSeriesModel

    return None if isinstance(model.model, TimeSeriesModel) else model.predict(request.example)


def save(model: Any, request: Request) -> Parts:
    """Write the results. Option: `remove_data`, which leaves the training data out."""
    import statsmodels

    model.save(str(request.folder / _FILE), bool(request.options.get("remove_data", False)))
    about = {"code": None, "data": _FILE, "statsmodels_version": statsmodels.__version__}
    return Parts(
        flavors={"statsmodels": about},
        pyfunc={"loader_module": "mlflow.statsmodels", "data": _FILE},
        packages=["statsmodels", "numpy", "scipy", "pandas"],
        tags={TAG_FORMAT: "pickle"},
    )
