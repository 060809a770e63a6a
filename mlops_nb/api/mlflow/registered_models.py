"""MLflow's operations on registered_models."""

from __future__ import annotations

from mlops_nb.api.operation import Operation

OPERATIONS: tuple[Operation, ...] = ()
