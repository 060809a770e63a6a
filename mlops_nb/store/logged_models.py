"""The contract of logged models: models that runs made, with params, tags and metrics of their own."""

from __future__ import annotations

from abc import ABC


class LoggedModelStore(ABC):
    """The contract of logged models: models that runs made, with params, tags and metrics of their own."""
