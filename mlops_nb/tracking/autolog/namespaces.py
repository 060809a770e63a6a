"""The names of frameworks under `mlops_nb`, as MLflow has them: `mlops_nb.sklearn.log_model(model, name="m")`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_nb.errors import InvalidInput
from mlops_nb.models import flavors

if TYPE_CHECKING:
    from mlops_nb.models.folder import ModelInfo

_MLFLOWS_WORDS = ("sk_model", "pytorch_model", "xgb_model", "lgb_model", "cb_model", "statsmodels_model", "transformers_model")


class Namespace:
    """What can be done with one framework."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def autolog(self, **options: Any) -> None:
        """Log trainings of this framework from now on; see `mlops_nb.autolog`."""
        from mlops_nb.tracking.autolog import autolog

        autolog(frameworks=[self.__name__], **options)

    def log_model(self, model: Any = None, artifact_path: str | None = None, **options: Any) -> ModelInfo:
        """Keep a model with the active run; see `mlops_nb.log_model`. MLflow's words for the model, such as `sk_model`, are taken too."""
        from mlops_nb.tracking.models import log_model

        model = next((options.pop(word) for word in _MLFLOWS_WORDS if word in options), model)
        return log_model(model, artifact_path, flavor=self._flavor(), **options)

    def save_model(self, model: Any, path: str | Path, **options: Any) -> ModelInfo:
        """Write a model into a folder in MLflow's format; see `mlops_nb.models.save_model`."""
        from mlops_nb.models.folder import save_model

        return save_model(model, path, flavor=self._flavor(), **options)

    def _flavor(self) -> str:
        if self.__name__ not in flavors.NAMES:
            raise InvalidInput(f"{self.__name__} makes no models.", hint="Keep the model of the framework that it is of.")
        return self.__name__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        from mlops_nb.core.mlflow_names import message

        raise AttributeError(message(name, ["autolog", "log_model", "save_model"], module=f"mlops_nb.{self.__name__}"))

    def __repr__(self) -> str:
        return f"<mlops_nb.{self.__name__}>"


@functools.cache
def namespace(name: str) -> Namespace:
    """Return the namespace of a framework; `lightning` is another name of `pytorch`."""
    return Namespace("pytorch" if name == "lightning" else name)
