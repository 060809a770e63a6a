"""What `--view` means."""

from __future__ import annotations

from mlops_nb.core.records import LifecycleStage

_STAGES = {"active_only": LifecycleStage.ACTIVE, "deleted_only": LifecycleStage.DELETED, "all": None}


def stage_of(view: str) -> LifecycleStage | None:
    """Return the stage that a view shows; None: both."""
    return _STAGES[view]
