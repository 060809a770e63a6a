"""Whom an agent's machine asks for what only the forge's token can do: the server that keeps it, or its own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from mlops_nb.clouds.base import Note
from mlops_nb.core.runner_wire import CutJob
from mlops_nb.core.runners import Runner
from mlops_nb.forges.runners import ForgeJob, Rerun

if TYPE_CHECKING:
    from mlops_nb.runners.agents.registrar import ForgeRegistrar
    from mlops_nb.store.rest import RestStore


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


class ServerKeeper:
    """The server that keeps the runner, by the token of its agent."""

    def __init__(self, store: RestStore, runner_id: str) -> None:
        self._ledger, self._runner_id = store.runners, runner_id

    def registration(self) -> bytes:
        return self._ledger.registration(self._runner_id)

    def unregister(self) -> bool:
        return self._ledger.unregister(self._runner_id)

    def interrupted(self, job: ForgeJob | None) -> Rerun:
        cut = None if job is None else CutJob(**msgspec.structs.asdict(job))
        answer = self._ledger.interrupted(self._runner_id, cut)
        return msgspec.convert({"state": answer.state, "url": answer.url, "reason": answer.reason}, Rerun)


class OwnKeeper:
    """This process itself, which has the forge's token: the agent runs beside it, with an environment of its own.

    Args:
        runner: Returns the runner as it is now.
        note: Writes down which registrations may be there.
    """

    def __init__(self, registrar: ForgeRegistrar, runner: Callable[[], Runner], note: Note) -> None:
        self._registrar, self._runner, self._note = registrar, runner, note
        self._waiting: ForgeJob | None = None

    def registration(self) -> bytes:
        return self._registrar.enrol(self._runner(), self._note, again=True)

    def unregister(self) -> bool:
        return self._registrar.unregister(self._runner())

    def interrupted(self, job: ForgeJob | None) -> Rerun:
        """Ask for the job; one that was found and is too early is asked for again by itself, also when the runner is gone."""
        known = self._waiting
        done = self._registrar.interrupted(self._runner(), job) if known is None else self._registrar.again(known)
        self._waiting = done.job if done.state == "waiting" else None
        return done
