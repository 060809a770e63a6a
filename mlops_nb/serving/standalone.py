"""A model server by itself: `mlops-nb models serve`. One model, one port, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from mlops_nb.errors import InvalidInput, MlopsError
from mlops_nb.models.environments import Prepared
from mlops_nb.serving.app import Door
from mlops_nb.serving.channel import WorkerConfig
from mlops_nb.serving.deployment import Deployment
from mlops_nb.serving.descendants import usage
from mlops_nb.serving.limits import Limits
from mlops_nb.serving.logs import WorkerLog
from mlops_nb.serving.places import Place, clean_up
from mlops_nb.serving.preparing import python_of

log = logging.getLogger("mlops_nb.serving")

_BACKLOG = 2048
_TICK = 0.5


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is served, and where.

    Attributes:
        folder: A model folder.
        model: Where it is from, for people.
        name: In the paths of the open inference protocol.
        version: There as well.
        port: 0 lets the system choose one.
        workers: Processes.
        door: Who may come in.
        allow_unsafe: Load the model although it can run code on loading.
        env_manager: What makes the model's own environment where this Python lacks what it requires; `local`: this Python.
        accelerate: Whether a proven conversion of the model answers: `auto`, `off` or `require`.
    """

    folder: Path
    model: str
    name: str = "model"
    version: str = "1"
    host: str = "127.0.0.1"
    port: int = 5000
    workers: int = 1
    limits: Limits = Limits()
    door: Door = Door()
    allow_unsafe: bool = False
    env_manager: str = "local"
    accelerate: str = "off"


def run(settings: Settings, ready: Callable[[str], None], printed: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; requests that run then are finished.

    Args:
        settings: What and where.
        ready: Called with the server's URL when it answers.
        printed: Called with each line that the model prints.

    Raises:
        MlopsError: If it cannot start, or its processes die again and again.
    """
    settings.limits.check()
    listener = _listen(settings.host, settings.port)
    clean_up()
    place = Place()
    try:
        with listener:
            asyncio.run(_serve(settings, listener, place.path, ready, printed))
    finally:
        place.release()


async def _serve(
    settings: Settings, listener: socket.socket, folder: Path, ready: Callable[[str], None], printed: Callable[[str], None]
) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    config = WorkerConfig(
        name=settings.name,
        version=settings.version,
        folder=str(settings.folder.absolute()),
        model=settings.model,
        figures=str(folder / "figures"),
        limits=settings.limits,
        door=settings.door,
        allow_unsafe=settings.allow_unsafe,
        accelerate=settings.accelerate,
    )
    output = WorkerLog(folder / "output.log", echo=printed)
    prepared = await _prepare(settings, over, output)
    if prepared is None:
        return
    deployment = Deployment(
        config,
        socket_path=folder / "socket",
        port=listener,
        workers=settings.workers,
        log=output,
        threads=max(1, (os.cpu_count() or 1) // settings.workers),
        changed=lambda: None,
        prepared=prepared,
    )
    starting = asyncio.ensure_future(deployment.start())
    told = asyncio.ensure_future(over.wait())
    await asyncio.wait([starting, told], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await deployment.stop(at_once=True)
        return
    first = await starting
    if first.acceleration:
        output.note(f"accelerated: {first.acceleration}")
    ready(_url(listener, settings.host))
    try:
        while not over.is_set():
            await asyncio.wait([told], timeout=_TICK)
            deployment.look()
            for worker in deployment.workers:
                worker.measured(*await asyncio.to_thread(usage, worker.pid))
            if deployment.is_parked:
                raise MlopsError(f"The model cannot be served: {deployment.problem}")
    finally:
        await deployment.stop()


async def _prepare(settings: Settings, over: asyncio.Event, output: WorkerLog) -> Prepared | None:
    """Return the Python that the model runs in; None if it is over before that is made."""
    making = asyncio.ensure_future(python_of(settings.folder, settings.env_manager, allow_unsafe=settings.allow_unsafe, said=output.note))
    told = asyncio.ensure_future(over.wait())
    await asyncio.wait([making, told], return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if making.done():
        return await making
    making.cancel()
    await asyncio.wait([making])
    return None


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InvalidInput(
            f"The server cannot listen on {host}: {error.strerror}.", hint="Give --host an address of this machine."
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise MlopsError(
            f"The server cannot listen on {host}, port {port}: {error.strerror}.", hint="Give another --port, or 0 for any."
        ) from None
    return listener


def _url(listener: socket.socket, host: str) -> str:
    port = listener.getsockname()[1]
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"
