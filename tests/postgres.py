"""A PostgreSQL server from the system's binaries, in a folder and on a socket of its own."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

_MISSING = [name for name in ("initdb", "postgres") if shutil.which(name) is None]
needs_postgres = pytest.mark.skipif(bool(_MISSING), reason=f"PostgreSQL is not installed here: no {' and no '.join(_MISSING)} on PATH.")


def _unprivileged() -> pwd.struct_passwd | None:
    """Return whom to run the server as: it refuses root."""
    if os.geteuid() != 0:
        return None
    return next(entry for name in ("postgres", "nobody") for entry in [_user(name)] if entry is not None)


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


class PostgresServer:
    """One server, started by `start`; `new_database` gives an empty database."""

    def __init__(self) -> None:
        self._user = _unprivileged()
        # Not below pytest's own folder: that one only its owner may enter, and a socket's path is short.
        self.folder = Path(tempfile.mkdtemp(prefix="mlops-pg-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        self._numbers = itertools.count(1)
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        self._run(["initdb", "-D", str(self.data), "-U", "mlops", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"])

    def _run(self, command: Sequence[str]) -> None:
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, user=self._uid, group=self._gid, extra_groups=[] if self._user else None
        )

    @property
    def _uid(self) -> int | None:
        return None if self._user is None else self._user.pw_uid

    @property
    def _gid(self) -> int | None:
        return None if self._user is None else self._user.pw_gid

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            "postgres",
            "-D",
            str(self.data),
            "-k",
            str(self.folder),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-c",
            "max_connections=200",
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self._uid, group=self._gid, extra_groups=[] if self._user else None
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str) -> str:
        return f"postgresql://mlops@127.0.0.1:{self.port}/{quote(database)}"

    def new_database(self) -> str:
        """Return the URL of a new empty database."""
        import psycopg

        name = f"store{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.send_signal(3)  # SIGQUIT: immediate shutdown, without a checkpoint
            self.process.wait(30)

    def close(self) -> None:
        """End it and remove its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server, shared by the tests of a session."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()
