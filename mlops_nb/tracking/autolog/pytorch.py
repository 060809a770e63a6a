"""PyTorch alone has no training loop to hook into: its models are kept with `log_model`."""

from __future__ import annotations

from types import ModuleType

from mlops_nb.tracking.autolog._guard import check_version

NAME = "pytorch"
TESTED = ("2.1", "2.14")


def install(module: ModuleType) -> None:
    """Check the version; trainings with Lightning are tracked by its own file."""
    check_version(NAME, str(module.__version__), TESTED)
