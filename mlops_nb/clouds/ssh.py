"""Hosts behind SSH as a cloud: the system's own `ssh`, the user's keys and settings, host keys checked, no question asked.

A server on the loopback of the machine that launches is reached from the host through a reverse tunnel: `reachable` says under which
address, and `create` holds the tunnel open, by a process in the background that ends with the machine.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import time
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from mlops_nb.clouds.base import CloudError, CloudUnreachable, Finding, Machine, MachineOrder, NoCredentials, Note, WishRefused
from mlops_nb.clouds.hosts import Abilities, HostCloud
from mlops_nb.clouds.local import LocalCloud, machines_folder
from mlops_nb.core.runners import TAG_INSTALLATION, CloudName, Offer, Resource
from mlops_nb.errors import MlopsError

_HOST = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.\\@+-]{0,63})@)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>\d{1,5}))?",
    re.ASCII,
)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_FIRST_PORT, _PORTS = 20_000, 12_000
_OPTIONS = (
    *("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5"),
    *("-o", "ServerAliveCountMax=3", "-o", "ForwardAgent=no", "-o", "ForwardX11=no", "-o", "PermitLocalCommand=no"),
)
_ABILITIES = """{ nproc || getconf _NPROCESSORS_ONLN; } 2>/dev/null
if [ -r /proc/meminfo ]; then grep MemTotal: /proc/meminfo | tr -dc 0-9; echo; else sysctl -n hw.memsize | sed 's/...$//'; fi
nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null
:"""


_UP = "the tunnel is open"
_TUNNEL_SECONDS = 30.0


def check_host(host: str) -> str:
    """Return a host as `ssh` may be given it: HOST, USER@HOST, with :PORT; IPv6 in brackets; a name of the user's SSH settings.

    Raises:
        InvalidInput: If it is none.
    """
    match = _HOST.fullmatch(host)
    if match is None or not 0 < int(match["port"] or 22) < 65_536:
        raise WishRefused(f"{host[:80]!r} is no host.", hint="Name one: --cloud ssh:HOST, ssh:USER@HOST or ssh:USER@HOST:PORT")
    return host


def tunnel_port(token: str) -> int:
    """Return the port of a machine's tunnel on its host: from its token, so that it is known before the machine is made."""
    return _FIRST_PORT + zlib.crc32(token.encode()) % _PORTS


def reachable(server: str, token: str) -> str:
    """Return the address under which a host reaches a server: where that is on our own loopback, the machine's tunnel to it."""
    parts = urlsplit(server)
    if parts.hostname not in _LOOPBACK:
        return server
    return urlunsplit(parts._replace(netloc=f"127.0.0.1:{tunnel_port(token)}"))


class SshCloud(HostCloud):
    """Hosts that the user can log in to without a question. The region of offers and resources is the host.

    Args:
        host: Where a wish names no region.
        server: Our own server; where it is on the loopback, each machine gets a tunnel to it. "": none is needed.
        folder: Where the machines' folders are on the hosts; "": the user's state folder there.
        options: More arguments for `ssh`.
        state: Where on this machine is kept which hosts were used, and what holds the tunnels; None: the user's state folder.
        grace, first_lease, turn: See `HostCloud`.
    """

    name: CloudName = "ssh"
    unit = "unit"

    def __init__(
        self,
        host: str = "",
        *,
        server: str = "",
        folder: str = "",
        options: Sequence[str] = (),
        state: Path | None = None,
        grace: int = 5,
        first_lease: float = 600.0,
        turn: float = 2,
    ) -> None:
        super().__init__(grace=grace, first_lease=first_lease, turn=turn)
        self._host = check_host(host) if host else ""
        self._server = server
        self._folder = folder
        self._options = tuple(options)
        self._state = state or machines_folder().parent
        self._tunnels = LocalCloud(folder=self._state / "tunnels", environment=dict(os.environ), grace=1, first_lease=1e9)

    def check(self) -> Sequence[Finding]:
        """Log in to each host that was used, or the one that was named."""
        findings = []
        for host in self._hosts(()):
            try:
                have = self._abilities(host)
            except MlopsError as error:
                findings.append(Finding(what=host, ok=False, text=error.message, hint=error.hint or ""))
                continue
            gpus = ", ".join(have.gpus) or "no NVIDIA GPU"
            findings.append(Finding(what=host, ok=True, text=f"{have.cpus:g} processors, {have.memory_gb:.1f} GiB, {gpus}"))
        return findings

    def create(self, order: MachineOrder, offer: Offer, note: Note) -> Machine:
        """See `HostCloud.create`; the tunnel is there before the machine."""
        host = check_host(offer.region or self._host)
        self._remember(host)
        offer = msgspec.structs.replace(offer, region=host)
        tunnelled = urlsplit(self._server).hostname in _LOOPBACK
        if tunnelled:
            note(Resource(kind="interface", id=order.token, region=host, tags=order.tags))
            self._open_tunnel(order, host)
        try:
            return self._patiently(order, offer, note)
        except CloudError:
            if tunnelled:
                self._close_tunnel(order.token, order.tags.get(TAG_INSTALLATION, ""))
            raise

    def destroy(self, resources: Sequence[Resource], installation: str) -> Sequence[Resource]:
        """See `HostCloud.destroy`; a machine's tunnel goes with it."""
        left = super().destroy([one for one in resources if one.kind == "machine"], installation)
        for token in {one.id for one in resources} - {one.id for one in left}:
            self._close_tunnel(token, installation)
        return left

    def _patiently(self, order: MachineOrder, offer: Offer, note: Note) -> Machine:
        """Create, and ask again where the answer was lost: the same token makes one."""
        for _ in range(2):
            try:
                return super().create(order, offer, note)
            except CloudUnreachable:
                continue
        return super().create(order, offer, note)

    def _open_tunnel(self, order: MachineOrder, host: str) -> None:
        """Hold a tunnel open until the machine has ended, through broken connections, at most as long as the machine may live."""
        port = urlsplit(self._server).port or (443 if urlsplit(self._server).scheme == "https" else 80)
        forward = ("-o", "ExitOnForwardFailure=yes", "-R", f"127.0.0.1:{tunnel_port(order.token)}:127.0.0.1:{port}")
        folder = f"{self._base(host)}/{order.token}"
        # On the host it waits for the machine's end; that it is not there yet, at first, is no end.
        watch = f"echo {_UP}; i=0; while [ $i -lt 30 ] || {{ [ -d {folder} ] && [ ! -e {folder}/ended ]; }}; do i=$((i+1)); sleep 2; done"
        command = shlex.join([*self._command(host, *forward), f"sh -c {shlex.quote(watch)}"])
        held = msgspec.structs.replace(
            order,
            token=_tunnel_token(order.token),
            user_data=f"while ! {command}; do sleep 3; done",
            image="",
            permission_set="",
            max_seconds=order.max_seconds + 60,
        )
        tunnel = self._tunnels.create(held, Offer(cloud="local", type="local", region=""), lambda resource: None).resource
        end = time.monotonic() + _TUNNEL_SECONDS
        while _UP not in (said := self._tunnels.console(tunnel)):
            if time.monotonic() > end or "forwarding failed" in said:
                self._close_tunnel(order.token, order.tags.get(TAG_INSTALLATION, ""))
                if "forwarding failed" in said:
                    taken = f"{host} does not let us forward its port {tunnel_port(order.token)} to the server here."
                    raise WishRefused(taken, hint="Does its sshd allow AllowTcpForwarding? Launching again takes another port.")
                raise _refusal(host, said)
            time.sleep(0.1)

    def _close_tunnel(self, token: str, installation: str) -> None:
        if (self._state / "tunnels").is_dir():
            self._tunnels.destroy([Resource(kind="machine", id=_tunnel_token(token))], installation)

    def _command(self, host: str, *more: str) -> list[str]:
        match = _HOST.fullmatch(check_host(host or self._host))
        assert match is not None
        port = ("-p", match["port"]) if match["port"] else ()
        user = ("-l", match["user"]) if match["user"] else ()
        return ["ssh", "-T", *_OPTIONS, *self._options, *more, *port, *user, "--", match["name"].strip("[]")]

    def _shell(self, host: str, program: str, *, seconds: float = 60.0) -> str:
        command = [*self._command(host, "-o", "ClearAllForwardings=yes"), "sh -s"]
        try:
            done = subprocess.run(command, input=program, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
        except FileNotFoundError:
            raise WishRefused("There is no `ssh` on this machine.", hint="Install OpenSSH's client: apt install openssh-client") from None
        except subprocess.TimeoutExpired:
            raise CloudUnreachable(f"{host} did not answer within {seconds:g} s.", hint=f"Try it: ssh {host} true") from None
        if done.returncode == 255:
            raise _refusal(host, done.stderr)
        if done.returncode == 73:
            raise CloudError(
                f"The folder of machines on {host} cannot be written: {done.stderr.strip()[-300:]}", hint=f"Look: ssh {host} df -h"
            )
        if done.returncode:
            raise CloudError(
                f"The shell of {host} failed with {done.returncode}: {done.stderr.strip()[-300:]}", hint=f"Try it: ssh {host} sh"
            )
        return done.stdout

    def _base(self, host: str) -> str:
        return shlex.quote(self._folder) if self._folder else '"${XDG_STATE_HOME:-$HOME/.local/state}"/mlops_nb/machines'

    def _hosts(self, wanted: Collection[str]) -> Sequence[str]:
        return [check_host(host) for host in wanted] or ([self._host] if self._host else self._used())

    def _abilities(self, host: str) -> Abilities:
        lines = self._shell(host, _ABILITIES).splitlines()
        numbers = [line for line in lines if line.strip().isdigit()][:2]
        if len(numbers) < 2:
            raise CloudError(f"{host or self._host} does not say what it has.", hint="Is it Linux or macOS, with `sh`?")
        rest = lines[lines.index(numbers[1], lines.index(numbers[0]) + 1) + 1 :]
        return Abilities(cpus=float(numbers[0]), memory_gb=int(numbers[1]) / 2**20, gpus=[line.strip() for line in rest if line.strip()])

    def _place(self, host: str) -> str:
        return host or self._host

    def _used(self) -> Sequence[str]:
        try:
            lines = (self._state / "hosts").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        return [line for line in lines if _HOST.fullmatch(line)]

    def _remember(self, host: str) -> None:
        if host in self._used():
            return
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._state / "hosts").open("a", encoding="utf-8") as file:
            file.write(f"{host}\n")
            file.flush()
            os.fsync(file.fileno())


def _tunnel_token(token: str) -> str:
    """Return the name of a machine's tunnel among processes: another than the machine's, as both may be on one host."""
    return hashlib.sha256(f"tunnel of {token}".encode()).hexdigest()[:32]


def _refusal(host: str, said: str) -> CloudError:
    """Return what `ssh` itself means by its failure."""
    last = (said.strip().splitlines() or ["no reason given"])[-1][:300]
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in said:
        return NoCredentials(
            f"The key of {host} is not the one that was known: somebody may be listening.",
            hint=f"Ask its owner; then: ssh-keygen -R {host}",
        )
    if "Host key verification failed" in said or "host key is known" in said:
        return NoCredentials(f"The key of {host} is not known here.", hint=f"Log in once and check it: ssh {host}")
    if "Permission denied" in said or "Too many authentication failures" in said:
        return NoCredentials(f"{host} does not let us in without a question: {last}", hint=f"Set up a key: ssh-copy-id {host}")
    if "Could not resolve hostname" in said:
        return WishRefused(f"There is no host {host}: {last}", hint="Is its name right, and is it in ~/.ssh/config?")
    return CloudUnreachable(f"{host} does not answer: {last}", hint=f"Try it: ssh {host} true")
