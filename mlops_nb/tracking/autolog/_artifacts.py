"""Models and pictures of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlops_nb.models.example import first_rows
from mlops_nb.tracking.autolog._fit import Fit
from mlops_nb.tracking.data.handing import shows_values
from mlops_nb.tracking.models import log_model

TAG_MODEL = "mlops.autolog"


def keep_model(
    fit: Fit, model: Any, features: Any, *, name: str = "model", params: Mapping[str, Any] | None = None, **options: Any
) -> None:
    """Keep a model with signature and input example, as far as they are asked for and can be made.

    The example is rows of the training data: it is kept only where the level of capture is `source`.
    """
    if not fit.options.log_models:
        return
    with fit.safely("the model is"):
        example = signature = None
        if fit.options.log_input_examples or fit.options.log_model_signatures:
            with fit.safely("the input example is"):
                example = first_rows(features)
        if example is not None and not fit.options.log_model_signatures:
            signature = False
        elif example is not None:
            with fit.safely("the signature of the model is"):
                signature = signature_from(model, example, options)
        info = log_model(
            model,
            name=name,
            input_example=example,
            keeps_example=fit.options.log_input_examples and shows_values(),
            signature=False if signature is None else signature,
            params=fit.texts_of(params or {}),
            tags={TAG_MODEL: fit.framework},
            run=fit.run,
            **options,
        )
        fit.model_id = fit.model_id or info.model_id


def signature_from(model: Any, example: Any, options: Mapping[str, Any]) -> Any:
    """Return the signature of a model, from what it answers to a few rows."""
    from pathlib import Path

    from mlops_nb.models import flavors
    from mlops_nb.models.flavors.form import Request
    from mlops_nb.models.signature import infer_signature

    flavor = flavors.named(options["flavor"]) if "flavor" in options else flavors.flavor_of(model)
    return infer_signature(example, flavor.predict(model, Request(folder=Path(), example=example)))


def draw_importances(fit: Fit, names: Sequence[str], values: Sequence[float], kind: str) -> None:
    """Keep the importance of features as JSON and as bars, the 40 most important of them."""
    ranked = sorted(zip((str(name) for name in names), (float(value) for value in values), strict=True), key=lambda pair: pair[1])
    fit.run.log_dict(dict(reversed(ranked)), f"feature_importance_{kind}.json")
    if not fit.options.log_plots or not ranked or (axes := new_axes()) is None:
        return
    shown = ranked[-40:]
    figure = axes.figure
    figure.set_size_inches(6.4, max(2.0, 0.25 * len(shown) + 1))
    axes.barh([name for name, _ in shown], [value for _, value in shown])
    axes.set_xlabel("importance")
    axes.set_title(f"Feature importance ({kind})")
    fit.run.log_figure(figure, f"feature_importance_{kind}.png")


def new_axes() -> Any:
    """Return the axes of a new figure that no window or notebook knows of; None without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(5.0, 4.0), dpi=100)
    FigureCanvasAgg(figure)
    return figure.subplots()
