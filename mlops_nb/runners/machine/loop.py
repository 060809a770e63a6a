"""The loop of a runner's machine: signs of life, the lease, the idle limit, notices of the cloud, and the end.

It is the same on a rented machine, in a pod, behind `ssh:` and in the foreground of `mlops-nb runner launch`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from mlops_nb.core.records import Record
from mlops_nb.core.runners import LEASE_SECONDS, Guards
from mlops_nb.runners.machine.server import Server
from mlops_nb.runners.machine.work import Work

BEAT_SECONDS = 20.0


class Ended(Record, frozen=True, kw_only=True):
    """How the loop ended: why, for people; how many jobs there were; whether something went wrong."""

    reason: str
    jobs: int = 0
    failed: bool = False


class Switch(Protocol):
    """The dead-man's switch of the machine, which ends it if nobody says otherwise. It may be called by several threads."""

    def renew(self, seconds: float) -> None:
        """Let the machine live for so many seconds from now without another word."""

    def hard_stop(self, seconds: float) -> None:
        """End the machine in so many seconds at the latest, whatever is renewed."""


class Notice(Record, frozen=True, kw_only=True):
    """An announcement of the cloud: it takes the machine back in `seconds`, or (`final` False) it may do so some time."""

    text: str
    seconds: float
    final: bool = True


class Notices(Protocol):
    """Where a cloud announces that it takes the machine back."""

    def check(self) -> Notice | None:
        """Return what is announced now; None: nothing, or it could not be asked (which is logged once)."""


class MachineLoop:
    """Drives the work of one machine until it is over.

    Args:
        work: What is executed here.
        guards: The limits; the idle limit and the hard stop follow the server's orders where there is a server.
        hard_stop: Seconds from now until the end at the latest; None: `guards.max_hours`.
        server: Who keeps the runner; None: nobody, the loop renews the lease by itself while it lives.
        switch: The dead-man's switch; None: this machine is not ours to switch off.
        notices: Where to look for spot notices.
        gpu: Returns the use of the busiest GPU, 0 to 1; None: none, or not known.
        tell: Gets a line for people at each change.
        lease: How long the switch is set to where there is no server (s).
        beat: Seconds between two signs of life.
    """

    def __init__(
        self,
        work: Work,
        guards: Guards,
        *,
        hard_stop: float | None = None,
        server: Server | None = None,
        switch: Switch | None = None,
        notices: Sequence[Notices] = (),
        gpu: Callable[[], float | None] = lambda: None,
        tell: Callable[[str], None] = lambda line: None,
        lease: float = LEASE_SECONDS,
        beat: float = BEAT_SECONDS,
    ) -> None:
        self.work = work
        self.guards = guards

    def run(self) -> Ended:
        """Start the work, keep it, and end it; return when nothing of it is left. Raises what the work raises, after its `stop`."""
        raise NotImplementedError

    def drain(self, reason: str) -> None:
        """Take no more work and end after the present job; from a signal handler or another thread."""

    def leave(self, reason: str, seconds: float = 30.0) -> None:
        """End within so many seconds: the job is told that it is interrupted. From a signal handler or another thread."""
