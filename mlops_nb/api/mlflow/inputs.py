"""MLflow's operations on inputs."""

from __future__ import annotations

from mlops_nb.api.operation import Operation

OPERATIONS: tuple[Operation, ...] = ()
