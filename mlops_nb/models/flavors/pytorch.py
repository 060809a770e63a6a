"""PyTorch and Lightning: an exported graph where the example allows it, which holds no code; a pickled module else."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from mlops_nb.errors import InvalidInput
from mlops_nb.models.flavors.form import TAG_FORMAT, Loaded, Opened, Parts, Request
from mlops_nb.models.metadata import inside

FORMATS = ("pt2", "pickle")
_PICKLE_MODULE = "mlflow.pytorch.pickle_module"


def predict(model: Any, request: Request) -> Any:
    """Return what the module answers to the example."""
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            answer = model(_tensor(request.example).to(_device_of(model)))
    finally:
        model.train(was_training)
    return answer.detach().cpu().numpy() if isinstance(answer, torch.Tensor) else None


def save(model: Any, request: Request) -> Parts:
    """Write the module. Option: `serialization_format`, `pt2` or `pickle`."""
    import torch

    wanted = request.options.get("serialization_format")
    if wanted is not None and wanted not in FORMATS:
        raise InvalidInput(f"There is no format '{wanted}'.", hint=f"There are: {', '.join(FORMATS)}.")
    data = request.folder / "data"
    data.mkdir()
    kind = "pt2"
    if wanted == "pickle" or not _export(model, data / "model.pt2", request, must=wanted == "pt2"):
        kind = "pickle"
        _pickle(model, data)
    about = {"code": None, "model_data": "data", "pytorch_version": str(torch.__version__)}
    pyfunc = {"loader_module": "mlflow.pytorch", "data": "data", "pickle_module_name": _PICKLE_MODULE, "model_config": {"device": None}}
    lightning = ["lightning"] if any(base.__module__.startswith(("lightning", "pytorch_lightning")) for base in type(model).__mro__) else []
    return Parts(
        flavors={"pytorch": about},
        pyfunc=pyfunc,
        packages=["torch", "numpy", "pandas", "cloudpickle", *lightning],
        tags={TAG_FORMAT: kind},
    )


def _export(model: Any, path: Path, request: Request, *, must: bool) -> bool:
    """Trace the module with the example, any number of rows allowed; return whether that was possible."""
    import torch

    example = request.example
    try:
        if example is None or request.signature is None or not request.signature.is_tensors:
            raise InvalidInput("An exported module needs an array as input example.", hint="Give input_example=X[:3].")
        given = _tensor(example).to(_device_of(model))
        if len(given) < 2:
            given = torch.cat([given, given])
        was_training = model.training
        model.eval()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.export(model, (given,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
                torch.export.save(program, path)
        finally:
            model.train(was_training)
    except Exception:  # what a module does may depend on its data: then there is no graph of it
        if must:
            raise
        path.unlink(missing_ok=True)
        return False
    return True


def _pickle(model: Any, data: Path) -> None:
    """Write the whole module with cloudpickle: classes that a notebook defines are kept with it."""
    import cloudpickle
    import torch

    (data / "pickle_module_info.txt").write_text(_PICKLE_MODULE)
    torch.save(model, data / "model.pth", pickle_module=cloudpickle)


def _tensor(example: Any) -> Any:
    import numpy
    import torch

    if hasattr(example, "to_numpy"):
        example = example.to_numpy(dtype=numpy.float32)
    return example if isinstance(example, torch.Tensor) else torch.from_numpy(numpy.ascontiguousarray(example))


def _device_of(model: Any) -> Any:
    import itertools

    first = next(itertools.chain(model.parameters(), model.buffers()), None)
    return "cpu" if first is None else first.device


def load(opened: Opened) -> Loaded:
    """Load the exported graph or the module, onto the device that the model's settings name, the processor by default."""
    import torch

    data = inside(opened.folder, opened.about.get("model_data", opened.pyfunc.get("data", "data")))
    device = str(opened.config.get("device") or os.environ.get("MLFLOW_DEFAULT_PREDICTION_DEVICE") or "cpu")
    if (data / "model.pt2").exists():
        model: Any = torch.export.load(data / "model.pt2").module()
    else:
        path = data / "model.pth" if data.is_dir() else data
        model = torch.load(path, map_location=device, weights_only=not opened.is_trusted)
        model.eval()
        model.to(device)

    def predict_array(rows: Any) -> Any:
        with torch.no_grad():
            return model(torch.from_numpy(rows).to(device)).cpu().numpy()

    def predict(data: Any, params: dict[str, Any]) -> Any:
        import numpy

        if hasattr(data, "columns"):
            import pandas

            return pandas.DataFrame(predict_array(data.to_numpy(dtype=numpy.float32)), index=data.index)
        if not isinstance(data, numpy.ndarray):
            raise InvalidInput(f"A module takes an array or a table, not a {type(data).__name__}.", hint="Give numpy.asarray(data).")
        with torch.no_grad():
            answer = model(torch.from_numpy(data).to(device), **params)
        if not isinstance(answer, torch.Tensor):
            raise InvalidInput(f"The module answers a {type(answer).__name__}, not one tensor.", hint="Use load_model(...).native.")
        return answer.cpu().numpy()

    return Loaded(native=model, predict=predict, predict_array=lambda rows: predict_array(rows.astype("float32", copy=False)))
