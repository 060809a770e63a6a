"""sentence-transformers: its own folder, with the weights as safetensors."""

from __future__ import annotations

from typing import Any

from mlops_nb.models.flavors.form import TAG_FORMAT, Loaded, Opened, Parts, Request
from mlops_nb.models.metadata import inside

_FOLDER = "model.sentence_transformer"


def predict(model: Any, request: Request) -> Any:
    """Return the vectors of the sentences of the example."""
    return model.encode(_sentences(request.example))


def save(model: Any, request: Request) -> Parts:
    """Write the model."""
    import sentence_transformers

    model.save(str(request.folder / _FOLDER), safe_serialization=True, create_model_card=False)
    about = {"code": None, "sentence_transformers_version": sentence_transformers.__version__}
    return Parts(
        flavors={"sentence_transformers": about},
        pyfunc={"loader_module": "mlflow.sentence_transformers", "data": _FOLDER},
        packages=["sentence-transformers", "transformers", "torch", "safetensors", "numpy", "pandas"],
        tags={TAG_FORMAT: "safetensors"},
    )


def load(opened: Opened) -> Loaded:
    """Load the model, from this folder only. Params of a request go to its `encode`."""
    import sentence_transformers

    path = inside(opened.folder, opened.pyfunc.get("data", _FOLDER))
    model = sentence_transformers.SentenceTransformer(
        str(path), trust_remote_code=opened.is_trusted, local_files_only=True, device=opened.config.get("device")
    )
    return Loaded(native=model, predict=lambda data, params: model.encode(_sentences(data), **params))


def _sentences(data: Any) -> Any:
    if hasattr(data, "columns"):
        texts = data.iloc[:, 0].tolist()
        return texts[0] if texts and isinstance(texts[0], list) else texts
    return data.tolist() if hasattr(data, "tolist") else data
