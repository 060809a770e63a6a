"""Machines on a host that is there already, this one or one behind SSH: a folder, a script and a keeper each, by `keeper.sh`.

A machine's folder is named by its token, so asking twice makes one, and whoever looks at the host finds it. The start-up script gets
in its environment `MLOPS_NB_MACHINE` (its mark: what it starts has to keep it), `MLOPS_NB_MACHINE_DIR` (its folder), `MLOPS_NB_LEASE`
and `MLOPS_NB_HARD_STOP` (files with seconds of the host's uptime, which the agent writes to live on; see `keeper.sh`), and a `TMPDIR`
that goes with it.
"""

from __future__ import annotations

import importlib.resources
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

import msgspec

from mlops_nb.clouds.base import Finding, Found, Machine, MachineOrder, MachinePhase, Note, WishRefused
from mlops_nb.core.records import Record
from mlops_nb.core.runners import REGISTER_SECONDS, TAG_INSTALLATION, CloudName, MachineWish, Offer, Resource
from mlops_nb.errors import MlopsError

CONSOLE_BYTES = 65_536
_TOKEN = re.compile(r"[0-9a-f]{32}", re.ASCII)
_PHASES: Mapping[str, MachinePhase] = {"starting": "starting", "running": "running", "ended": "gone"}


class Abilities(Record, frozen=True, kw_only=True):
    """What a host has: processors, memory (GiB), and the names of its GPUs."""

    cpus: float
    memory_gb: float
    gpus: Sequence[str] = ()


class _Kept(Record, frozen=True, kw_only=True):
    tags: dict[str, str] = {}
    name: str = ""
    created: float = 0.0


class _Shown(Record, frozen=True, kw_only=True):
    token: str
    state: str
    record: _Kept
    reason: str


class HostCloud(ABC):
    """What this machine and hosts behind SSH have in common; `_shell` runs a program of POSIX shell on the host.

    Args:
        grace: Seconds that processes get between SIGTERM and SIGKILL.
        first_lease: Seconds until the agent has to have written its first lease.
        turn: Seconds between two looks of the keeper.
    """

    name: CloudName
    unit: str = "plain"

    def __init__(self, *, grace: int = 5, first_lease: float = REGISTER_SECONDS, turn: float = 2) -> None:
        self._grace = grace
        self._first_lease = first_lease
        self._turn = turn

    @abstractmethod
    def _shell(self, host: str, program: str, *, seconds: float = 60.0) -> str:
        """Run a program on a host and return what it has printed."""

    @abstractmethod
    def _base(self, host: str) -> str:
        """Return the folder of all machines as a word of shell."""

    @abstractmethod
    def _hosts(self, wanted: Collection[str]) -> Sequence[str]:
        """Return the hosts to look at; none wanted: all that were used."""

    @abstractmethod
    def _abilities(self, host: str) -> Abilities:
        """Return what a host has."""

    @abstractmethod
    def check(self) -> Sequence[Finding]:
        """See `Cloud.check`."""

    def offers(self, wish: MachineWish) -> Sequence[Offer]:
        """Return the host as the one offer there is, at no price: `wish.region` names it."""
        if wish.spot:
            raise WishRefused(f"{self._place(wish.region)} has no spot price.", hint="Leave --cloud-spot out.")
        have = self._abilities(wish.region)
        gpus = [name for name in have.gpus if wish.gpu in ("", "nogpu") or _plain(wish.gpu) in _plain(name)]
        wanted = 0 if wish.gpu == "nogpu" else max(wish.gpus, 1 if wish.gpu else 0)
        for what, want, has in (
            ("processors", wish.cpus or 0, have.cpus),
            ("GiB of memory", wish.memory_gb or 0, have.memory_gb),
            (f"GPUs {wish.gpu}".strip(), wanted, len(gpus)),
        ):
            if want > has:
                there = f", but {', '.join(have.gpus)}" if have.gpus and "GPU" in what else ""
                raise WishRefused(f"{self._place(wish.region)} has {has:g} {what}{there}; {want:g} were asked for.")
        return [
            Offer(
                cloud=self.name,
                type=self.name,
                region=wish.region,
                hourly=0.0,
                cpus=have.cpus,
                memory_gb=have.memory_gb,
                gpu=gpus[0] if gpus else "",
                gpus=len(gpus),
            )
        ]

    def create(self, order: MachineOrder, offer: Offer, note: Note) -> Machine:
        """Start the machine, or return the one that this token has made, even if that has ended."""
        token, host = _checked(order.token), offer.region
        for wish, text in ((order.image, "--cloud-image"), (order.permission_set, "--cloud-permission-set")):
            if wish:
                raise WishRefused(f"{self._place(host)} takes no {text}.", hint="Leave it out.")
        kept = _Kept(tags=dict(order.tags), name=order.name, created=time.time())
        resource = Resource(kind="machine", id=token, region=host, tags=kept.tags, created=kept.created)
        note(resource)
        max_seconds = max(1, int(order.max_seconds))
        files = {
            "record.json": msgspec.json.encode(kept).decode(),
            "limits": f"{max_seconds} {max(1, int(self._first_lease))} {self._grace} {self._turn}",
            "start": order.user_data,
            "keeper.sh": keeper(),
        }
        new = f'"$base"/.new-{token}-$$'
        written = "\n".join(_written(f"{new}/{name}", text) for name, text in files.items())
        program = f"""umask 077
base={self._base(host)}
if [ ! -d "$base"/{token} ]; then
mkdir -p "$base" && find "$base" -maxdepth 1 -name '.new-*' -mtime +1 -exec rm -rf {{}} + && mkdir {new} {new}/work || exit 73
{written}
: >{new}/console
[ -d "$base"/{token} ] || mv {new} "$base"/{token}
rm -rf "$base"/{token}/.new-* {new}
fi
load "$base"/{token} && launch {self.unit}
show
"""
        made = next(iter(self._ask(host, program)), None)
        return self._machine(made, resource)

    def describe(self, machine: Resource) -> Machine:
        """See `Cloud.describe`."""
        return self._machine(self._look(machine), machine)

    def console(self, machine: Resource) -> str:
        """See `Cloud.console`."""
        if not _TOKEN.fullmatch(machine.id):
            return ""
        folder = f"{self._base(machine.region)}/{machine.id}"
        program = f"if [ -r {folder}/console ]; then tail -c {CONSOLE_BYTES} {folder}/console; fi"
        return self._shell(machine.region, program)

    def find(self, installation: str, *, regions: Collection[str] = ()) -> Found:
        """See `Cloud.find`; regions are hosts."""
        resources: list[Resource] = []
        unseen: dict[str, str] = {}
        for host in self._hosts(regions):
            program = f'base={self._base(host)}\nfor dir in "$base"/*/; do if load "${{dir%/}}" && [ -d "$dir" ]; then show; fi; done\n:'
            try:
                shown = self._ask(host, program)
            except MlopsError as error:
                unseen[host] = str(error)
                continue
            found = (self._resource(one, host) for one in shown)
            resources.extend(one for one in found if one.installation == installation)
        return Found(resources=resources, unseen=unseen)

    def destroy(self, resources: Sequence[Resource], installation: str) -> Sequence[Resource]:
        """End the machines with all their processes and remove their folders; see `Cloud.destroy`."""
        left: list[Resource] = []
        for resource in resources:
            shown = self._look(resource)
            if shown is None or shown.record.tags.get(TAG_INSTALLATION) != installation:
                continue
            folder = f"{self._base(resource.region)}/{shown.token}"
            program = f"load {folder} && stop\nif [ -d {folder} ]; then load {folder} && show; fi\n:"
            left.extend(self._resource(one, resource.region) for one in self._ask(resource.region, program, seconds=60.0 + 2 * self._grace))
        return left

    def _look(self, machine: Resource) -> _Shown | None:
        if not _TOKEN.fullmatch(machine.id):
            return None
        program = f'base={self._base(machine.region)}\nif [ -d "$base"/{machine.id} ]; then load "$base"/{machine.id} && show; fi'
        return next(iter(self._ask(machine.region, program)), None)

    def _ask(self, host: str, calls: str, *, seconds: float = 60.0) -> list[_Shown]:
        lines = self._shell(host, f"{keeper()}\n{calls}", seconds=seconds).splitlines()
        # What a login prints of its own comes first; each of ours begins with a token.
        start = next((at for at, line in enumerate(lines) if _TOKEN.fullmatch(line.partition(" ")[0])), len(lines))
        ours = lines[start:]
        shown = []
        for head, record, reason in zip(ours[::3], ours[1::3], ours[2::3], strict=False):
            token, _, state = head.partition(" ")
            try:
                kept = msgspec.json.decode(record, type=_Kept)
            except msgspec.DecodeError:
                kept = _Kept()
            shown.append(_Shown(token=token, state=state, record=kept, reason=reason))
        return shown

    def _resource(self, shown: _Shown, host: str) -> Resource:
        record = shown.record
        return Resource(kind="machine", id=shown.token, region=host, tags=record.tags, created=record.created or None, state=shown.state)

    def _machine(self, shown: _Shown | None, resource: Resource) -> Machine:
        if shown is None:
            return Machine(resource=resource, phase="gone", reason="there is none of this name")
        phase = _PHASES.get(shown.state, "unknown")
        reason = shown.reason or ("its processes are gone: was the host started anew?" if phase == "gone" else "")
        return Machine(resource=self._resource(shown, resource.region), phase=phase, reason=reason, address=resource.region)

    def _place(self, host: str) -> str:
        return host or "This machine"


def keeper() -> str:
    """Return the text of `keeper.sh`."""
    return importlib.resources.files("mlops_nb.clouds").joinpath("keeper.sh").read_text(encoding="utf-8")


def _written(path: str, text: str) -> str:
    """Return shell that writes a text into a file, whatever is in it; a line's end is added where there is none."""
    if "\0" in text:
        raise WishRefused("A start-up script with a NUL character cannot be run.")
    mark = f"END_{secrets.token_hex(16)}"
    return f"cat >{path} <<'{mark}' || exit 73\n{text if text.endswith(chr(10)) else text + chr(10)}{mark}"


def _checked(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise WishRefused(f"{token[:40]!r} is no token of a machine: 32 hexadecimal digits are.")
    return token


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("nvidia").replace("tesla", ""))
