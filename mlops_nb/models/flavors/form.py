"""What a flavor is: a module with `predict` and `save`."""

from __future__ import annotations

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


class Flavor(Protocol):
    """A framework's way to keep models. Whatever `save` writes, MLflow's flavor of the same name loads."""

    def predict(self, model: Any, request: Request) -> Any:
        """Return what the model answers to the example of a request, as MLflow's loader would; None if nothing."""

    def save(self, model: Any, request: Request) -> Parts:
        """Write the model's files into the folder of a request."""


TAG_FORMAT = "mlops.model.serialization"
"""The tag of a model that says how it is serialized: `skops`, `cloudpickle` (which runs code when it is loaded), ..."""
