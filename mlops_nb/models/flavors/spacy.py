"""spaCy: its own folder of weights and settings."""

from __future__ import annotations

from typing import Any

from mlops_nb.errors import InvalidInput
from mlops_nb.models.flavors.form import TAG_FORMAT, Loaded, Opened, Parts, Request
from mlops_nb.models.metadata import inside

_FOLDER = "model.spacy"


def predict(model: Any, request: Request) -> Any:
    """Return the categories of the texts of the example; None for a pipeline without categories."""
    return _categories(model, request.example) if _has_categories(model) else None


def save(model: Any, request: Request) -> Parts:
    """Write the pipeline. Only one that categorizes texts answers a generic `predict`."""
    import spacy

    model.to_disk(request.folder / _FOLDER)
    return Parts(
        flavors={"spacy": {"code": None, "data": _FOLDER, "spacy_version": spacy.__version__}},
        pyfunc={"loader_module": "mlflow.spacy", "data": _FOLDER} if _has_categories(model) else None,
        packages=["spacy", "numpy", "pandas"],
        tags={TAG_FORMAT: "spacy"},
    )


def load(opened: Opened) -> Loaded:
    """Load the pipeline. It is asked with a table of one column of texts."""
    import spacy

    model = spacy.load(inside(opened.folder, opened.about.get("data", _FOLDER)))
    return Loaded(native=model, predict=lambda data, params: _categories(model, data))


def _has_categories(model: Any) -> bool:
    from spacy.pipeline import TextCategorizer

    return any(isinstance(part, TextCategorizer) for _, part in model.pipeline)


def _categories(model: Any, data: Any) -> Any:
    import pandas

    if not hasattr(data, "columns") or len(data.columns) != 1:
        raise InvalidInput("A pipeline of spaCy takes a table of one column of texts.", hint='Give pandas.DataFrame({"text": [...]}).')
    return pandas.DataFrame({"predictions": [model(text).cats for text in data.iloc[:, 0]]}, index=data.index)
