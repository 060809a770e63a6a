"""What a server counts and times of itself, in Prometheus's form.

With several processes each writes its figures to files in one folder, and whichever is asked adds them all up.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec

from mlops_nb.api.http import HttpAnswer
from mlops_nb.errors import MissingDependencyError

# prometheus_client reads it when it is imported.
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
_GROUP_SIZES = (1, 2, 4, 8, 16, 32, 64)
_LIVE_FILE = re.compile(r"gauge_live\w*_(\d+)\.db")


class _Failure(msgspec.Struct):
    error_code: str = "UNKNOWN"


def prepare_folder(folder: Path) -> None:
    """Make the folder where the processes of a new server keep their figures, empty, and have them use it.

    Raises:
        OSError: If it cannot be made or emptied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.db"):
        old.unlink()
    os.environ[_FOLDER] = str(folder)


def remove_folder(folder: Path) -> None:
    """Remove a folder that `prepare_folder` was given."""
    os.environ.pop(_FOLDER, None)
    shutil.rmtree(folder, ignore_errors=True)


def check_installed() -> None:
    """Check that there is something to count with.

    Raises:
        MissingDependencyError: If prometheus-client is not installed.
    """
    # Only looked for: when it is imported, it decides for good whether there are several processes.
    if importlib.util.find_spec("prometheus_client") is None:
        raise MissingDependencyError("prometheus-client", extra="server", purpose="--expose-prometheus")


class Monitor:
    """The figures of one process of a server.

    Threads: `group` may be called from any, all else is called from the event loop.
    """

    def __init__(self) -> None:
        import prometheus_client as prometheus
        from prometheus_client import exposition, multiprocess

        folder = os.environ.get(_FOLDER)
        self._exposition = exposition
        self._own = prometheus.CollectorRegistry()
        self._shown = self._own
        if folder:
            _forget_dead(Path(folder))
            self._shown = prometheus.CollectorRegistry()
            multiprocess.MultiProcessCollector(self._shown, path=folder)  # type: ignore[no-untyped-call]
        self._requests = prometheus.Counter(
            "mlops_nb_requests", "Requests answered, by operation and status class.", ["operation", "status"], registry=self._own
        )
        self._seconds = prometheus.Histogram(
            "mlops_nb_request_seconds", "Time to the answer's end, by operation.", ["operation"], registry=self._own, buckets=_SECONDS
        )
        self._in_flight = prometheus.Gauge(
            "mlops_nb_requests_in_flight", "Requests being answered now.", registry=self._own, multiprocess_mode="livesum"
        )
        self._received = prometheus.Counter("mlops_nb_received_bytes", "Bytes of bodies that came.", registry=self._own)
        self._sent = prometheus.Counter("mlops_nb_sent_bytes", "Bytes of bodies that went.", registry=self._own)
        self._groups = prometheus.Histogram(
            "mlops_nb_write_group_size", "Writes that shared one commit.", registry=self._own, buckets=_GROUP_SIZES
        )
        self._errors = prometheus.Counter(
            "mlops_nb_store_errors", "Answers that say that the store could not serve, by error code.", ["code"], registry=self._own
        )
        self._children: dict[tuple[str, int], tuple[Any, Any]] = {}

    def began(self) -> None:
        """Count a request that is being answered."""
        self._in_flight.inc()

    def ended(self, operation: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Count a request that has been answered."""
        self._in_flight.dec()
        key = operation, status // 100
        children = self._children.get(key)
        if children is None:
            by_status = self._requests.labels(operation, f"{status // 100}xx")
            children = self._children[key] = by_status, self._seconds.labels(operation)
        children[0].inc()
        children[1].observe(seconds)
        if received:
            self._received.inc(received)
        if sent:
            self._sent.inc(sent)

    def group(self, size: int) -> None:
        """Count a group of writes."""
        self._groups.observe(size)

    def failed(self, answer: HttpAnswer) -> None:
        """Count an answer whose status says that the server is at fault."""
        self._errors.labels(msgspec.json.decode(answer.body, type=_Failure).error_code).inc()

    def page(self) -> HttpAnswer:
        """Return the figures of all processes of the server. Reads files."""
        text = self._exposition.generate_latest(self._shown)
        return HttpAnswer(headers={"Content-Type": self._exposition.CONTENT_TYPE_LATEST}, body=text)


def _forget_dead(folder: Path) -> None:
    """Remove what processes that have died say is going on in them now; their totals stay."""
    for file in folder.glob("gauge_live*.db"):
        match = _LIVE_FILE.fullmatch(file.name)
        if match and not _is_alive(int(match[1])):
            with contextlib.suppress(FileNotFoundError):
                file.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
