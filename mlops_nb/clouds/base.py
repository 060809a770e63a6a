"""What a cloud can do for us: one protocol, its records and its errors.

    CloudError
    ├── CloudUnreachable     no answer that helps; a call that was sent may have taken effect
    ├── NoCredentials        none found, or expired, or not accepted
    ├── PermissionMissing    the credentials may not do this; `permission` names the action
    ├── NoCapacity           nothing of this offer is there now: the next zone or type may have it
    ├── QuotaExceeded        the account may not have (more of) this; `quota` names the limit
    ├── WishRefused          a type, image, region, key … that does not exist or does not fit
    └── CloudThrottled       too many calls, and it stayed so through the retries

Nothing here does I/O or imports a provider's library.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol

from mlops_nb.core.records import Record
from mlops_nb.core.runners import CloudName, MachineWish, Offer, Resource
from mlops_nb.errors import InvalidInput, MlopsError, PermissionDenied, StoreUnreachable

Note = Callable[[Resource], None]
MachinePhase = Literal["starting", "running", "stopping", "gone", "unknown"]


class CloudError(MlopsError):
    """Base of the errors of clouds. `code` is the provider's own."""

    def __init__(self, message: str, *, hint: str | None = None, provider_code: str = "") -> None:
        super().__init__(message, hint=hint)
        self.provider_code = provider_code


class CloudUnreachable(CloudError, StoreUnreachable):
    """No answer that helps; a call that was sent may have taken effect."""


class NoCredentials(CloudError, PermissionDenied):
    """No credentials, or expired ones, or none that the cloud accepts."""


class PermissionMissing(CloudError, PermissionDenied):
    """The credentials may not do this. `permission` is the action as the provider names it, where it says so."""

    def __init__(self, message: str, *, hint: str | None = None, provider_code: str = "", permission: str = "") -> None:
        super().__init__(message, hint=hint, provider_code=provider_code)
        self.permission = permission


class NoCapacity(CloudError):
    """There is nothing of this offer now. Another zone or type may have it."""


class QuotaExceeded(CloudError):
    """The account may not have this, or no more of it. `quota` is the limit as the provider names it.

    `everywhere` says whether it holds for the whole region, so that another zone does not help.
    """

    def __init__(self, message: str, *, hint: str | None = None, provider_code: str = "", quota: str = "", everywhere: bool = True) -> None:
        super().__init__(message, hint=hint, provider_code=provider_code)
        self.quota = quota
        self.everywhere = everywhere


class WishRefused(CloudError, InvalidInput):
    """A type, image, region, key, role or network that does not exist or does not fit."""


class CloudThrottled(CloudError):
    """Too many calls; it stayed so through the retries."""


class MachineOrder(Record, frozen=True, kw_only=True):
    """What is to be created, whichever offer is taken.

    Attributes:
        token: Idempotency token: 32 hex digits. The same token never makes two machines. Names that a cloud wants derive from it.
        name: For people.
        tags: Inside the create call, on all that it makes: `core.runners.TAG_*` and those of the user.
        user_data: The start-up script, plain text; a machine reads it at its first boot. It holds no lasting secret.
        secret: For Kubernetes alone, where a Secret object carries it: what a machine elsewhere would exchange its ticket for.
        max_seconds: How long the machine may live at most; clouds that can end it by themselves are told so.
        ssh_public_key: In OpenSSH's format; "": no SSH, no inbound rule.
    """

    token: str
    name: str
    tags: Mapping[str, str]
    user_data: str
    secret: Mapping[str, str] = {}
    max_seconds: float
    image: str = ""
    disk_gb: int | None = None
    permission_set: str = ""
    ssh_public_key: str = ""
    security_group: str = ""
    subnet: str = ""
    namespace: str = ""
    node_selector: Mapping[str, str] = {}
    spot_price: float | None = None

    def __repr__(self) -> str:
        return f"MachineOrder(token={self.token!r}, name={self.name!r}, …)"


class Machine(Record, frozen=True, kw_only=True):
    """A machine as the cloud has it. `reason` is the cloud's own word on why it ended or failed."""

    resource: Resource
    phase: MachinePhase
    reason: str = ""
    address: str = ""


class Found(Record, frozen=True, kw_only=True):
    """What carries our tags. `unseen` maps places that could not be looked at to why not: never take them for empty.

    `clock` is the time when it was looked (s since 1970) as the cloud itself has it, from the `Date` of its answers; None: it does
    not say. A reaper whose own clock is wrong goes by it.
    """

    resources: Sequence[Resource] = ()
    unseen: Mapping[str, str] = {}
    clock: float | None = None


class Finding(Record, frozen=True, kw_only=True):
    """A line of the doctor: what was looked at, how it is, and what to do where it is not well."""

    what: str
    ok: bool
    text: str
    hint: str = ""


class Cloud(Protocol):
    """One account of a provider. Methods block; instances belong to one thread. All raise `CloudError`.

    Retries of throttled and cut calls, with time-outs, are inside. A create whose answer is lost is asked for again with
    the same token. Lists are complete: all pages are read.
    """

    name: CloudName

    def check(self) -> Sequence[Finding]:
        """Look at credentials, permissions and limits without changing anything."""

    def offers(self, wish: MachineWish) -> Sequence[Offer]:
        """Return what fits, in the order to try: types as wished, zones within. Prices are list prices.

        Raises:
            WishRefused: If nothing can fit: it says what there is.
        """

    def create(self, order: MachineOrder, offer: Offer, note: Note) -> Machine:
        """Create the machine and all that it needs, or return the one that this token has made.

        `note` is called before each call that makes something, with what may then be there (its id as far as it is known),
        and again when its id is known; it returns when that has been written down. Where it raises nothing more is made.

        Raises:
            NoCapacity, QuotaExceeded, …: Then nothing that this call made is left, unless removing failed, too: it was noted.
        """

    def describe(self, machine: Resource) -> Machine:
        """Return how the machine is; `gone` where there is none of this id."""

    def console(self, machine: Resource) -> str:
        """Return the end of what the machine has printed, at most 64 KiB; "" where the cloud has nothing."""

    def find(self, installation: str, *, regions: Collection[str] = ()) -> Found:
        """Return all that carries the installation's tag, in these regions or all that the account uses.

        Resources of ours that lost their machine (groups, disks, addresses, keys) are among them.
        """

    def destroy(self, resources: Sequence[Resource], installation: str) -> Sequence[Resource]:
        """Remove these, children first, and return those that are still there; call again until that is empty.

        Idempotent. Each is looked at first: what does not carry the installation's tag is never touched; it is left out of the answer.
        A resource that was only noted as possible is looked for by its token.
        """
