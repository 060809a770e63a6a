"""Keras 3: its own format, which holds structure and weights and no code."""

from __future__ import annotations

from typing import Any

from mlops_nb.errors import NotSupported
from mlops_nb.models.flavors.form import TAG_FORMAT, Loaded, Opened, Parts, Request
from mlops_nb.models.metadata import inside

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


def load(opened: Opened) -> Loaded:
    """Load the model. Layers that hold code are refused, unless the folder is trusted."""
    import keras

    if opened.about.get("save_exported_model"):
        raise NotSupported("This model is an export for TensorFlow.", hint="Save it with save_exported_model=False.")
    data = inside(opened.folder, opened.about.get("data", "model"))
    path = data / "model.keras" if data.is_dir() else data.with_name(data.name + ".keras")
    model = keras.saving.load_model(path, safe_mode=not opened.is_trusted)

    def predict_array(rows: Any) -> Any:
        return keras.ops.convert_to_numpy(model.predict(rows, verbose=0))

    def predict(data: Any, params: dict[str, Any]) -> Any:
        if hasattr(data, "columns"):
            import pandas

            return pandas.DataFrame(predict_array(data.to_numpy()), index=data.index)
        return predict_array(data)

    return Loaded(native=model, predict=predict, predict_array=predict_array)
