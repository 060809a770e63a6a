"""Connections that ask the guard about the address that they are about to connect to."""

from __future__ import annotations

import socket
import threading
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError

from mlops_nb.outgoing.guard import Guard


def pools(guard: Guard) -> dict[str, Any]:
    """Return the pools of urllib3 whose connections ask this guard."""

    class Plain(_Guarded, HTTPConnection):
        address_guard = guard

    class Encrypted(_Guarded, HTTPSConnection):
        address_guard = guard

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


class _Guarded(HTTPConnection):
    """A connection that looks its host up once, asks the guard, and connects to the very address that passed."""

    address_guard: Guard

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        try:
            addresses = self.address_guard.addresses(name, self.port or 0)
        except socket.gaierror as error:
            raise NewConnectionError(self, f"its name has no address ({error.strerror})") from error
        failure: Exception | None = None
        for address in addresses:
            self._dns_host = address
            try:
                return super()._new_conn()
            except (HTTPError, OSError) as error:
                failure = error
            finally:
                self._dns_host = name
        assert failure is not None
        raise failure

    def getresponse(self) -> Any:
        """Read the head of the answer, which must not take longer as a whole than one piece of it may."""
        if self.sock is None or not isinstance(self.timeout, int | float):
            return super().getresponse()
        watch = _Watch(self.sock, self.timeout)
        try:
            response = super().getresponse()
        except Exception:
            if watch.stop():
                raise TimeoutError from None
            raise
        if watch.stop():  # what was cut off may look like the end of a head
            raise TimeoutError
        return response


class _Watch:
    """Cuts a connection off after so many seconds, unless it is stopped before."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._has_cut = False
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def _cut(self) -> None:
        self._has_cut = True
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is closed already

    def stop(self) -> bool:
        """Stop watching, and return whether the connection was cut off."""
        self._timer.cancel()
        return self._has_cut
