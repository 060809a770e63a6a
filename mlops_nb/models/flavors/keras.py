"""Keras 3: its own format, which holds structure and weights and no code."""

from __future__ import annotations

from typing import Any

from mlops_nb.models.flavors.form import TAG_FORMAT, Parts, Request

_BACKENDS = {"torch": "torch", "jax": "jax", "tensorflow": "tensorflow", "openvino": "openvino"}


def predict(model: Any, request: Request) -> Any:
    """Return the prediction for the example."""
    example = request.example
    return model.predict(example.to_numpy() if hasattr(example, "to_numpy") else example, verbose=0)


def save(model: Any, request: Request) -> Parts:
    """Write the model."""
    import keras

    data = request.folder / "data"
    data.mkdir()
    (data / "keras_module.txt").write_text("keras")
    model.save(data / "model.keras")
    backend = keras.backend.backend()
    about = {"data": "data", "keras_backend": backend, "keras_version": keras.__version__, "save_exported_model": False}
    return Parts(
        flavors={"keras": about},
        pyfunc={"loader_module": "mlflow.keras"},
        packages=["keras", "numpy", _BACKENDS.get(backend, backend)],
        tags={TAG_FORMAT: "keras"},
    )
