"""ONNX: graphs in their own format, which hold no code."""

from __future__ import annotations

from typing import Any

from mlops_nb.errors import InvalidInput, MissingDependencyError
from mlops_nb.models.flavors.form import TAG_FORMAT, Loaded, Opened, Parts, Request
from mlops_nb.models.metadata import inside

_FILE = "model.onnx"
_CPU = "CPUExecutionProvider"


def predict(model: Any, request: Request) -> Any:
    """Return what the graph answers to the example; None where there is no runtime."""
    try:
        session = _session(model.SerializeToString(), [_CPU], {})
    except MissingDependencyError:
        return None
    return _ask(session, request.example)


def save(model: Any, request: Request) -> Parts:
    """Write the graph. Options: `onnx_execution_providers`, `onnx_session_options`."""
    import onnx

    onnx.save_model(model, request.folder / _FILE)
    about = {
        "code": None,
        "data": _FILE,
        "onnx_session_options": request.options.get("onnx_session_options"),
        "onnx_version": onnx.__version__,
        "providers": list(request.options.get("onnx_execution_providers") or ["CUDAExecutionProvider", _CPU]),
    }
    return Parts(
        flavors={"onnx": about},
        pyfunc={"loader_module": "mlflow.onnx", "data": _FILE},
        packages=["onnx", "onnxruntime", "numpy", "pandas"],
        tags={TAG_FORMAT: "onnx"},
    )


def load(opened: Opened) -> Loaded:
    """Load the graph into its runtime, on the first of the processors that MLmodel names and that is there."""
    wanted = opened.about.get("providers") or [_CPU]
    path = inside(opened.folder, opened.about.get("data", _FILE))
    session = _session(str(path), [wanted] if isinstance(wanted, str) else wanted, opened.about.get("onnx_session_options") or {})
    single = len(session.get_inputs()) == 1
    return Loaded(
        native=session,
        predict=lambda data, params: _ask(session, data),
        predict_array=(lambda rows: next(iter(_ask(session, rows).values()))) if single else None,
    )


def _session(source: str | bytes, wanted: list[Any], options: dict[str, Any]) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependencyError("onnxruntime", extra="models", purpose="Asking a model of ONNX") from None
    settings = onnxruntime.SessionOptions()
    for name in ("inter_op_num_threads", "intra_op_num_threads"):
        if options.get(name):
            setattr(settings, name, int(options[name]))
    if str(options.get("execution_mode", "")).upper() == "PARALLEL":
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    if options.get("graph_optimization_level"):
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel(int(options["graph_optimization_level"]))
    there = set(onnxruntime.get_available_providers())
    usable = [tuple(one) if isinstance(one, list) else one for one in wanted if (one[0] if isinstance(one, list) else one) in there]
    return onnxruntime.InferenceSession(source, providers=usable or [_CPU], sess_options=settings)


def _ask(session: Any, data: Any) -> Any:
    """Return a table of the outputs for a table, and a mapping of arrays else, as MLflow does."""
    import numpy

    inputs = {one.name: one.type for one in session.get_inputs()}
    names = list(inputs)
    is_table = hasattr(data, "columns")
    if isinstance(data, dict):
        given = dict(data)
    elif len(names) == 1 and (is_table or isinstance(data, numpy.ndarray)):
        given = {names[0]: data.to_numpy() if is_table else data}
    elif is_table:
        given = {name: data[name].to_numpy() for name in names}
    else:
        raise InvalidInput(
            f"The graph takes {', '.join(names)}, and a {type(data).__name__} came.", hint="Give a mapping of names to arrays."
        )
    for name, kind in inputs.items():
        if kind == "tensor(float)" and name in given and given[name].dtype == numpy.float64:
            given[name] = given[name].astype(numpy.float32)
    outputs = [one.name for one in session.get_outputs()]
    answers = dict(zip(outputs, session.run(outputs, given), strict=True))
    if not is_table:
        return answers
    import pandas

    return pandas.DataFrame({name: numpy.asarray(answer).reshape(-1) for name, answer in answers.items()})
