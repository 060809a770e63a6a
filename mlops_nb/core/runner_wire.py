"""The JSON forms of `/api/v1/runners`: what `api.v1` answers, `store.rest_runners` asks, and machines send.

Runners, jobs and events stand for themselves; bytes travel as base64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from mlops_nb.core.runner_jobs import Job, JobState
from mlops_nb.core.runners import CloudName, Heartbeat, Offer, Orders, Resource, Runner, RunnerEvent, RunnerRequest, RunnerState
from mlops_nb.core.wire import Wire

Limit = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


# -- runners


class RunnerName(Wire, kw_only=True):
    """`runner`: its id, a beginning of it, or its name."""

    runner: str


class RunnerId(Wire, kw_only=True):
    runner_id: str


class RunnerList(Wire, kw_only=True):
    """Without states: all that are not gone, and those that ended in the last day."""

    states: list[RunnerState] | None = None
    max_results: Limit = 1000


class RunnersAnswer(Wire, kw_only=True):
    """`now` is the server's clock (s since 1970): what costs and ends are counted by it. `changes` grows with each change."""

    runners: Sequence[Runner]
    now: float
    changes: int


class RunnerAnswer(Wire, kw_only=True):
    runner: Runner


class RunnerAdd(Wire, kw_only=True):
    runner: Runner
    event: RunnerEvent


class RunnerSave(Wire, kw_only=True):
    runner_id: str = ""
    runner: Runner
    events: list[RunnerEvent] = []


class RunnerEventsAnswer(Wire, kw_only=True):
    events: Sequence[RunnerEvent]


class LogAsked(Wire, kw_only=True):
    """A negative `after` counts from the end of the log, in bytes."""

    runner_id: str
    after: int = 0
    max_bytes: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)] = 65_536


class LogAnswer(Wire, kw_only=True):
    text: str
    start: int
    end: int


class InstallationAnswer(Wire, kw_only=True):
    installation: str


class HoldRequest(Wire, kw_only=True):
    name: str
    holder: str
    seconds: Seconds


class HoldAnswer(Wire, kw_only=True):
    held: bool


class TicketRequest(Wire, kw_only=True):
    runner_id: str = ""
    secret: bytes
    seconds: Seconds


class TicketAnswer(Wire, kw_only=True):
    ticket: str


# -- verbs


class PlanRequest(Wire, kw_only=True):
    request: RunnerRequest


class LaunchRequest(PlanRequest, kw_only=True):
    """`ssh_public_key`: in OpenSSH's format, where SSH was asked for."""

    ssh_public_key: str = ""


class PlanAnswer(Wire, kw_only=True):
    """See `mlops_nb.runners.base.Plan`."""

    offers: Sequence[Offer]
    seconds: float
    hard_stop: float
    most: float | None = None


class DownRequest(Wire, kw_only=True):
    runner: str = ""
    reason: str = ""


class ActRequest(Wire, kw_only=True):
    runner: str = ""


class ExtendRequest(Wire, kw_only=True):
    """`seconds` are added to the hard stop; a higher cost limit (US dollars) may go with them."""

    runner: str = ""
    seconds: float
    max_cost: float | None = None


class ReapRequest(Wire, kw_only=True):
    """Without clouds: those that the runners of the ledger use; without regions: all that the accounts use."""

    clouds: list[CloudName] | None = None
    regions: list[str] = []
    repositories: list[str] = []
    names: list[str] = []
    dry_run: bool = False


class ReapAnswer(Wire, kw_only=True):
    """See `mlops_nb.runners.base.Reaped`; `clean` says whether all was seen and nothing is there that ought to be gone."""

    destroyed: Sequence[Resource] = ()
    left: Sequence[Resource] = ()
    unseen: Mapping[str, str] = {}
    kept: Sequence[Resource] = ()
    ended: Sequence[Runner] = ()
    skew: float | None = None
    dry_run: bool = False
    clean: bool = True


class DoctorRequest(Wire, kw_only=True):
    clouds: list[CloudName] | None = None
    repositories: list[str] = []


class DoctorLine(Wire, kw_only=True):
    """See `mlops_nb.clouds.base.Finding`."""

    what: str
    ok: bool
    text: str
    hint: str = ""


class DoctorAnswer(Wire, kw_only=True):
    findings: list[DoctorLine]


# -- machines


class RedeemRequest(Wire, kw_only=True):
    ticket: str = ""


class RedeemAnswer(Wire, kw_only=True):
    """`token` is the agent's, and `secret` what its launcher has left for it."""

    runner: Runner
    token: str
    secret: bytes


class HeartbeatRequest(Wire, kw_only=True):
    runner_id: str = ""
    beat: Heartbeat


class OrdersAnswer(Wire, kw_only=True):
    orders: Orders


class LogAppend(Wire, kw_only=True):
    runner_id: str = ""
    offset: Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
    text: str


class LogLength(Wire, kw_only=True):
    length: int


class ClaimRequest(Wire, kw_only=True):
    runner_id: str = ""
    claim: str = ""


class ClaimAnswer(Wire, kw_only=True):
    job: Job | None = None


class MachineAct(Wire, kw_only=True):
    runner_id: str = ""


class SecretAnswer(Wire, kw_only=True):
    secret: bytes


class RemovedAnswer(Wire, kw_only=True):
    """`removed` is false while the forge says that the runner has a job."""

    removed: bool


class CutJob(Wire, kw_only=True):
    """The job of a forge that is cut off, as far as the machine knows it."""

    id: str
    run: str
    name: str = ""
    repository: str = ""
    attempt: int = 1
    url: str = ""


class InterruptedRequest(Wire, kw_only=True):
    runner_id: str = ""
    job: CutJob | None = None


class InterruptedAnswer(Wire, kw_only=True):
    """See `mlops_nb.forges.runners.Rerun`: started, waiting or refused."""

    state: str
    url: str = ""
    reason: str = ""


# -- jobs


class JobName(Wire, kw_only=True):
    """`job`: its id, a beginning of it, or its name."""

    job: str


class JobList(Wire, kw_only=True):
    runner_id: str | None = None
    states: list[JobState] | None = None
    max_results: Limit = 100


class JobsAnswer(Wire, kw_only=True):
    jobs: Sequence[Job]


class JobAnswer(Wire, kw_only=True):
    job: Job


class JobAdd(Wire, kw_only=True):
    job: Job


class JobSave(Wire, kw_only=True):
    job_id: str = ""
    job: Job
