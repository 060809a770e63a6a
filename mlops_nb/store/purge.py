"""Purging: what was deleted goes for good."""

from __future__ import annotations

import msgspec

UPLOAD_GRACE_SECONDS = 24 * 3600.0
"""What an upload that broke off has left is removed after this time: a slow one may still be going on."""


class PurgeQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What goes. With ids only what they name goes, and it is an error if it may not; without, all that may.

    Attributes:
        older_than_ms: Only what was deleted at least so long ago.
        run_ids: Deleted runs.
        experiment_ids: Deleted experiments, with everything in them.
        model_ids: Deleted logged models.
        dry_run: Nothing goes; the answer says what would.
    """

    older_than_ms: int = 0
    run_ids: list[str] | None = None
    experiment_ids: list[str] | None = None
    model_ids: list[str] | None = None
    dry_run: bool = False

    @property
    def names_some(self) -> bool:
        return self.run_ids is not None or self.experiment_ids is not None or self.model_ids is not None


class Purged(msgspec.Struct, kw_only=True):
    """What went.

    Attributes:
        kept: Why something that was deleted is still there, a sentence each.
        problems: Files that could not be removed; the next purge tries again.
        files: Of how many runs, models and traces the files were removed.
        leftovers: Remains of uploads that broke off.
    """

    runs: list[str] = []
    experiments: list[str] = []
    models: list[str] = []
    traces: int = 0
    datasets: int = 0
    files: int = 0
    leftovers: int = 0
    kept: list[str] = []
    problems: list[str] = []
