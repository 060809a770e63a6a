"""Loading a model folder that we or MLflow wrote, and asking the model.

Whoever loads a model runs what is in its folder: the folder is scanned first (`mlops_nb.models.scan`).
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from mlops_nb.errors import InvalidInput, MissingDependencyError, NotSupported
from mlops_nb.models.enforcement import enforce, enforce_params
from mlops_nb.models.flavors import LOADERS
from mlops_nb.models.flavors.form import Flavor, Loaded, Opened
from mlops_nb.models.metadata import ModelMetadata, read_metadata
from mlops_nb.models.scan import Verdict, check
from mlops_nb.models.signature import Signature


class LoadedModel:
    """A model that can be asked. One thread at a time, unless the framework says otherwise.

    Attributes:
        folder: Where it is.
        metadata: What its `MLmodel` says.
        verdict: What the scan of the folder found.
    """

    def __init__(self, folder: Path, metadata: ModelMetadata, loaded: Loaded, *, verdict: Verdict) -> None:
        self.folder = folder
        self.metadata = metadata
        self.verdict = verdict
        self._loaded = loaded
        self._cast = _array_cast(metadata.signature)

    def __repr__(self) -> str:
        flavors = [name for name in self.metadata.flavors if name != "python_function"]
        return f"LoadedModel({str(self.folder)!r}, {', '.join(flavors) or 'python_function'})"

    @property
    def native(self) -> Any:
        """The framework's own object."""
        return self._loaded.native

    @property
    def signature(self) -> Signature | None:
        """The form of what goes in and comes out."""
        return self.metadata.signature

    @property
    def takes_arrays(self) -> bool:
        """Whether `predict_array` is there: the columns of the signature are numbers, and the model does not ask for their names."""
        return self._cast is not None and self._loaded.predict_array is not None

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return what the model answers, as `mlflow.pyfunc.load_model(folder).predict` would.

        Args:
            data: What the signature says; a table, an array, a mapping or a list.
            params: Of this request; those that are not given have their defaults.

        Raises:
            InvalidInput: If the data or the params do not have the form that the signature says.
        """
        given = enforce_params(params, self.signature)
        checked = data if self.metadata.checks_itself else enforce(data, self.signature)
        return self._loaded.predict(checked, given)

    def predict_array(self, rows: Any) -> Any:
        """Return what the model answers to an array, without making a table of it.

        Args:
            rows: Numbers, of the shape (rows, columns of the signature), in the order of the signature. Of whole-number
                columns the values must be whole.

        Returns:
            An array, one row each.

        Raises:
            InvalidInput: If the array has another form, or holds what the columns cannot.
            NotSupported: If the model cannot be asked so: see `takes_arrays`.
        """
        if self._cast is None or self._loaded.predict_array is None:
            raise NotSupported("This model cannot be asked with an array: it needs the names or types of columns.", hint="Use predict.")
        return self._loaded.predict_array(self._cast(rows))

    def typed(self, rows: Any) -> Any:
        """Return an array as `predict_array` gives it to the model: in the types of the signature.

        Raises:
            InvalidInput: If it has another form, or holds what the columns cannot.
        """
        return rows if self._cast is None else self._cast(rows)

    def answered_by(self, wrap: Callable[[Callable[[Any], Any]], Callable[[Any], Any]]) -> LoadedModel:
        """Return the same model whose arrays are answered by what `wrap` makes of the function that answers them now."""
        assert self._loaded.predict_array is not None
        loaded = dataclasses.replace(self._loaded, predict_array=wrap(self._loaded.predict_array))
        return LoadedModel(self.folder, self.metadata, loaded, verdict=self.verdict)

    def input_example(self) -> Any:
        """Return the rows that were kept with the model as an example, in the form in which they were given; None without."""
        from mlops_nb.models.example import read_example

        return read_example(self.folder, self.metadata.input_example, self.signature)


def load_model(folder: str | Path, *, allow_unsafe: bool = False, config: Mapping[str, Any] | None = None) -> LoadedModel:
    """Load a model folder.

    Args:
        folder: The folder with `MLmodel`.
        allow_unsafe: Load it also if what the scan finds could run code. Say so only of models whose makers you trust.
        config: Settings of the model, such as `{"device": "cuda"}`, besides those in MLmodel.

    Raises:
        NotFound: If there is no model folder.
        InvalidInput: If the folder is damaged.
        UnsafeModel: If it could run code on loading, and nobody allowed that.
        NotSupported: If nothing here loads such a model.
        MissingDependencyError: If the framework is not installed.
    """
    if str(folder).startswith(("models:/", "runs:/")):
        raise InvalidInput(
            f"'{str(folder)[:200]}' is no folder.", hint=f"mlops_nb.load_model({str(folder)[:200]!r}) finds it in the store."
        )
    place = Path(folder).expanduser()
    metadata = read_metadata(place)
    about = metadata.pyfunc
    name = _flavor_of(metadata)
    verdict = check(place, metadata, allow_unsafe=allow_unsafe)
    settings = {**_settings(about or {}), **(config or {})}
    opened = Opened(folder=place, about=metadata.flavors.get(name, {}), pyfunc=about or {}, is_trusted=verdict.is_trusted, config=settings)
    try:
        module = cast(Flavor, importlib.import_module(f"mlops_nb.models.flavors.{name}"))
        loaded = module.load(opened)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing == "mlops_nb":
            raise
        raise MissingDependencyError(missing, extra="models", purpose=f"Loading '{place}'") from error
    return LoadedModel(place, metadata, loaded, verdict=verdict)


def _flavor_of(metadata: ModelMetadata) -> str:
    about = metadata.pyfunc
    if about is not None:
        return LOADERS.get(str(about.get("loader_module")), "python_function")
    for name in metadata.flavors:
        if name in LOADERS.values():
            return name
    raise NotSupported(
        f"Nothing here loads a model of {', '.join(metadata.flavors)[:200] or 'no flavor'}.", hint="Load it with MLflow, or save it anew."
    )


def _settings(about: Mapping[str, Any]) -> dict[str, Any]:
    config = about.get("config")
    inner = about.get("model_config", config)
    return {str(key): value for key, value in inner.items()} if isinstance(inner, Mapping) else {}


def _array_cast(signature: Signature | None) -> Callable[[Any], Any] | None:
    """Return what brings a 2-d array to the types of a signature of numbers; None where it has others."""
    fields = signature.inputs if signature is not None else None
    words = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64"}
    if not fields or any(field["type"] not in words for field in fields):
        return None
    import numpy

    kinds = [numpy.dtype(words[field["type"]]) for field in fields]
    target = kinds[0] if len(set(kinds)) == 1 else numpy.dtype("float64")
    whole = [i for i, kind in enumerate(kinds) if kind.kind == "i"]
    names = [str(field.get("name", i)) for i, field in enumerate(fields)]

    def bring(rows: Any) -> Any:
        if not isinstance(rows, numpy.ndarray) or rows.ndim != 2 or rows.shape[1] != len(kinds):
            shape = getattr(rows, "shape", type(rows).__name__)
            hint = f"They are: {', '.join(names[:8])}{', …' if names[8:] else '.'}"
            raise InvalidInput(f"The model takes an array of {len(kinds)} columns, and {shape} came.", hint=hint)
        if rows.dtype.kind not in "iuf" or rows.dtype.itemsize > 8:
            raise InvalidInput(f"The array holds {rows.dtype}, and the model takes numbers.", hint="Convert it: array.astype('float64').")
        if whole and rows.dtype.kind == "f":
            for i in whole:
                wrong = ~((rows[:, i] % 1 == 0) & (abs(rows[:, i]) <= 2**53))
                if wrong.any():
                    at = int(wrong.argmax())
                    raise InvalidInput(f"Column '{names[i]}' takes whole numbers, and row {at} has {rows[at, i]}.")
        for i in whole if rows.dtype.kind in "iu" else ():
            limits = numpy.iinfo(kinds[i])
            if rows.dtype.itemsize >= kinds[i].itemsize and rows.dtype != kinds[i] and len(rows):
                low, high = int(rows[:, i].min()), int(rows[:, i].max())
                if low < limits.min or high > limits.max:
                    raise InvalidInput(f"Column '{names[i]}' takes {kinds[i]}, and {high if high > limits.max else low} does not fit.")
        return rows.astype(target, copy=False)

    return bring
