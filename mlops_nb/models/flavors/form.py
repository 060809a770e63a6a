"""What a flavor is: a module with `predict`, `save` and `load`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlops_nb.models.signature import Signature


@dataclass(kw_only=True)
class Request:
    """What is to be saved with a model. `example` is a few rows of input; `options` are those of the flavor."""

    folder: Path
    example: Any = None
    signature: Signature | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a flavor has put into a folder.

    Attributes:
        flavors: What MLmodel says, by the name of the flavor.
        pyfunc: What the generic loader needs, `loader_module` first; None if the model answers no generic `predict`.
        packages: The distributions that the model needs.
        tags: What to know about the model.
    """

    flavors: dict[str, dict[str, Any]]
    pyfunc: dict[str, Any] | None
    packages: list[str]
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A model folder that is to be loaded; it has been scanned.

    Attributes:
        folder: Where it is.
        about: What MLmodel says about the flavor.
        pyfunc: What it says to the generic loader.
        is_trusted: Whether it may run code of its own.
        config: The settings of the model, such as a device.
    """

    folder: Path
    about: Mapping[str, Any]
    pyfunc: Mapping[str, Any]
    is_trusted: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A loaded model.

    Attributes:
        native: The framework's own object.
        predict: Takes data and params, answers what MLflow's loader of the flavor would.
        predict_array: Takes a 2-d array whose columns are those of the signature and answers an array, without pandas;
            None where the framework or this model needs the names.
    """

    native: Any
    predict: Callable[[Any, dict[str, Any]], Any]
    predict_array: Callable[[Any], Any] | None = None


class Flavor(Protocol):
    """A framework's way to keep models. Whatever `save` writes, MLflow's flavor of the same name loads, and the other way round."""

    def predict(self, model: Any, request: Request) -> Any:
        """Return what the model answers to the example of a request, as MLflow's loader would; None if nothing."""

    def save(self, model: Any, request: Request) -> Parts:
        """Write the model's files into the folder of a request."""

    def load(self, opened: Opened) -> Loaded:
        """Load a model that `save` or MLflow wrote."""


TAG_FORMAT = "mlops.model.serialization"
"""The tag of a model that says how it is serialized: `skops`, `cloudpickle` (which runs code when it is loaded), ..."""
