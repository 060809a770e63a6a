"""The one generator of start-up scripts: a POSIX shell program, for cloud-init, for images without it, for containers and hosts.

The program writes files and starts two services. The first thing that it does is to start the dead-man's switch. All that
differs from runner to runner is data, quoted, in two of the files; the scripts are the same everywhere.
"""

from __future__ import annotations

import base64
import gzip
import importlib.resources
import json
import shlex
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from mlops_nb.core.records import Record
from mlops_nb.core.runners import REGISTER_SECONDS, CloudName, Runner
from mlops_nb.errors import InvalidInput
from mlops_nb.runners.machine.settings import AgentSettings
from mlops_nb.runners.startup.pins import UV

JOB_USER = "runner"
MAX_BYTES: Mapping[CloudName, int] = {
    **{"aws": 16_384, "azure": 65_536, "gcp": 262_144},
    **{"kubernetes": 1 << 20, "ssh": 1 << 20, "local": 1 << 20},
}
"""The longest start-up script that a cloud takes (bytes before its own encoding)."""
_PLAIN_BYTES = 12_288
_RENTED: tuple[CloudName, ...] = ("aws", "gcp", "azure")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_END = "MLOPS_NB_END_OF_FILE"


class Access(Record, frozen=True, kw_only=True):
    """How a machine gets its secret: by a ticket at a server, out of a mailbox, or with it (single use only). See `AgentSettings`."""

    server: str = ""
    ticket: str = ""
    mailbox: str = ""
    secret: str = ""

    def __repr__(self) -> str:
        return f"Access(server={self.server!r}, …)"


class Installation(Record, frozen=True, kw_only=True):
    """How mlops-nb gets onto a machine.

    Attributes:
        package: What is installed, such as `mlops-nb==0.9` or the URL of a wheel; "": the image has it.
        index: URL of a package index in place of PyPI.
        program: The command itself, where it is there already (this machine's own); nothing is installed then.
    """

    package: str = ""
    index: str = ""
    program: Sequence[str] = ()


def startup_script(runner: Runner, access: Access, installation: Installation, *, now: float) -> str:
    """Return what the machine of a runner runs at its first start: cloud-init's configuration, or a shell script for other places.

    Args:
        runner: With the offer that is tried and its hard stop.
        now: Seconds since 1970.

    Raises:
        InvalidInput: If it would be too long for the cloud, or the server's address would show the ticket to others.
    """
    rented = runner.cloud in _RENTED
    settings = _settings(runner, access, now, rented=rented)
    program = machine_program(runner, settings, installation) if rented else process_program(runner, settings, installation)
    if "\0" in program:
        raise InvalidInput(f"The start-up script of {runner.name} holds a NUL byte.", hint="Give it as text: shell, Python …")
    if len(program.encode()) > _PLAIN_BYTES or not _is_plain(program):
        program = compressed(program, "/run" if rented else "${TMPDIR:-/tmp}", instead=not rented)
    text = cloud_config(program) if rented else f"#!/bin/sh\n{program}"
    size, most = len(text.encode()), MAX_BYTES[runner.cloud]
    if size > most:
        raise InvalidInput(
            f"The start-up script of {runner.name} would have {size:,} bytes, and {runner.cloud} takes {most:,}.",
            hint="Let --cloud-startup-script fetch the bulk of it, or bring it in an image.",
        )
    return text


def cloud_config(program: str) -> str:
    """Return cloud-init's configuration that runs a program as early as it can."""
    lines = "".join(f"    {line}\n" if line else "\n" for line in program.splitlines())
    return f"#cloud-config\nbootcmd:\n  - |\n{lines}"


def compressed(program: str, folder: str, *, instead: bool) -> str:
    """Return a program that unpacks another into a file, which removes itself, and runs it.

    Args:
        folder: Of that file; shell may stand in it.
        instead: Whether the other one takes the place of the process, to which signals go.
    """
    packed = base64.b64encode(gzip.compress(f'rm -f "$0"\n{program}'.encode(), mtime=0)).decode()
    lines = "\n".join(packed[i : i + 120] for i in range(0, len(packed), 120))
    run = "exec sh" if instead else "sh"
    return (
        f'umask 077\nfile=$(mktemp "{folder}/mlops-nb.XXXXXXXX") || exit 1\n'
        f'base64 -d <<\'{_END}\' | gzip -dc >"$file" || exit 1\n{lines}\n{_END}\n{run} "$file"\n'
    )


def machine_program(runner: Runner, settings: AgentSettings, installation: Installation) -> str:
    """Return the program for a machine that is rented for this runner alone: with services, and power-off at the end.

    It may run at every start of the machine; files are written at the first one only.
    """
    values = {
        "max": str(max(1, int(settings.max_seconds))),
        "first": str(int(REGISTER_SECONDS)),
        "package": installation.package,
        "index": installation.index,
        "gpu": "yes" if runner.offer is not None and runner.offer.gpus else "",
        "docker": "yes" if settings.agent.kind == "gitlab" and settings.agent.executor == "docker" else "",
        "user": settings.user,
        "close_metadata": "" if runner.request.permission_set else "yes",
        "uv_x64": "#".join(UV["x64"]),
        "uv_arm64": "#".join(UV["arm64"]),
    }
    early = [
        _file("/etc/mlops-nb/machine.env", _assignments(values), "600"),
        _file("/opt/mlops-nb/switch", _resource("switch.sh"), "755"),
        _file("/etc/systemd/system/mlops-nb-switch.service", _resource("mlops-nb-switch.service"), "644"),
    ]
    late = [
        _file("/etc/mlops-nb/agent.json", _json(settings), "600"),
        _file("/opt/mlops-nb/prepare", _resource("prepare.sh"), "755"),
        _file("/etc/systemd/system/mlops-nb-agent.service", _resource("mlops-nb-agent.service"), "644"),
    ]
    if runner.request.startup_script:
        late.append(_file("/etc/mlops-nb/startup", _script(runner.request.startup_script), "700"))
    return "".join(
        (
            "umask 077\nmkdir -p /etc/mlops-nb /opt/mlops-nb /var/lib/mlops-nb /run/mlops-nb\nchmod 755 /opt/mlops-nb\n",
            "if [ ! -e /var/lib/mlops-nb/written ]; then\n",
            *early,
            "fi\n",
            "systemctl daemon-reload\nsystemctl --no-block start mlops-nb-switch.service\n",
            "if [ ! -e /var/lib/mlops-nb/written ]; then\n",
            *late,
            ": >/var/lib/mlops-nb/written\nfi\n",
            "systemctl daemon-reload\nsystemctl --no-block start mlops-nb-agent.service\n",
        )
    )


def process_program(runner: Runner, settings: AgentSettings, installation: Installation) -> str:
    """Return the program for a container or a folder on a host, whose keeper (`clouds/keeper.sh`) is its dead-man's switch.

    It becomes the agent, and ends with it.
    """
    values = {"package": installation.package, "index": installation.index, "program": shlex.join(installation.program)}
    files = [_file("$etc/agent.json", _json(settings), "600")]
    if runner.request.startup_script:
        files.append(_file("$etc/startup", _script(runner.request.startup_script), "700"))
    return "".join(
        (
            # What is secret goes with the machine's own temporary folder; what may be large is where its keeper has room for it.
            'umask 077\nhome=$PWD\netc=$(mktemp -d "${TMPDIR:-/tmp}/mlops-nb.XXXXXXXX") || exit 1\n',
            *files,
            _assignments(values),
            _resource("process.sh"),
        )
    )


def _settings(runner: Runner, access: Access, now: float, *, rented: bool) -> AgentSettings:
    if access.server:
        address = urlsplit(access.server)
        if address.scheme != "https" and address.hostname not in _LOOPBACK:
            raise InvalidInput(
                f"A machine would fetch its secret from {access.server} without encryption.", hint="Give the server's https address."
            )
    return AgentSettings(
        runner_id=runner.id,
        name=runner.name,
        cloud=runner.cloud,
        agent=runner.request.agent,
        guards=runner.request.guards,
        max_seconds=max(1.0, runner.hard_stop - now),
        server=access.server,
        ticket=access.ticket,
        mailbox=access.mailbox,
        secret=access.secret,
        folder="/var/lib/mlops-nb-work" if rented else "",
        switch="/run/mlops-nb" if rented else "",
        user=JOB_USER if rented else "",
    )


def _is_plain(program: str) -> bool:
    """Return whether YAML keeps the text as it is."""
    return all(line.isprintable() for line in program.replace("\t", " ").split("\n"))


def _json(settings: AgentSettings) -> str:
    return json.dumps(msgspec.to_builtins(settings), separators=(",", ":")) + "\n"


def _assignments(values: Mapping[str, str]) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _script(text: str) -> str:
    """Return a script of the user's that can be executed."""
    lines = text.replace("\r\n", "\n")
    lines = lines if lines.endswith("\n") else f"{lines}\n"
    return lines if lines.startswith("#!") else f"#!/bin/bash\n{lines}"


def _resource(name: str) -> str:
    return importlib.resources.files("mlops_nb.runners.startup").joinpath(name).read_text(encoding="utf-8")


def _file(path: str, text: str, mode: str) -> str:
    """Return shell that writes a text into a file of which nobody sees a half, or one with wider rights than `mode`."""
    end = _END
    while f"{end}\n" in text:
        end += "_"
    new = f'"{path}.new"'
    return f"cat >{new} <<'{end}'\n{text}{end}\nchmod {mode} {new}\nmv {new} \"{path}\"\n"
