"""Whom an agent's machine asks for what only the forge's token can do: the server that keeps it, or its own process."""

from __future__ import annotations

from typing import Protocol

from mlops_nb.forges.runners import ForgeJob, Rerun


class Keeper(Protocol):
    """Who has the forge's token. Methods block for some seconds, and are called by one thread at a time.

    Raises:
        StoreUnreachable: If there is no answer; it is asked again.
        MlopsError: If it cannot be had.
    """

    def registration(self) -> bytes:
        """Return a new registration (`agents.enrolment`, encoded) for the next job, which takes the place of the last."""

    def unregister(self) -> bool:
        """Remove this runner's registrations; False while the forge says that it has a job."""

    def interrupted(self, job: ForgeJob | None) -> Rerun:
        """Have the job that is cut off here done again, once; None: the machine does not know which, the forge does."""
