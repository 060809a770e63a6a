"""What a model server counts, in Prometheus' form. Workers of one endpoint share a folder, so that each can tell of all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlops_nb.errors import MissingDependencyError

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1000, 10_000, 100_000)


class Figures:
    """The counters of one worker.

    Args:
        folder: Where the workers of this endpoint keep them, through restarts.
        model: The name of the endpoint.
        version: Of the model.
    """

    def __init__(self, folder: Path, model: str, version: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ[_FOLDER] = str(folder)  # read when the library is imported, and by its collector
        try:
            import prometheus_client as prometheus
        except ImportError:
            raise MissingDependencyError("prometheus_client", extra="serve", purpose="Serving models") from None
        self._prometheus = prometheus
        labels = {"model": model, "version": version}
        requests = prometheus.Counter("mlops_nb_requests", "Requests by protocol and status.", [*labels, "protocol", "status"])
        seconds = prometheus.Histogram("mlops_nb_request_seconds", "Time from request to answer.", [*labels, "protocol"], buckets=_SECONDS)
        errors = prometheus.Counter("mlops_nb_errors", "Answers that are errors, by code.", [*labels, "code"])
        rows = prometheus.Histogram("mlops_nb_batch_rows", "Rows that the model was given at once.", [*labels], buckets=_ROWS)
        calls = prometheus.Histogram("mlops_nb_batch_requests", "Requests that the model was given at once.", [*labels], buckets=_ROWS)
        self._queue = prometheus.Gauge("mlops_nb_queue", "Requests that wait for the model.", [*labels], multiprocess_mode="livesum")
        info = prometheus.Gauge("mlops_nb_model_info", "The model that is served.", [*labels, "engine"], multiprocess_mode="livemax")
        self._labels = tuple(labels.values())
        self._requests, self._seconds, self._errors = requests, seconds, errors
        self._rows, self._calls = rows.labels(*self._labels), calls.labels(*self._labels)
        self._queue_of_ours = self._queue.labels(*self._labels)
        self._info = info
        # Looking labels up costs more than counting.
        self._counted: dict[tuple[str, int], tuple[Any, Any]] = {}

    def serves(self, engine: str) -> None:
        """Tell that the model is served, and what computes."""
        self._info.labels(*self._labels, engine).set(1)

    def answered(self, protocol: str, status: int, seconds: float) -> None:
        """Count an answer."""
        known = self._counted.get((protocol, status))
        if known is None:
            known = self._requests.labels(*self._labels, protocol, str(status)), self._seconds.labels(*self._labels, protocol)
            self._counted[(protocol, status)] = known
        known[0].inc()
        known[1].observe(seconds)

    def refused(self, code: str) -> None:
        """Count an error."""
        self._errors.labels(*self._labels, code).inc()

    def predicted(self, requests: int, rows: int) -> None:
        """Count a call of the model."""
        self._rows.observe(rows)
        self._calls.observe(requests)

    def waiting(self, requests: int) -> None:
        """Tell how many requests wait."""
        self._queue_of_ours.set(requests)

    def text(self) -> bytes:
        """Return the figures of all workers."""
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self._prometheus.CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types here
        return bytes(self._prometheus.generate_latest(registry))


def forget(folder: Path, pid: int) -> None:
    """Remove the gauges of a process that has ended; its counters stay."""
    for path in folder.glob(f"gauge_live*_{pid}.db"):
        path.unlink(missing_ok=True)
