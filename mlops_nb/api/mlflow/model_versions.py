"""MLflow's operations on model_versions."""

from __future__ import annotations

from mlops_nb.api.operation import Operation

OPERATIONS: tuple[Operation, ...] = ()
