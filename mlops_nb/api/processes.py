"""The processes of a team's server: the port is taken and the store opened once, then uvicorn runs in one process
or several."""

from __future__ import annotations

import contextlib
import functools
import logging.config
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from mlops_nb.api import monitor
from mlops_nb.api.asgi import Mount, application
from mlops_nb.api.gate import Gate
from mlops_nb.api.project import Served, ServedProject
from mlops_nb.api.supervisor import Supervisor, in_a_process
from mlops_nb.errors import InvalidInput, MissingDependencyError, MlopsError, StoreError

_BACKLOG = 1024
# Longer than the pools of clients and proxies keep connections: a request must not meet a connection that just ends.
_KEEP_ALIVE_SECONDS = 90
_FINISH_SECONDS = 20
_CLOSE_SECONDS = 5
_LONGEST_HEADERS = 64 << 10


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a team's server runs.

    Attributes:
        port: 0 lets the system choose one.
        workers: Processes that answer.
        metrics_folder: Where several processes keep their figures; None is a temporary one.
        log_level: In uvicorn's words; at `debug` every request is logged.
    """

    mount: Mount
    host: str = "127.0.0.1"
    port: int = 5000
    workers: int = 1
    metrics_folder: Path | None = None
    log_level: str = "info"


def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Run the server until it is told to stop; requests that run then are finished.

    Args:
        settings: How.
        ready: Called with the server's URL when the store is open and the port taken.

    Raises:
        MlopsError: If it cannot start.
    """
    try:
        import uvicorn  # noqa: F401 - loaded before the processes part
    except ImportError:
        raise MissingDependencyError("uvicorn", extra="server", purpose="mlops-nb server") from None
    Gate(settings.mount.access)
    if settings.mount.count:
        monitor.check_installed()
    _log_to_stderr(settings.log_level)
    several = settings.workers > 1
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(settings.host, settings.port))
        check = functools.partial(_check_store, settings.mount.served)
        if several:
            in_a_process(check)
        else:
            check()
        if settings.mount.count and (several or settings.metrics_folder is not None):
            stack.enter_context(_shared_figures(settings.metrics_folder))
        url = _url(listener, settings.mount.base_path)
        settings = msgspec.structs.replace(settings, mount=msgspec.structs.replace(settings.mount, url=url))
        if several:
            # What all processes need is loaded before they part.
            import mlops_nb.store.sql.store  # noqa: F401

            ready(url)
            work = functools.partial(_work, settings, listener)
            Supervisor(work, settings.workers, patience=_FINISH_SECONDS + _CLOSE_SECONDS).run()
        else:
            ready(url)
            _work(settings, listener)


def _work(settings: Settings, listener: socket.socket, lifeline: int | None = None) -> None:
    """Answer requests until told to stop."""
    import uvicorn

    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    config = uvicorn.Config(functools.partial(application, settings.mount, lifeline), **_options(settings))
    uvicorn.Server(config).run([listener])


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "factory": True,
        "interface": "asgi3",
        "lifespan": "on",
        "ws": "none",
        "backlog": _BACKLOG,
        "access_log": settings.log_level.lower() == "debug",
        "proxy_headers": False,
        "server_header": False,
        "timeout_keep_alive": _KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": _FINISH_SECONDS,
        "h11_max_incomplete_event_size": _LONGEST_HEADERS,
        "log_config": None,
        "log_level": settings.log_level.lower(),
    }


def _log_to_stderr(level: str) -> None:
    loggers = {name: {"handlers": ["stderr"], "level": level.upper(), "propagate": False} for name in ("uvicorn", "mlops_nb")}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(process)d %(message)s"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
            "loggers": loggers,
        }
    )


@contextlib.contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InvalidInput(
            f"The server cannot listen on {host}: {error.strerror}.", hint="Give --host an address of this machine."
        ) from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            hint = "Give another --port, or 0 for any." if port else None
            raise MlopsError(f"The server cannot listen on {host}, port {port}: {error.strerror}.", hint=hint) from None
        yield listener


def _check_store(served: Served) -> None:
    """Open the store once, so that it is made or brought up to date before several processes use it.

    Raises:
        MlopsError: If it cannot be opened; said here rather than in answer to every request.
    """
    if served.store_uri.startswith(("http://", "https://")):
        raise InvalidInput(f"{served.store_uri} is a server, not a database.", hint="Give --backend-store-uri sqlite:/// or postgresql://.")
    project = ServedProject(served)
    try:
        project.store(create=True).status()
    except MlopsError:
        raise
    except Exception as error:  # a URI that a driver cannot read fails in the driver's own ways
        raise StoreError(f"The store {project.store_uri} cannot be opened: {type(error).__name__}: {error}.") from error
    finally:
        project.close()


@contextlib.contextmanager
def _shared_figures(folder: Path | None) -> Iterator[None]:
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="mlops-nb-metrics-"))
        temporary = True
    else:
        temporary = False
    try:
        monitor.prepare_folder(folder)
    except OSError as error:
        raise InvalidInput(f"The folder for metrics {folder} cannot be used: {error.strerror}.") from error
    try:
        yield
    finally:
        if temporary:
            monitor.remove_folder(folder)


def _url(listener: socket.socket, base_path: str) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{base_path}"


def _end(_signal: int, _frame: object) -> NoReturn:
    # uvicorn raises the signal again when all is finished: being told to stop is no failure.
    sys.exit(0)
