"""The way to a supervisor from other threads: each call waits for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as Late
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_nb.errors import StoreUnreachable
from mlops_nb.monitoring.bins import Reference
from mlops_nb.serving.monitor import Monitored
from mlops_nb.serving.records import EndpointInfo, StartRequest

if TYPE_CHECKING:
    from mlops_nb.serving.supervisor import Supervisor

T = TypeVar("T")

_LONGEST = 300.0
_LONGEST_WAIT = 20.0


class Endpoints:
    """The endpoints of a project, for threads that may wait.

    Threads: any but the one whose event loop the supervisor lives on.
    """

    def __init__(self, supervisor: Supervisor, loop: asyncio.AbstractEventLoop) -> None:
        self._supervisor = supervisor
        self._loop = loop

    def start(self, request: StartRequest, *, wait: float = 10.0) -> EndpointInfo:
        """As `Supervisor.start`, waiting at most 20 s."""
        return self._call(self._supervisor.start(request, wait=min(max(0.0, wait), _LONGEST_WAIT)))

    def all(self) -> list[EndpointInfo]:
        """Return all endpoints, by name."""

        async def infos() -> list[EndpointInfo]:
            return self._supervisor.infos()

        return self._call(infos())

    def get(self, name: str) -> EndpointInfo:
        """Return an endpoint.

        Raises:
            NotFound: If there is none of this name.
        """

        async def info() -> EndpointInfo:
            return self._supervisor.endpoint(name).info()

        return self._call(info())

    def token(self, name: str) -> str:
        """Return what opens the port of an endpoint; "" where it has none."""

        async def token() -> str:
            return self._supervisor.endpoint(name).record.token

        return self._call(token())

    def logs(self, name: str, lines: int) -> list[str]:
        """Return the last lines of an endpoint's workers."""

        async def logs() -> list[str]:
            return self._supervisor.logs(name, lines)

        return self._call(logs())

    def stop(self, name: str) -> EndpointInfo:
        """End an endpoint for good, and return what it was."""
        return self._call(self._supervisor.stop(name))

    def extend(self, name: str, ttl: float) -> EndpointInfo:
        """As `Supervisor.extend`."""
        return self._call(self._supervisor.extend(name, ttl))

    def promote(self, name: str, share: float | None = None) -> EndpointInfo:
        """As `Supervisor.promote`."""
        return self._call(self._supervisor.promote(name, share=share))

    def rollback(self, name: str) -> EndpointInfo:
        """As `Supervisor.rollback`."""
        return self._call(self._supervisor.rollback(name))

    def monitor(self, name: str) -> Monitored:
        """Return the traffic and the drift of an endpoint."""

        async def monitor() -> Monitored:
            return self._supervisor.endpoint(name).monitor()

        return self._call(monitor())

    def watch(self, name: str, reference: Reference | None) -> Monitored:
        """As `Supervisor.watch`."""
        return self._call(self._supervisor.watch(name, reference))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        waiting = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return waiting.result(_LONGEST)
        except Late:
            waiting.cancel()
            raise StoreUnreachable("The supervisor of the model servers does not answer.", hint="The server's log may tell why.") from None
