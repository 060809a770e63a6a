"""What a runner works on: a CI agent of a forge, or jobs of `%runner run`. The loop of the machine drives it through this protocol."""

from __future__ import annotations

from typing import Protocol

from mlops_nb.core.records import Record


class WorkStatus(Record, frozen=True, kw_only=True):
    """How the work is.

    Attributes:
        ready: It can take jobs; until then the machine counts as booting.
        busy: A job or a cell is being executed now.
        job: Which one, for people; "" while there is none.
        jobs: How many were begun so far.
        finished: It will take no more: the machine ends, with `reason`. Never while `busy`.
        failed: It ended because something went wrong; what that was is in `reason`.
    """

    ready: bool = True
    busy: bool = False
    job: str = ""
    jobs: int = 0
    finished: bool = False
    failed: bool = False
    reason: str = ""


class Work(Protocol):
    """What is executed on a machine.

    Threads: all methods are called by the loop's thread, one after the other, and return soon (`start` and `stop` apart): what takes
    long runs in threads or processes of the work's own. Errors that a method raises end the machine: what can be tried again
    is tried again inside. After `stop` nothing that the work has started is left: no process, no registration that it could
    remove, no secret on the disk.
    """

    def start(self) -> None:
        """Begin; called once. It may install what it needs, and take minutes: another thread keeps the lease meanwhile."""

    def poll(self) -> WorkStatus:
        """Return how it is now; called about once a second."""

    def drain(self) -> None:
        """Take no more jobs, and be `finished` when the present one has ended; at once if there is none. May be called again."""

    def interrupt(self, notice: str, seconds: float) -> None:
        """Be told that the machine ends in so many seconds, whatever the job does: save its state, have it done again elsewhere.

        It is `finished` when all is saved; `stop` follows then, or when the time has passed. `drain` is implied.

        Args:
            notice: Why, for people and for the log.
            seconds: How long the machine will be there.
        """

    def stop(self, timeout: float) -> None:
        """End all processes, ask for what is left to be removed, and return within about `timeout` seconds. May be called again."""
