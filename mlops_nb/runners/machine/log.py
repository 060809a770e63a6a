"""What a machine says: on its console, and bit by bit at the server, so that it can be read when the machine is gone."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import TextIO

from mlops_nb.core.formatting import log_text
from mlops_nb.core.redaction import Redactor
from mlops_nb.runners.machine.server import Server

MAX_WAITING = 1 << 20
_PIECE = 1 << 16


class MachineLog:
    """Takes lines, prints them, and ships them in order, each exactly once. All threads may write; one at a time ships.

    Args:
        console: Where lines are printed; None: the standard output, as it is then.
        environment: Values of secrets in it are taken out of what is written.
    """

    def __init__(self, console: TextIO | None = None, environment: Mapping[str, str] | None = None) -> None:
        self._console = console
        self._redact = Redactor(os.environ if environment is None else environment)
        self._lock = threading.Lock()
        self._shipping = threading.Lock()
        self._waiting = bytearray()
        self._sending = b""  # a piece whose answer may be lost is sent again as it was, or the offsets would not fit
        self._offset = 0
        self._lost = 0
        self._console_failed = False

    def write(self, line: str) -> None:
        """Say a line, or several."""
        text = self._redact(line.rstrip("\n")) + "\n"
        console = self._console or sys.stdout
        with self._lock:
            self._waiting += text.encode("utf-8", "replace")
            over = len(self._waiting) - MAX_WAITING
            if over > 0:
                cut = self._waiting.find(b"\n", over) + 1 or len(self._waiting)
                self._lost += cut
                del self._waiting[:cut]
        try:
            console.write(log_text(text))  # which may be the log of a CI's job
            console.flush()
        except (OSError, ValueError) as error:  # a console that is gone is no reason to end the work
            self._note_console(error)

    def _note_console(self, error: Exception) -> None:
        with self._lock:
            if not self._console_failed:
                self._waiting += f"(the console cannot be written: {error})\n".encode()
            self._console_failed = True

    def ship(self, server: Server) -> None:
        """Send what is waiting.

        Raises:
            MlopsError: As the server; what was not sent is kept, at most `MAX_WAITING` bytes of it.
        """
        with self._shipping:
            while piece := self._next():
                length = server.append_log(self._offset, piece.decode("utf-8", "replace"))
                with self._lock:
                    self._offset = max(length, self._offset + len(piece))
                    self._sending = b""

    def _next(self) -> bytes:
        with self._lock:
            if not self._sending and self._lost:
                self._sending = f"… {self._lost:,} bytes are missing here: the server could not be reached …\n".encode()
                self._lost = 0
            elif not self._sending and self._waiting:
                cut = min(_PIECE, len(self._waiting))
                while cut < len(self._waiting) and self._waiting[cut] & 0xC0 == 0x80:  # not within a letter
                    cut -= 1
                self._sending = bytes(self._waiting[:cut])
                del self._waiting[:cut]
            return self._sending
