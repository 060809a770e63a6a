"""Prophet: its own JSON."""

from __future__ import annotations

import json
from typing import Any

from mlops_nb.models.flavors.form import TAG_FORMAT, Loaded, Opened, Parts, Request
from mlops_nb.models.metadata import inside

_FILE = "model.pr"


def predict(model: Any, request: Request) -> Any:
    """Return the forecast for the dates of the example."""
    return model.predict(request.example)


def save(model: Any, request: Request) -> Parts:
    """Write the fitted model."""
    import prophet
    from prophet.serialize import model_to_json

    (request.folder / _FILE).write_text(json.dumps(model_to_json(model)), encoding="utf-8")
    about = {"code": None, "data": _FILE, "model_type": type(model).__name__, "prophet_version": prophet.__version__}
    return Parts(
        flavors={"prophet": about},
        pyfunc={"loader_module": "mlflow.prophet", "data": _FILE},
        packages=["prophet", "cmdstanpy", "numpy", "pandas"],
        tags={TAG_FORMAT: "json"},
    )


def load(opened: Opened) -> Loaded:
    """Load the fitted model. It is asked with a table of dates, `ds`."""
    from prophet.serialize import model_from_json

    model = model_from_json(json.loads(inside(opened.folder, opened.about.get("data", _FILE)).read_text(encoding="utf-8")))
    return Loaded(native=model, predict=lambda data, params: model.predict(data))
