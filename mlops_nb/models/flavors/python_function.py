"""Python functions: a class with `predict`, or a function, also of a notebook's cell, with the code that it needs.

The code is kept as a module that anyone can read, in `code/`, and loads without us. MLflow's own form, a pickle of the
instance or a file that it runs, is loaded here too.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
import shutil
import sys
import types
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from mlops_nb.errors import InvalidInput, MissingDependencyError, NotSupported
from mlops_nb.models.flavors import packed_loader
from mlops_nb.models.flavors.form import TAG_FORMAT, Loaded, Opened, Parts, Request
from mlops_nb.models.metadata import inside
from mlops_nb.models.packing import copy_code, pack

CUSTOM_LOADERS = ("mlflow.pyfunc.model", "mlflow.pyfunc.loaders.code_model")
_DATA = "data"
_CODE = "code"


def is_one(model: Any) -> bool:
    """Return whether something can be kept as a Python function."""
    return isinstance(model, (types.FunctionType, types.MethodType)) or callable(getattr(model, "predict", None))


def predict(model: Any, request: Request) -> Any:
    """Return what the model answers to the example; None where it has to be loaded with its artifacts first."""
    instance = model() if isinstance(model, type) else model
    if hasattr(instance, "load_context"):
        instance.load_context(_context(request))
    style = _style(instance)
    ask = instance.predict if style["has_predict"] else instance
    given = [_context(request), request.example] if style["takes_context"] else [request.example]
    return ask(*given)


def save(model: Any, request: Request) -> Parts:
    """Write the code and the state. Options: `artifacts` (names and paths), `code_paths`, `model_config`."""
    instance = model() if isinstance(model, type) else model
    kind = instance if isinstance(instance, types.FunctionType) else type(instance)
    package = pack(kind)
    code = request.folder / _CODE
    copy_code([*package.modules, *(Path(str(path)) for path in request.options.get("code_paths") or ())], code)
    name = f"mlops_model_{hashlib.sha256(package.source.encode()).hexdigest()[:12]}"
    (code / f"{name}.py").write_text(_module_text(package.source), encoding="utf-8")
    data = request.folder / _DATA
    data.mkdir()
    plain, pickled = _state(instance, package.values)
    packed = {
        "name": package.name,
        "is_instance": kind is not instance,
        "style": _style(instance),
        "plain": plain,
        "artifacts": _copy_artifacts(request.options.get("artifacts") or {}, data),
        "model_config": dict(request.options.get("model_config") or {}),
    }
    (data / "packed.json").write_text(json.dumps(packed, indent=2), encoding="utf-8")
    serialization = "source"
    if any(pickled.values()):
        serialization = "cloudpickle"
        _pickle(pickled, data / "state.pkl")
    needed = {"pandas", "numpy", *_distributions(package.distributions), *(["cloudpickle"] if serialization == "cloudpickle" else [])}
    about = {"class": package.name, "code": _CODE, "data": _DATA, "packed": package.defined}
    return Parts(
        flavors={"mlops_nb": about},
        pyfunc={"loader_module": name, "code": _CODE, "data": _DATA},
        packages=sorted(needed),
        tags={TAG_FORMAT: serialization},
    )


def load(opened: Opened) -> Loaded:
    """Load what `save` wrote, or MLflow: its own custom models, and any module of the folder that has `_load_pyfunc`."""
    about = opened.pyfunc
    if about.get("code"):
        _put_on_path(inside(opened.folder, about["code"]))
    loader = str(about.get("loader_module"))
    if loader in CUSTOM_LOADERS:
        return _custom_model(opened)
    try:
        module = importlib.import_module(loader)
        load_it = module._load_pyfunc
    except (ImportError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name != loader:
            raise
        raise NotSupported(f"Nothing here loads '{loader}': {error}.", hint="Load the folder with MLflow.") from None
    place = inside(opened.folder, about["data"]) if about.get("data") else opened.folder
    takes_config = opened.config and "model_config" in inspect.signature(load_it).parameters
    asked = load_it(str(place), model_config=dict(opened.config)) if takes_config else load_it(str(place))
    method = getattr(asked, str(about.get("predict_fn", "predict")))
    takes_params = "params" in inspect.signature(method).parameters
    native = getattr(asked, "python_model", asked)
    return Loaded(native=native, predict=lambda data, params: method(data, params=params) if takes_params else method(data))


def _custom_model(opened: Opened) -> Loaded:
    """Load a custom model of MLflow: a pickled instance, or a file that names one."""
    import mlflow.pyfunc.model as theirs

    about = opened.pyfunc
    config = dict(opened.config)
    if about.get("model_code_path"):
        from mlflow.models.utils import _load_model_code_path

        model = _load_model_code_path(str(inside(opened.folder, Path(str(about["model_code_path"])).name)), config)
    else:
        with inside(opened.folder, about.get("python_model", "python_model.pkl")).open("rb") as file:
            import cloudpickle

            model = cloudpickle.load(file)
    if inspect.isfunction(model):
        model = theirs._FunctionPythonModel(func=model)
    artifacts = {
        str(name): str(inside(opened.folder, place["path"])) for name, place in (about.get("artifacts") or {}).items() if place.get("path")
    }
    context = theirs.PythonModelContext(artifacts=artifacts, model_config=config)
    model.load_context(context)
    style = _style(model)

    def predict(data: Any, params: dict[str, Any]) -> Any:
        given = [context, data] if style["takes_context"] else [data]
        return model.predict(*given, params=params) if style["takes_params"] else model.predict(*given)

    return Loaded(native=model, predict=predict)


def _put_on_path(code: Path) -> None:
    """Put a model's code first on Python's path, and forget modules of the same names that other models brought."""
    place = str(code.resolve())
    tops = {path.stem for path in code.iterdir()}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] in tops and file and not Path(file).is_relative_to(place) and f"/{_CODE}/" in file:
            del sys.modules[name]
    if place in sys.path:
        sys.path.remove(place)
    sys.path.insert(0, place)
    importlib.invalidate_caches()


def _style(model: Any) -> dict[str, bool]:
    has_predict = not inspect.isroutine(model)
    taken = inspect.signature(model.predict if has_predict else model).parameters
    names = list(taken)
    return {
        "has_predict": has_predict,
        "takes_context": bool(names) and names[0] == "context",
        "takes_params": "params" in taken,
    }


def _context(request: Request) -> Any:
    artifacts = {str(name): str(path) for name, path in (request.options.get("artifacts") or {}).items()}
    return packed_loader._Context(artifacts, dict(request.options.get("model_config") or {}))  # type: ignore[no-untyped-call]


def _module_text(source: str) -> str:
    """Return the module: the packed source first, for imports from the future must come first, and what loads it."""
    text = re.sub(r"  # type: ignore\[[\w-]+\]", "", inspect.getsource(packed_loader))
    return f"{source}\n\n# What follows loads the state and is the same in every model.\n{text.partition(chr(10) * 2)[2]}"


def _state(instance: Any, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes that JSON can hold, and what has to be pickled."""
    if inspect.isroutine(instance):
        return {}, {"globals": dict(values)}
    if hasattr(type(instance), "__setstate__"):
        return {}, {"globals": dict(values), "state": instance.__getstate__()}
    own = instance.__getstate__()
    attributes = dict(own) if isinstance(own, Mapping) else {}
    plain = {name: value for name, value in attributes.items() if _is_plain(value)}
    return plain, {"globals": dict(values), "attributes": {name: value for name, value in attributes.items() if name not in plain}}


def _is_plain(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value) and not _has_odd_keys(value)
    except (TypeError, ValueError, RecursionError):
        return False


def _has_odd_keys(value: Any) -> bool:
    if isinstance(value, dict):
        return any(not isinstance(key, str) or _has_odd_keys(inner) for key, inner in value.items())
    return isinstance(value, tuple) or (isinstance(value, list) and any(_has_odd_keys(inner) for inner in value))


def _pickle(pickled: Mapping[str, Any], path: Path) -> None:
    try:
        import cloudpickle
    except ImportError:
        raise MissingDependencyError("cloudpickle", extra="models", purpose="Keeping the state of this model") from None
    try:
        with path.open("wb") as file:
            cloudpickle.dump(dict(pickled), file)
    except Exception as error:  # noqa: BLE001 - whatever an object does that cannot be pickled
        names = ", ".join(f"'{name}'" for part in ("attributes", "globals") for name in pickled.get(part, {}))
        raise InvalidInput(
            f"The state of the model cannot be kept: {type(error).__name__}: {error}.",
            hint=f"Of {names or 'its state'}, put what cannot be pickled into load_context, and files into artifacts=.",
        ) from None


def _copy_artifacts(artifacts: Mapping[str, Any], data: Path) -> dict[str, str]:
    places: dict[str, str] = {}
    for number, (name, given) in enumerate(artifacts.items()):
        path = Path(str(given))
        place = f"artifacts/{number}/{path.name}"
        target = data / place
        target.parent.mkdir(parents=True)
        if path.is_dir():
            shutil.copytree(path, target)
        elif path.is_file():
            shutil.copy2(path, target)
        else:
            raise InvalidInput(f"The artifact '{name}' is not at '{given}'.", hint="artifacts= names files and folders of this machine.")
        places[str(name)] = place
    return places


def _distributions(tops: set[str]) -> set[str]:
    known = metadata.packages_distributions()
    return {distribution for top in tops for distribution in known.get(top, [])}
