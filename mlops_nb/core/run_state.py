"""Run states and the transitions between them.

MLflow knows RUNNING, SCHEDULED, FINISHED, FAILED and KILLED. We add LOST: the run's process
has not given a sign of life for longer than its lease. LOST is never final; any sign of life heals it.
"""

from __future__ import annotations

import enum

from mlops_nb.errors import IllegalTransition


class RunStatus(enum.StrEnum):
    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"
    LOST = "LOST"

    @property
    def is_final(self) -> bool:
        """Whether the run has ended and only a resume changes its state."""
        return self in _FINAL

    @property
    def as_mlflow(self) -> str:
        """The name that MLflow's clients know: LOST shows as RUNNING, which it may still be."""
        return "RUNNING" if self is RunStatus.LOST else self.value


_FINAL = frozenset({RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED})

_LEGAL: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.SCHEDULED: frozenset({RunStatus.RUNNING, *_FINAL}),
    RunStatus.RUNNING: frozenset({RunStatus.SCHEDULED, RunStatus.LOST, *_FINAL}),
    RunStatus.LOST: frozenset({RunStatus.RUNNING, *_FINAL}),
    # A finished run is resumed through RUNNING, and whoever ran it may correct how it ended.
    RunStatus.FINISHED: frozenset({RunStatus.RUNNING, *_FINAL}),
    RunStatus.FAILED: frozenset({RunStatus.RUNNING, *_FINAL}),
    RunStatus.KILLED: frozenset({RunStatus.RUNNING, *_FINAL}),
}


def is_legal(current: RunStatus, new: RunStatus) -> bool:
    """Return whether `new` may follow `current`. Staying is always legal."""
    return current is new or new in _LEGAL[current]


def check_transition(current: RunStatus, new: RunStatus) -> RunStatus:
    """Return `new`.

    Raises:
        IllegalTransition: If `new` may not follow `current`.
    """
    if not is_legal(current, new):
        raise IllegalTransition(f"A run that is {current.value} cannot become {new.value}.")
    return new
