"""What the life of runners is told through: plans, what a reaper did, and the parts that others bring."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from mlops_nb.clouds.base import Found, Note
from mlops_nb.core.records import Record
from mlops_nb.core.runners import Offer, Resource, Runner, RunnerRequest


class Plan(Record, frozen=True, kw_only=True):
    """What a launch would do, as `--dry-run` shows it.

    Attributes:
        offers: In the order in which they are tried.
        seconds: How long a machine of the first offer may live at most, by hours and cost.
        hard_stop: When it would end at the latest if it were requested now (s since 1970).
        most: US dollars that it can cost at most by the list price of the dearest offer; None: a price is not known.
    """

    request: RunnerRequest
    offers: Sequence[Offer]
    seconds: float
    hard_stop: float
    most: float | None

    @property
    def offer(self) -> Offer:
        return self.offers[0]

    @property
    def hourly(self) -> float | None:
        """List price of the first offer, in US dollars an hour; None: not known."""
        return self.offer.hourly


class Reaped(Record, frozen=True, kw_only=True):
    """What one pass of the reaper came to.

    Attributes:
        destroyed: What is gone now because of it (with `dry_run`: what would be).
        left: What ought to be gone and is still there; another pass goes on with it.
        unseen: Places that could not be looked at, and why not. They are not clean: nothing is known of them.
        kept: What is ours and lives rightly.
        ended: Runners whose records this pass closed.
        skew: Seconds by which this machine's clock is ahead of the clouds' own, where they said their time; theirs was used.
        dry_run: Nothing was touched.
    """

    destroyed: Sequence[Resource] = ()
    left: Sequence[Resource] = ()
    unseen: Mapping[str, str] = {}
    kept: Sequence[Resource] = ()
    ended: Sequence[Runner] = ()
    skew: float | None = None
    dry_run: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether all was seen, and nothing is there that ought to be gone."""
        return not self.left and not self.unseen and not (self.dry_run and self.destroyed)


class Clock(Protocol):
    """The time, and waiting for it to pass."""

    def now(self) -> float:
        """Return seconds since 1970."""

    def wait(self, seconds: float) -> None:
        """Return after so many seconds."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


class Registrar(Protocol):
    """The registrations of agents at one place of a forge: a repository, organisation, group or workspace.

    They are resources of the kind `registration`: `region` is the URL of the place, `tags` at least the installation's and the
    runner's, and the expiry where the forge can keep it; `state` is `online`, `busy` or `offline`.
    Errors are `ForgeError`s. A registration that was only noted as possible (its `id` is "") is looked for by its runner.
    """

    def find(self, installation: str) -> Found:
        """Return all registrations that carry the installation's mark."""

    def destroy(self, resources: Sequence[Resource], installation: str) -> Sequence[Resource]:
        """Remove these and return those that are still there. Idempotent; what does not carry the mark is never touched."""


class Preparation(Protocol):
    """Makes what the machine of one runner starts with; an object serves one launch.

    `enrol` is called once, `script` once for each offer that is tried, and `forget` when the agent has reported or the launch has
    failed: not where nobody waits for the agent, and not where the process goes away and another goes on.
    """

    def enrol(self, runner: Runner, note: Note) -> Mapping[str, str]:
        """Get what the agent needs, and leave it where the machine fetches it.

        The registration that is about to be made is noted before; `note` returns when that is written down.

        Returns:
            What a cloud that can carry a secret by itself gives the machine (`MachineOrder.secret`); empty elsewhere.
        """

    def script(self, runner: Runner) -> str:
        """Return the start-up script for the offer and the hard stop that the runner has now."""

    def forget(self) -> None:
        """Remove what was left for the machine and was not fetched: called when it is ready, and when the launch failed."""
