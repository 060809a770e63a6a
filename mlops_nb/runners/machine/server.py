"""What the loop of a machine asks of the server that keeps its runner, behind a protocol: over HTTP, or the ledger itself."""

from __future__ import annotations

from typing import Protocol

from mlops_nb.core.runners import Heartbeat, Orders


class Server(Protocol):
    """The keeper of the runner. Methods block for some seconds at most, and may be called by several threads.

    Raises:
        StoreUnreachable: If there is no answer; it is asked again later.
        PermissionDenied: If the token is no longer good: the runner is gone, and so is the reason for its machine.
    """

    def heartbeat(self, beat: Heartbeat) -> Orders:
        """Give a sign of life and get what to do."""

    def append_log(self, offset: int, text: str) -> int:
        """Add to the log at the byte `offset`, exactly once whatever is sent again, and return its length now."""
