"""The end of a packed model's module: what loads its state and answers. It needs nothing but Python."""

import json as _json
import pathlib as _pathlib
import pickle as _pickle


class _Context:
    """What `load_context` and `predict` get: the places of the artifacts, by name, and the settings of the model."""

    def __init__(self, artifacts, model_config):  # type: ignore[no-untyped-def]
        self.artifacts = artifacts
        self.model_config = model_config


class _Packed:
    """What MLflow asks."""

    def __init__(self, model, context, style):  # type: ignore[no-untyped-def]
        self.python_model = model
        self.context = context
        self.style = style

    def predict(self, data, params=None):  # type: ignore[no-untyped-def]
        """Return what the function or the method `predict` answers."""
        ask = self.python_model.predict if self.style["has_predict"] else self.python_model
        given = [self.context, data] if self.style["takes_context"] else [data]
        return ask(*given, params=params) if self.style["takes_params"] else ask(*given)


def _load_pyfunc(path, model_config=None):  # type: ignore[no-untyped-def]
    folder = _pathlib.Path(path)
    packed = _json.loads((folder / "packed.json").read_text(encoding="utf-8"))
    values = dict(packed["plain"])
    state = folder / "state.pkl"
    pickled = {}
    if state.exists():
        with state.open("rb") as file:
            pickled = _pickle.load(file)
    globals().update(pickled.get("globals", {}))
    model = globals()[packed["name"]]
    if packed["is_instance"]:
        model = model.__new__(model)
        whole = pickled.get("state")
        if whole is not None:
            model.__setstate__(whole)
        else:
            vars(model).update({**values, **pickled.get("attributes", {})})
    places = {name: str(folder / place) for name, place in packed["artifacts"].items()}
    context = _Context(places, {**packed["model_config"], **(model_config or {})})  # type: ignore[no-untyped-call]
    if hasattr(model, "load_context"):
        model.load_context(context)
    return _Packed(model, context, packed["style"])  # type: ignore[no-untyped-call]
