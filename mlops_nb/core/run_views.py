"""A run as scripts written for MLflow read it: `run.info.run_id`, `run.data.metrics["auc"]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from mlops_nb.core.records import LifecycleStage, Run
    from mlops_nb.core.run_state import RunStatus


class RunData(msgspec.Struct, frozen=True, kw_only=True):
    """What was logged: the latest value of each metric, params and tags."""

    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


class RunInfo:
    """The facts of a run in the store, under MLflow's names. Times in ms since 1970 UTC."""

    def __init__(self, run: Run) -> None:
        self.run_id: str = run.run_id
        self.run_uuid: str = run.run_id
        self.run_name: str = run.name
        self.experiment_id: str = run.experiment_id
        self.user_id: str = run.user
        self.status: RunStatus = run.status
        self.start_time: int = run.start_time
        self.end_time: int | None = run.end_time
        self.artifact_uri: str = run.artifact_uri
        self.lifecycle_stage: LifecycleStage = run.lifecycle_stage

    def __repr__(self) -> str:
        return f"<RunInfo {', '.join(f'{key}={value!r}' for key, value in vars(self).items() if key != 'run_uuid')}>"
