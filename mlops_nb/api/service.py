"""Where operations run, whichever server carries them: reads in threads side by side, writes in one, in groups.

Writes that arrive while others are being committed wait and then share one transaction, hence one sync of the disk. Each
can fail alone; an answer leaves only when the commit behind it has been made.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import weakref
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from mlops_nb.api.http import Call, HttpAnswer, HttpRequest, refuse
from mlops_nb.api.project import Served, ServedProject
from mlops_nb.api.router import Route, Router
from mlops_nb.api.table import OPERATIONS
from mlops_nb.api.upload import UploadPipe
from mlops_nb.config import Project
from mlops_nb.core.runners import CloudName
from mlops_nb.errors import StoreUnreachable
from mlops_nb.runners.hosting import RunnerHost
from mlops_nb.webhooks.delivering import Courier

log = logging.getLogger("mlops_nb.api")

T = TypeVar("T")

_THREADS = 8
_UPLOADS = 32
_LARGEST_GROUP = 64
_OF_REGISTRY = ("mlflow.registeredModels.", "mlflow.modelVersions.")


class _Waiting(NamedTuple):
    call: Call
    answer: asyncio.Future[HttpAnswer]


class OperationService:
    """Runs the operations of one project for the servers of one event loop.

    Args:
        served: The project, or the store of a team.
        on_group: Called with the size of each group of writes, in the thread that writes.

    Attributes:
        project: The project with its store; `project.store(create=...)` opens it.
        router: The routes of all operations.
        written: Set after a writing operation, for whoever watches the store.
        courier: Delivers to webhooks once it is started.
    """

    def __init__(self, served: Served | Project, *, on_group: Callable[[int], None] | None = None) -> None:
        self.project = ServedProject(served)
        self._on_group = on_group
        self.router = Router(OPERATIONS)
        self.written = asyncio.Event()
        self.courier = Courier(lambda: self.project.store().webhooks)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="mlops-api")
        # An upload takes as long as its client, and a cloud as long as it likes: neither must keep the others waiting.
        self._uploads = ThreadPoolExecutor(_UPLOADS, thread_name_prefix="mlops-upload")
        self._pipes: weakref.WeakSet[UploadPipe] = weakref.WeakSet()
        self._writes: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._ending = threading.Lock()
        self._closing = False

    async def respond(self, route: Route, request: HttpRequest) -> HttpAnswer:
        """Return the answer to a request; errors are answers too."""
        call = Call(self.project, route, request)
        if self._closing:
            return _stopping()
        if route.operation.upload or route.operation.slow:
            answer = await asyncio.get_running_loop().run_in_executor(self._uploads, call.respond)
        elif not route.operation.grouped:
            answer = await self.run(call.respond)
        else:
            waiting = _Waiting(call, asyncio.get_running_loop().create_future())
            if not self._hand_in(waiting):
                return _stopping()
            answer = await waiting.answer
        if route.operation.is_write:
            self.written.set()
            if route.operation.name.startswith(_OF_REGISTRY):
                self.courier.wake()
        return answer

    def _hand_in(self, waiting: _Waiting) -> bool:
        """Let the writer take a write; False where it takes none any more, and nobody would ever answer."""
        with self._ending:
            if self._closing:
                return False
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="mlops-writer", daemon=True)
                self._writer.start()
            self._writes.put(waiting)
        return True

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Run something that may wait for the disk in a thread, so that the event loop never does."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def respond_to_upload(self, route: Route, request: HttpRequest, pipe: UploadPipe) -> HttpAnswer:
        """Return the answer to an upload whose body comes through a pipe while it is worked on."""
        self._pipes.add(pipe)
        request.upload = pipe.as_file()
        try:
            return await self.respond(route, request)
        finally:
            pipe.stop()

    def host_runners(self, url: Callable[[], str], *, refused: Collection[CloudName] = ()) -> None:
        """Launch, keep and end machines from now on; see `RunnerHost`.

        Args:
            url: Returns where this server is found, for machines that have no better address.
            refused: Where no runner is launched.
        """
        from mlops_nb.runners.opening import OpenParts

        host = RunnerHost(
            lambda create: self.project.store(create=create).runners, OpenParts(url, lambda: self.project.store().runners), refused=refused
        )
        self.project.runner_host = host
        host.start()

    def close(self) -> None:
        """Break uploads off, let operations that run end, then close the store. Requests that come later are refused."""
        with self._ending:
            self._closing = True
            self._writes.put(None)
        for pipe in list(self._pipes):
            pipe.fail()
        self.courier.stop()
        if self.project.runner_host is not None:
            self.project.runner_host.close()
        self._uploads.shutdown(wait=True, cancel_futures=True)
        if self._writer is not None:
            self._writer.join()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.project.close()

    def _write(self) -> None:
        while (first := self._writes.get()) is not None:
            group, is_last = self._group(first)
            self._count(len(group))
            answers = _respond_together(self.project, [waiting.call for waiting in group])
            group[0].answer.get_loop().call_soon_threadsafe(_settle, group, answers)
            if is_last:
                return

    def _count(self, size: int) -> None:
        if self._on_group is not None:
            try:
                self._on_group(size)
            except Exception:  # a figure that cannot be written must not end the thread that all writes wait for
                log.exception("The size of a group of writes cannot be counted.")

    def _group(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """Return what waits now, from `first` on, and whether the end was among it."""
        group = [first]
        while len(group) < _LARGEST_GROUP:
            try:
                waiting = self._writes.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                return group, True
            group.append(waiting)
        return group, False


def _respond_together(project: ServedProject, calls: Sequence[Call]) -> list[HttpAnswer]:
    """Return the answers to writes that share one commit; where that fails, none has taken effect and all say so."""
    if len(calls) == 1:
        return [calls[0].respond()]
    for call in calls:
        call.decode()
    try:
        with project.store(create=True).group():
            return [call.respond() for call in calls]
    except Exception as error:  # noqa: BLE001 - as in `Call.respond`: `refuse` logs what it does not know
        return [refuse(error) for _ in calls]


def _stopping() -> HttpAnswer:
    return refuse(StoreUnreachable("The server is stopping.", hint="Send it again when it is back."))


def _settle(group: Sequence[_Waiting], answers: Sequence[HttpAnswer]) -> None:
    for waiting, answer in zip(group, answers, strict=True):
        if not waiting.answer.done():  # the client may have left
            waiting.answer.set_result(answer)
