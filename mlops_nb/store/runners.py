"""The contract of the ledger of runners: what was asked of clouds is written here, and synced, before it is asked."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

import msgspec

from mlops_nb.core.runner_jobs import Job, JobState
from mlops_nb.core.runners import Heartbeat, Orders, Runner, RunnerEvent, RunnerState
from mlops_nb.errors import InvalidInput

TICKET_SECONDS = 1800.0
MAX_LOG = 4 << 20
"""How much of a machine's log is kept (bytes)."""
KEEP_LOG_SECONDS = 30 * 86_400.0
"""How long a log is kept after its runner has ended; runners and what happened to them stay."""
AGENT_TOKEN_PREFIX = "mnba_"
"""How the tokens of agents begin: they open what belongs to their runner, and nothing else of a server."""
ENV_INSTALLATION = "MLOPS_NB_INSTALLATION"
_INSTALLATION = re.compile(r"[0-9a-z](?:[0-9a-z-]{0,61}[0-9a-z])?", re.ASCII)


def checked_installation(name: str) -> str:
    """Return the id of an installation if clouds take it as a tag.

    Raises:
        InvalidInput: If they do not.
    """
    if not _INSTALLATION.fullmatch(name):
        hint = "Use at most 63 small letters, digits and hyphens, as labels of clouds have them."
        raise InvalidInput(f"{ENV_INSTALLATION}={name[:80]!r} cannot be.", hint=hint)
    return name


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of what a machine has said: `text` from the byte `start` on; the next piece begins at `end`."""

    text: str
    start: int
    end: int


class RunnerLedger(ABC):
    """Where runners and their jobs are kept.

    Threads, processes and errors: as for `TrackingStore`. Durability: what a method has written is on the disk (synced, also with
    SQLite's quick settings) when it returns. Times: seconds since 1970.
    Two that change the same record at once: one gets `Conflict`, reads again and decides anew.
    """

    @abstractmethod
    def installation(self) -> str:
        """Return the id of this installation, made on first use: 32 hex digits. `MLOPS_NB_INSTALLATION` wins over it."""

    @abstractmethod
    def changes(self) -> int:
        """Return a number that grows with each change of a runner or a job, for who follows them."""

    @abstractmethod
    def hold(self, name: str, holder: str, seconds: float) -> bool:
        """Take, or keep, what only one process at a time shall do, for so many seconds; False: another one holds it.

        With 0 seconds it is let go. A name has at most 64 characters, such as `reaper` or a runner's id.
        """

    @abstractmethod
    def add(self, runner: Runner, event: RunnerEvent) -> Runner:
        """Write a new runner down.

        Raises:
            AlreadyExists: If a runner that is not gone has its name, or one its id.
        """

    @abstractmethod
    def get(self, runner: str) -> Runner:
        """Return a runner by its id, a beginning of it (6 digits and more), or its name.

        Of several of one name it is the one that is not gone, else the newest.

        Raises:
            NotFound: If there is none.
        """

    @abstractmethod
    def list(self, *, states: Collection[RunnerState] | None = None, max_results: int = 1000) -> Sequence[Runner]:
        """Return runners, the newest first; None: all that are not gone, and those that ended in the last day."""

    @abstractmethod
    def save(self, runner: Runner, *events: RunnerEvent) -> Runner:
        """Write a changed runner and what happened to it, in one transaction; the answer has the next revision.

        Raises:
            Conflict: If it was changed since it was read.
            IllegalTransition: If its new state cannot follow.
            NotFound: If there is none.
        """

    @abstractmethod
    def events(self, runner_id: str) -> Sequence[RunnerEvent]:
        """Return what happened to a runner, in order."""

    # -- machines: what an agent does, by its own token

    @abstractmethod
    def issue_ticket(self, runner_id: str, secret: bytes, *, seconds: float = TICKET_SECONDS) -> str:
        """Keep a secret for a machine, encrypted by a key outside the database, and return the ticket that it is exchanged for, once.

        A new ticket takes the place of the runner's old one. Only a hash of the ticket is kept.
        """

    @abstractmethod
    def redeem(self, ticket: str) -> tuple[Runner, str, bytes]:
        """Exchange a ticket for its runner, the token of the agent (kept as a hash), and the secret, which is erased here.

        Raises:
            PermissionDenied: If the ticket is not known, was redeemed, or is too old; a second try is an event of the runner.
        """

    @abstractmethod
    def agent(self, token: str) -> Runner:
        """Return the runner that an agent's token belongs to.

        Raises:
            PermissionDenied: If there is none, or it is gone.
        """

    @abstractmethod
    def heartbeat(self, runner_id: str, beat: Heartbeat) -> Orders:
        """Note a sign of life, renew the lease and return what the agent shall do. Brings back a runner that counted as lost.

        An agent that says that it leaves makes its runner DRAINING, with the reason.
        """

    @abstractmethod
    def append_log(self, runner_id: str, offset: int, text: str) -> int:
        """Add to a machine's log at the byte `offset`, exactly once whatever is sent again, and return the length now.

        The last `MAX_LOG` bytes are kept. With no text it only says where the log ends: an agent that begins anew goes on there.
        """

    @abstractmethod
    def log(self, runner_id: str, *, after: int = 0, max_bytes: int = 65_536) -> LogPage:
        """Return a piece of a machine's log, from the byte `after` on or the first that is kept; a negative `after` counts from the end.

        Characters stay whole. At the end of the log the text is empty and `end` is `after`.
        """

    @abstractmethod
    def add_run(self, runner_id: str, run_id: str) -> None:
        """Note a run that a machine has begun besides those of its jobs: only these it may write."""

    @abstractmethod
    def may_write(self, runner_id: str, run_id: str) -> bool:
        """Return whether a run is of a job of this runner, or was begun by it. A job that another runner has taken over is not."""

    # -- jobs

    @abstractmethod
    def add_job(self, job: Job) -> Job:
        """Write a new job down.

        Raises:
            AlreadyExists: If there is one of this id.
        """

    @abstractmethod
    def job(self, job: str) -> Job:
        """Return a job by its id, a beginning of it, or its name (the newest).

        Raises:
            NotFound: If there is none.
        """

    @abstractmethod
    def jobs(self, *, runner_id: str | None = None, states: Collection[JobState] | None = None, max_results: int = 100) -> Sequence[Job]:
        """Return jobs, the newest first."""

    @abstractmethod
    def save_job(self, job: Job) -> Job:
        """Write a changed job; the answer has the next revision.

        Raises:
            Conflict: If it was changed since it was read.
            IllegalTransition: If it is over, and is said to be in another state.
            NotFound: If there is none.
        """

    @abstractmethod
    def claim_job(self, runner_id: str, *, claim: str = "") -> Job | None:
        """Give the oldest waiting job of a runner to it: it is RUNNING with one attempt more. None: there is none.

        Exactly one caller gets it, also when several ask at once. Jobs wait that are QUEUED or INTERRUPTED, were not begun
        `MOST_ATTEMPTS` times and shall not be cancelled; those of no runner go to whichever runner for notebooks asks.
        A runner that is interrupted, draining or ending gets none.

        Args:
            claim: What the caller calls this asking; asking again in the same words gives the same job again, for where the
                answer was lost.
        """
