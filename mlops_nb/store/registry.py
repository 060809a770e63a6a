"""The contract of the model registry: registered models, their versions, aliases and stages."""

from __future__ import annotations

from abc import ABC


class ModelRegistry(ABC):
    """The contract of the model registry: registered models, their versions, aliases and stages."""
