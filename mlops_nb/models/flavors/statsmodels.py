"""statsmodels: results of a fit, in its own pickle."""

from __future__ import annotations

from typing import Any

from mlops_nb.errors import InvalidInput
from mlops_nb.models.flavors.form import TAG_FORMAT, Loaded, Opened, Parts, Request
from mlops_nb.models.flavors.pickling import undump
from mlops_nb.models.metadata import inside

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


def load(opened: Opened) -> Loaded:
    """Load the results. A time series is asked with a table of one row: `start` and `end`."""
    model = undump(inside(opened.folder, opened.about.get("data", _FILE)), "pickle", is_trusted=opened.is_trusted)

    def predict(data: Any, params: dict[str, Any]) -> Any:
        from statsmodels.tsa.base.tsa_model import TimeSeriesModel

        if not isinstance(model.model, TimeSeriesModel):
            return model.predict(data)
        if len(data) != 1 or not {"start", "end"} <= set(data.columns):
            raise InvalidInput("A time series is asked with a table of one row, which has the columns 'start' and 'end'.")
        return model.predict(start=data["start"].iloc[0], end=data["end"].iloc[0])

    return Loaded(native=model, predict=predict)
