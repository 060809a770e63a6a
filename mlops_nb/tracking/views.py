"""An open run as scripts written for MLflow read it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping

from mlops_nb.core.records import LifecycleStage, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.core.run_views import RunData
from mlops_nb.errors import MlopsError

logger = logging.getLogger("mlops_nb")


class RunViews(ABC):
    """The part of `ActiveRun` that gives its facts under MLflow's names, from what this process knows."""

    run_id: str
    name: str
    start_time: int
    end_time: int | None
    status: RunStatus
    latest: dict[str, tuple[float, int]]
    params: dict[str, str]
    tags: dict[str, str]

    @abstractmethod
    def record(self) -> Run: ...

    @property
    def info(self) -> ActiveRunInfo:
        """The run's own facts under MLflow's names."""
        return ActiveRunInfo(self)

    @property
    def data(self) -> RunData:
        """Params, last metrics and tags that were logged in this process so far."""
        metrics = {key: value for key, (value, _step) in self.latest.items()}
        return RunData(params=dict(self.params), metrics=metrics, tags=dict(self.tags))


class ActiveRunInfo:
    """The facts of an open run. What the store decides is asked for when it is read, and empty where it does not answer."""

    lifecycle_stage = LifecycleStage.ACTIVE

    def __init__(self, run: RunViews) -> None:
        self._run = run
        self._record: Run | None = None
        self.run_id = self.run_uuid = run.run_id

    @property
    def run_name(self) -> str:
        return self._run.name

    @property
    def status(self) -> RunStatus:
        return self._run.status

    @property
    def start_time(self) -> int:
        return self._run.start_time

    @property
    def end_time(self) -> int | None:
        return self._run.end_time

    @property
    def user_id(self) -> str:
        return self._run.tags.get("mlflow.user", "")

    @property
    def experiment_id(self) -> str:
        record = self._stored()
        return record.experiment_id if record is not None else ""

    @property
    def artifact_uri(self) -> str:
        record = self._stored()
        return record.artifact_uri if record is not None else ""

    def _stored(self) -> Run | None:
        if self._record is None:
            try:
                self._record = self._run.record()
            except MlopsError as error:  # a script that prints an id must not end a training
                logger.warning("The store cannot tell about run %s now: %s", self._run.name, error)
        return self._record

    def __repr__(self) -> str:
        facts: Mapping[str, object] = {"run_id": self.run_id, "run_name": self.run_name, "status": self.status.value}
        return f"<RunInfo {', '.join(f'{key}={value!r}' for key, value in facts.items())}>"
