"""A real sshd on the loopback for tests: the one of the system, or Debian's packages unpacked into a cache, without being installed."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clouds.debian import CACHE, program

PACKAGES = ("openssh-server", "openssh-sftp-server", "libwrap0")


def find_sshd() -> tuple[Path, dict[str, str]]:
    """Return an sshd and the environment that it needs; the test is skipped where none can be had."""
    found = program("sshd", *PACKAGES, inside="usr/sbin/sshd")
    libraries = {str(path.parent) for path in CACHE.rglob("libwrap.so.0")} if found.is_relative_to(CACHE) else set()
    return found, {"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {}


@contextmanager
def ssh_host(folder: Path, home: Path) -> Iterator[tuple[str, list[str]]]:
    """Run sshd for this user; give the host and the options by which `ssh` gets in. `home` is the state folder over there."""
    sshd, environment = find_sshd()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    known = (folder / "host.pub").read_text().split()[:2]
    (folder / "known").write_text(f"[127.0.0.1]:{port} {' '.join(known)}\n")
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nStrictModes no\n"
        f"PidFile none\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        f"SetEnv XDG_STATE_HOME={home}\nLogLevel VERBOSE\n"
    )
    command = [str(sshd), "-D", "-e", "-f", str(folder / "config")]
    if os.getuid() == 0:
        # Its own account and folder are wanted where it runs as root; they are there in its own view of the files alone.
        passwd = Path("/etc/passwd").read_text()
        (folder / "passwd").write_text(passwd if "\nsshd:" in passwd else f"{passwd}sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n")
        prepare = f'mount --bind {folder}/passwd /etc/passwd && mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", prepare, "sh", *command]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
    options = ["-F", "none", "-i", str(folder / "user"), "-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={folder}/known"]
    try:
        _wait(process, port, folder / "log")
        yield f"{getpass.getuser()}@127.0.0.1:{port}", options
    finally:
        process.terminate()
        process.wait(10)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + 15
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.skip(f"sshd cannot run here: {log.read_text()[-300:]}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"sshd does not listen: {log.read_text()[-500:]}")
