"""What one process alone has of a project's endpoints: the right to run them, the folder of sockets, the ports."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from mlops_nb.errors import NotSupported
from mlops_nb.serving.places import Place, clean_up
from mlops_nb.serving.records import EndpointRecord

_LOCK = "lock"
_BACKLOG = 2048


class Ownership:
    """Held from `take` to `release`, or until the process ends.

    Args:
        folder: Where the endpoints are kept; made when it is taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None
        self._sockets: Place | None = None
        self._ports: dict[str, socket.socket] = {}

    def take(self) -> bool:
        """Become the one process that runs these endpoints; return whether that is new.

        Raises:
            NotSupported: If another process does.
        """
        if self._lock is not None:
            return False
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise NotSupported(
                f"The endpoints of this project belong to another server, the process {pid}.", hint="Ask that one, or end it."
            ) from None
        clean_up()
        self._sockets = Place()  # not in the project: paths of Unix sockets are short
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock
        return True

    def socket_path(self, number: int) -> Path:
        """Return where a socket may be made."""
        assert self._sockets is not None
        return self._sockets.path / str(number)

    def port_of(self, name: str) -> socket.socket | None:
        """Return the open port of an endpoint, if it has one."""
        return self._ports.get(name)

    def open_port(self, record: EndpointRecord) -> None:
        """Open the port of an endpoint that has a token for one, and note its number.

        Raises:
            OSError: If it is taken.
        """
        if not record.token or record.name in self._ports:
            return
        port = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port.bind(("127.0.0.1", record.port))
            port.listen(_BACKLOG)
        except OSError:
            port.close()
            raise
        record.port = port.getsockname()[1]
        self._ports[record.name] = port

    def close_port(self, name: str) -> None:
        """Close the port of an endpoint."""
        port = self._ports.pop(name, None)
        if port is not None:
            port.close()

    def release(self) -> None:
        """Give all of it back."""
        for name in list(self._ports):
            self.close_port(name)
        if self._sockets is not None:
            self._sockets.release()
            self._sockets = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
