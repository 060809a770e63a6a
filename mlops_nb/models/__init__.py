"""Model folders in MLflow's own format: MLmodel, the model's file, requirements, signature and input example.

What is written here, MLflow reads, and what MLflow writes is read here; nothing here needs MLflow.
"""

from __future__ import annotations

from typing import Any

__all__ = ["LoadedModel", "Signature", "infer_signature", "load_model", "save_model"]


def __getattr__(name: str) -> Any:
    if name in ("Signature", "infer_signature"):
        from mlops_nb.models import signature

        return getattr(signature, name)
    if name == "save_model":
        from mlops_nb.models.folder import save_model

        return save_model
    if name in ("LoadedModel", "load_model"):
        from mlops_nb.models import loading

        return getattr(loading, name)
    raise AttributeError(f"module 'mlops_nb.models' has no attribute '{name}'")
