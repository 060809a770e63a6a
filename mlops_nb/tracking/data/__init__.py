"""What the data of a run is: files that its cells read, and frames that it is trained on, told apart by their whole content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_nb.tracking.data.frames import fingerprint
    from mlops_nb.tracking.data.logging import log_data, log_fit_data

__all__ = ["fingerprint", "log_data", "log_fit_data"]


def __getattr__(name: str) -> Any:
    # numpy is loaded by who asks for a fingerprint, not by who only watches files.
    if name == "fingerprint":
        from mlops_nb.tracking.data.frames import fingerprint

        return fingerprint
    if name in ("log_data", "log_fit_data"):
        from mlops_nb.tracking.data import logging

        return getattr(logging, name)
    raise AttributeError(f"module 'mlops_nb.tracking.data' has no attribute '{name}'")
