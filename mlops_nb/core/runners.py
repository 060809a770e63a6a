"""Runners: machines that we rent or use, the states they go through, and the limits that end them. Pure; no I/O.

    REQUESTED → CREATING → BOOTING → IDLE ⇄ BUSY → DRAINING → DESTROYING → GONE
                                       ⇅
                                      LOST

`REQUESTED` is written and synced before anything is asked of a cloud. From each state but `GONE` the way to `DESTROYING` is
open, and nothing leads out of `GONE`: a runner is gone when nothing of it is left, and its `reason` says why.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

from mlops_nb.core.records import Record
from mlops_nb.errors import IllegalTransition, InvalidInput

CloudName = Literal["aws", "gcp", "azure", "kubernetes", "ssh", "local"]
AgentKind = Literal["github", "gitlab", "bitbucket", "notebook"]
ResourceKind = Literal[
    "machine", "disk", "address", "interface", "group", "network", "key", "spot", "job", "secret", "container", "registration"
]

DEFAULT_IDLE = 300.0
"""Seconds without work after which a runner ends, as CML's."""
DEFAULT_MAX_HOURS = 4.0
LONGEST_HOURS = 24.0 * 35
SHORTEST_IDLE = 10.0
REGISTER_SECONDS = 600.0
"""How long a machine may take until its agent reports; then it is destroyed."""
LEASE_SECONDS = 180.0
"""How long a lease lasts after a sign of life."""
BUSY_LEASE_SECONDS = 1800.0
"""How long a machine that works lives without an answer: a laptop with its server may sleep for a while, and the job goes on."""
GRACE_SECONDS = 300.0
"""How long after its hard stop a machine may still be there: its own switch comes first, the reaper after."""

TAG_RUNNER = "mlops-nb-runner"
TAG_INSTALLATION = "mlops-nb-installation"
TAG_EXPIRES = "mlops-nb-expires"
TAG_NAME = "mlops-nb-name"

_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,46}[a-z0-9])?", re.ASCII)


class RunnerState(StrEnum):
    """Where a runner is in its life."""

    REQUESTED = "requested"
    CREATING = "creating"
    BOOTING = "booting"
    IDLE = "idle"
    BUSY = "busy"
    LOST = "lost"
    DRAINING = "draining"
    DESTROYING = "destroying"
    GONE = "gone"

    @property
    def is_over(self) -> bool:
        return self is RunnerState.GONE

    @property
    def takes_work(self) -> bool:
        return self in (RunnerState.IDLE, RunnerState.BUSY)


_S = RunnerState
_NEXT: Mapping[RunnerState, frozenset[RunnerState]] = {
    _S.REQUESTED: frozenset({_S.CREATING, _S.DESTROYING, _S.GONE}),
    _S.CREATING: frozenset({_S.BOOTING, _S.IDLE, _S.BUSY, _S.LOST, _S.DRAINING, _S.DESTROYING}),
    _S.BOOTING: frozenset({_S.IDLE, _S.BUSY, _S.LOST, _S.DRAINING, _S.DESTROYING}),
    _S.IDLE: frozenset({_S.BUSY, _S.LOST, _S.DRAINING, _S.DESTROYING}),
    _S.BUSY: frozenset({_S.IDLE, _S.LOST, _S.DRAINING, _S.DESTROYING}),
    _S.LOST: frozenset({_S.IDLE, _S.BUSY, _S.DRAINING, _S.DESTROYING}),
    _S.DRAINING: frozenset({_S.LOST, _S.DESTROYING}),
    _S.DESTROYING: frozenset({_S.GONE}),
    _S.GONE: frozenset(),
}


def check_transition(old: RunnerState, new: RunnerState) -> None:
    """Check that a runner may go from one state to another; staying is always allowed.

    Raises:
        IllegalTransition: If it may not.
    """
    if new is not old and new not in _NEXT[old]:
        raise IllegalTransition(f"A runner that is {old} cannot become {new}.", hint="Launch a new one: mlops-nb runner launch")


def check_runner_name(name: str) -> str:
    """Return the name if clouds and forges take it: lower case, digits and hyphens, from a letter, at most 48 characters.

    Raises:
        InvalidInput: If they do not.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"A runner cannot be called {name[:80]!r}.", hint="Use lower-case letters, digits and hyphens, beginning with a letter: gpu-1"
        )
    return name


class Guards(Record, frozen=True, kw_only=True):
    """The limits of a runner; they can be longer, never off.

    Attributes:
        idle: Seconds without a job, a running cell and use of the GPU.
        max_hours: From its request on.
        max_cost: US dollars by the list price; None: what `max_hours` cost.
    """

    idle: float = DEFAULT_IDLE
    max_hours: float = DEFAULT_MAX_HOURS
    max_cost: float | None = None

    def __post_init__(self) -> None:
        if not SHORTEST_IDLE <= self.idle <= LONGEST_HOURS * 3600:
            raise InvalidInput(f"An idle limit of {self.idle:g} s cannot be.", hint="Give from 10 seconds to 35 days, such as 10m.")
        if not 0 < self.max_hours <= LONGEST_HOURS:
            raise InvalidInput(f"A limit of {self.max_hours:g} hours cannot be.", hint="Give more than 0, at most 840 hours.")
        if self.max_cost is not None and not 0 < self.max_cost < float("inf"):
            raise InvalidInput(f"A limit of {self.max_cost:g} dollars cannot be.", hint="Give more than 0: --max-cost 5")

    def seconds(self, hourly: float | None) -> float:
        """Return how long a machine of this hourly price (US dollars, None: not known) may be there at most.

        Raises:
            InvalidInput: If a cost limit is given and the price is not known.
        """
        longest = self.max_hours * 3600
        if self.max_cost is None or hourly == 0:
            return longest
        if hourly is None:
            raise InvalidInput("The price of this machine is not known, so its cost cannot be limited.", hint="Use --max-hours instead.")
        return min(longest, self.max_cost / hourly * 3600)


class MachineWish(Record, frozen=True, kw_only=True):
    """What machine is wanted. Empty and None mean: the cloud's default.

    Attributes:
        region: CML's short name (us-west, us-east, eu-west, eu-north), the cloud's own, or an AWS/GCP zone.
        zones: In this order; empty: all of the region.
        types: CML's size (s, m, l, xl, m+v100), or native types, in this order.
        gpu: nogpu, a short name (t4, l4, a10g, v100, a100, l40s, h100) or the cloud's own; `gpus` of them.
        cpus, memory_gb: At least, where no type is given.
        disk_gb: None: CML's 35, or what the image needs.
        spot_price: Highest hourly price in US dollars; None: up to the list price.
        image: The cloud's own name of an image; for containers, the container's.
        node_selector: Labels of a Kubernetes node.
    """

    region: str = ""
    zones: Sequence[str] = ()
    types: Sequence[str] = ()
    gpu: str = ""
    gpus: int = 0
    cpus: float | None = None
    memory_gb: float | None = None
    disk_gb: int | None = None
    spot: bool = False
    spot_price: float | None = None
    image: str = ""
    node_selector: Mapping[str, str] = {}


class AgentWish(Record, frozen=True, kw_only=True):
    """What shall work on the machine.

    Attributes:
        kind: A forge's CI agent, or `notebook`: jobs of `%runner run` alone.
        repository: URL of the repository, organisation, group or workspace that it serves; "" for notebook.
        labels: By which jobs choose it.
        single: It ends after one job.
        retry: Whether the workflow of a job that was cut off is run again, once.
        docker_volumes: Of GitLab's docker executor.
        docker_image: Default image of GitLab's docker executor.
        executor: Of GitLab: docker or shell.
    """

    kind: AgentKind = "notebook"
    repository: str = ""
    labels: Sequence[str] = ("cml",)
    single: bool = False
    retry: bool = True
    docker_volumes: Sequence[str] = ()
    docker_image: str = ""
    executor: Literal["docker", "shell"] = "docker"


class RunnerRequest(Record, frozen=True, kw_only=True):
    """All that was asked for; it holds no secret, so it may be kept and shown.

    Attributes:
        host: Of `ssh`: HOST or USER@HOST[:PORT].
        permission_set: Instance profile (AWS), service account and scopes (GCP), identities (Azure), service account (Kubernetes).
        metadata: More tags.
        startup_script: Shell text that runs before the agent. CML has it in base64; here it is decoded.
        ssh: Whether SSH shall be reachable with the key that was given.
        security_group, subnet: Of AWS (Azure and GCP: of theirs).
        namespace: Of Kubernetes.
    """

    name: str
    cloud: CloudName
    machine: MachineWish = MachineWish()
    agent: AgentWish = AgentWish()
    guards: Guards = Guards()
    host: str = ""
    permission_set: str = ""
    metadata: Mapping[str, str] = {}
    startup_script: str = ""
    ssh: bool = False
    security_group: str = ""
    subnet: str = ""
    namespace: str = ""


class Offer(Record, frozen=True, kw_only=True):
    """A machine that a cloud has: of which type, where, and its list price in US dollars an hour (None: not known)."""

    cloud: CloudName
    type: str
    region: str
    zone: str = ""
    spot: bool = False
    hourly: float | None = None
    cpus: float | None = None
    memory_gb: float | None = None
    gpu: str = ""
    gpus: int = 0

    def __str__(self) -> str:
        price = "price not known" if self.hourly is None else f"${self.hourly:.2f}/h"
        if self.cloud == "local":
            return f"this machine {price}"
        words = (self.type, self.cloud, self.zone or self.region, "spot" if self.spot else "", price)
        return " ".join(dict.fromkeys(word for word in words if word))


class Resource(Record, frozen=True, kw_only=True):
    """Something of ours in a cloud or at a forge.

    Attributes:
        id: The cloud's own, as it is asked for by.
        region: Where it is asked for: region, zone, resource group or namespace.
        tags: As it carries them.
        created: Seconds since 1970; None: not known.
        state: The cloud's own word.
    """

    kind: ResourceKind
    id: str
    region: str = ""
    tags: Mapping[str, str] = {}
    created: float | None = None
    state: str = ""

    @property
    def runner_id(self) -> str:
        return self.tags.get(TAG_RUNNER, "")

    @property
    def installation(self) -> str:
        return self.tags.get(TAG_INSTALLATION, "")

    @property
    def expires(self) -> float | None:
        """When its machine has to be gone (s since 1970), by its own tag; None: not said, or not readable."""
        text = self.tags.get(TAG_EXPIRES, "")
        return float(text) if text.isascii() and text.isdigit() else None


class RunnerEvent(Record, frozen=True, kw_only=True):
    """Something that happened to a runner; `data` is JSON."""

    time: float
    kind: str
    text: str = ""
    data: Mapping[str, Any] = {}


class Runner(Record, frozen=True, kw_only=True):
    """A runner as it is kept. Times are seconds since 1970.

    Attributes:
        id: 32 hex digits; the idempotency token of its machine, and in all its tags.
        revision: Counts the changes; who saves names the one that it has read.
        installation: Whose it is: reapers touch their own installation's alone.
        reason: Why it is where it is, for people; of a runner that is gone: why it ended.
        offer: What it got, once that is decided.
        resources: All that was made or may have been made of it, and is not known to be gone.
        hard_stop: When its machine ends by itself at the latest.
        lease_expires: When it counts as lost without another sign of life; None: it sends none, its own switch alone watches.
        last_seen: Its last sign of life.
        idle_since: Since when it has no work; None: it has, or is not ready.
        job: What it works on, for people; `jobs` how many it has had.
        registration: The forge's id of its agent.
        user, host: Who launched it, and from where.
        interrupted: The cloud has announced that it takes the machine back (s since 1970).
        drained: It was told to drain, and stays so also where it was lost meanwhile.
    """

    id: str
    revision: int = 0
    installation: str
    request: RunnerRequest
    state: RunnerState = RunnerState.REQUESTED
    reason: str = ""
    created: float
    updated: float
    offer: Offer | None = None
    resources: Sequence[Resource] = ()
    hard_stop: float
    lease_expires: float | None = None
    ready: float | None = None
    last_seen: float | None = None
    idle_since: float | None = None
    ended: float | None = None
    job: str = ""
    jobs: int = 0
    registration: str = ""
    user: str = ""
    host: str = ""
    interrupted: float | None = None
    drained: bool = False

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def cloud(self) -> CloudName:
        return self.request.cloud

    def cost(self, now: float) -> float | None:
        """Return what it has cost so far by the list price, in US dollars; None: the price is not known."""
        if self.offer is None:
            return 0.0
        if self.offer.hourly is None:
            return None
        return max(0.0, (self.ended or now) - self.created) / 3600 * self.offer.hourly

    def stops_at(self) -> float:
        """Return when it ends if nothing changes: by its idle limit or its hard stop, whichever comes first."""
        if self.idle_since is None:
            return self.hard_stop
        return min(self.hard_stop, self.idle_since + self.request.guards.idle)


class Heartbeat(Record, frozen=True, kw_only=True):
    """A sign of life from a machine. `uptime` in seconds; `job` "" while it has none.

    Attributes:
        gpu: Use of the busiest GPU, 0 to 1; None: none, or not known.
        notice: The cloud's announcement that it takes the machine back, as it came; "" while there is none.
        leaving: Why the agent is about to end; "" while it is not.
    """

    state: Literal["booting", "idle", "busy", "draining"]
    job: str = ""
    jobs: int = 0
    uptime: float = 0.0
    idle: float = 0.0
    gpu: float | None = None
    notice: str = ""
    leaving: str = ""
    log: str = ""


class Orders(Record, frozen=True, kw_only=True):
    """The answer to a heartbeat.

    Attributes:
        lease: Seconds from now that the machine may live without another answer.
        hard_stop: Seconds from now until it ends at the latest.
        idle: The idle limit (s), as it is now.
        drain: Take no more work and end after the present job.
        leave: End now.
    """

    lease: float
    hard_stop: float
    idle: float
    drain: bool = False
    leave: bool = False
