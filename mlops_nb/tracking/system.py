"""What the machine does while a run is open: CPU, memory, disk, network and GPUs, as metrics with MLflow's names.

A thread takes a sample every few seconds. By default a run gets them once it is 10 s old, from its beginning on;
MLOPS_NB_SYSTEM_METRICS says true (at once) or false, MLOPS_NB_SYSTEM_METRICS_INTERVAL how often (s).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_nb.core.events import MetricLogged
from mlops_nb.core.names import SYSTEM_METRICS

if TYPE_CHECKING:
    from mlops_nb.tracking.run import ActiveRun
    from mlops_nb.tracking.session import Session

logger = logging.getLogger("mlops_nb")

ENV_SWITCH = ("MLOPS_NB_SYSTEM_METRICS", "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING")
ENV_INTERVAL = ("MLOPS_NB_SYSTEM_METRICS_INTERVAL", "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL")
LONG_RUN_SECONDS = 10.0
_SHORTEST = 0.05
_FIRST_SECONDS = 2.0
_LATER_SECONDS = 5.0
_FIRST_SAMPLES = 60
_MEGABYTE = 1e6
_MAX_WAITING = 100

Sample = tuple[int, dict[int, int | None], dict[str, float]]
_chosen: bool | None = None
_interval: float | None = None


def enable_system_metrics_logging() -> None:
    """Give every run that follows system metrics from its first seconds on."""
    global _chosen
    _chosen = True


def disable_system_metrics_logging() -> None:
    """Give no run system metrics."""
    global _chosen
    _chosen = False


def set_system_metrics_sampling_interval(interval: float | None) -> None:
    """Sample so often (s) from the next run on; None: every 2 s in the first two minutes, then every 5 s."""
    global _interval
    _interval = None if interval is None else max(_SHORTEST, float(interval))


def is_enabled() -> bool | None:
    """Return whether runs get system metrics; None: those that take a while."""
    if _chosen is not None:
        return _chosen
    text = next((os.environ[name] for name in ENV_SWITCH if os.environ.get(name)), "").lower()
    return None if text in ("", "auto") else text in ("1", "true", "yes", "on")


class SystemMetrics:
    """Samples the machine while the session has open runs, and gives each of them the samples of its time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._since: dict[str, tuple[float, bool]] = {}
        self._steps: dict[str, int] = {}
        self._waiting: dict[str, list[tuple[int, int | None, dict[str, float]]]] = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._lock = threading.Lock()

    def run_started(self, run: ActiveRun) -> None:
        """Sample from now on, if the run is to have system metrics."""
        if run.thread is None:
            self.choose(run, is_enabled())

    def choose(self, run: ActiveRun, enabled: bool | None) -> None:
        """Give a run system metrics at once, or never; None: once it is 10 s old."""
        with self._lock:
            if enabled is False:
                self._forget(run)
                return
            self._since[run.run_id] = (time.monotonic(), enabled is True)
            self._waiting[run.run_id] = []
            if self._thread is None or not self._thread.is_alive():
                self._wake = threading.Event()
                self._thread = threading.Thread(target=self._work, args=(self._wake,), name="mlops_nb-system", daemon=True)
                self._thread.start()

    def run_stopping(self, run: ActiveRun, timeout: float) -> None:
        """Give the run what waits for it, and sample no more for it."""
        with self._lock:
            if run.run_id not in self._since:
                return
            self._deliver(run)
            self._forget(run)

    def _forget(self, run: ActiveRun) -> None:
        for known in (self._since, self._waiting, self._steps):
            known.pop(run.run_id, None)
        if not self._since:
            self._wake.set()
            self._thread = None

    def after_fork_in_child(self) -> None:
        """Leave the sampling to the parent."""
        self._since, self._waiting, self._thread = {}, {}, None
        self._wake, self._lock = threading.Event(), threading.Lock()

    def _work(self, end: threading.Event) -> None:
        try:
            probe = Probe(self._session.shipper().target.project.root)
        except Exception:  # such as no psutil on this machine: there are no system metrics then
            logger.debug("the system cannot be sampled", exc_info=True)
            return
        chosen = interval()
        count = 0
        while not end.wait(chosen or (_FIRST_SECONDS if count < _FIRST_SAMPLES else _LATER_SECONDS)):
            count += 1
            values = probe.sample()
            with self._lock:
                if end.is_set():
                    break
                self._take(values)
        probe.close()

    def _take(self, values: dict[str, float]) -> None:
        now = time.time_ns() // 1_000_000
        for run in list(self._session.runs):
            if run.run_id in self._since and run.is_open:
                waiting = self._waiting[run.run_id]
                waiting.append((now, run.running_cell, values))
                del waiting[:-_MAX_WAITING]
                self._deliver(run)

    def _deliver(self, run: ActiveRun) -> None:
        began, at_once = self._since[run.run_id]
        if not at_once and time.monotonic() - began < LONG_RUN_SECONDS:
            return
        waiting, self._waiting[run.run_id] = self._waiting[run.run_id], []
        for at, cell, values in waiting:
            step = self._steps.setdefault(run.run_id, 0)
            self._steps[run.run_id] += 1
            for key, value in values.items():
                run.tell(MetricLogged(ts=at, key=SYSTEM_METRICS + key, value=value, step=step, cell=cell))


def interval() -> float | None:
    """Return the chosen time between samples (s), or None for ours."""
    if _interval is not None:
        return _interval
    for name in ENV_INTERVAL:
        with contextlib.suppress(ValueError):
            seconds = float(os.environ.get(name, ""))
            if math.isfinite(seconds) and seconds > 0:
                return max(_SHORTEST, seconds)
    return None


class Probe:
    """Reads the machine's counters.

    Args:
        folder: Whose disk is looked at.
    """

    def __init__(self, folder: Path) -> None:
        import psutil

        self._psutil = psutil
        self._folder = str(folder)
        self._process = psutil.Process()
        self._network = self._traffic()
        self._gpus = Gpus()
        psutil.cpu_percent()

    def sample(self) -> dict[str, float]:
        """Return the values of now; what a system does not tell is left out. Sizes in megabytes of 10^6 bytes."""
        values: dict[str, float] = {}
        for part in (self._cpu, self._memory, self._disk, self._net, self._gpus.sample):
            try:
                values.update(part())
            except Exception:  # noqa: BLE001  # a counter that this system or container does not have
                continue
        return {key: value for key, value in values.items() if math.isfinite(value)}

    def close(self) -> None:
        """Let the GPUs' library go."""
        self._gpus.close()

    def _cpu(self) -> dict[str, float]:
        return {"cpu_utilization_percentage": self._psutil.cpu_percent()}

    def _memory(self) -> dict[str, float]:
        memory = self._psutil.virtual_memory()
        return {
            "system_memory_usage_megabytes": memory.used / _MEGABYTE,
            "system_memory_usage_percentage": memory.used / memory.total * 100,
            "process_memory_usage_megabytes": self._process.memory_info().rss / _MEGABYTE,
        }

    def _disk(self) -> dict[str, float]:
        disk = self._psutil.disk_usage(self._folder)
        return {
            "disk_usage_percentage": disk.percent,
            "disk_usage_megabytes": disk.used / _MEGABYTE,
            "disk_available_megabytes": disk.free / _MEGABYTE,
        }

    def _traffic(self) -> tuple[int, int]:
        counters = self._psutil.net_io_counters()
        return (0, 0) if counters is None else (counters.bytes_recv, counters.bytes_sent)

    def _net(self) -> dict[str, float]:
        received, sent = self._traffic()
        return {
            "network_receive_megabytes": (received - self._network[0]) / _MEGABYTE,
            "network_transmit_megabytes": (sent - self._network[1]) / _MEGABYTE,
        }


class Gpus:
    """The NVIDIA GPUs of this machine, through NVML; none where there is no driver or no `nvidia-ml-py`."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self.handles: list[Any] = []
        try:
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
            self.handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        except Exception as error:  # noqa: BLE001  # the library has errors of its own for each way to have no GPU
            logger.debug("no NVIDIA GPU is sampled: %s", error)

    def describe(self) -> list[dict[str, Any]]:
        """Return name and memory (bytes) of each."""
        found = []
        for handle in self.handles:
            name = self._nvml.nvmlDeviceGetName(handle)
            text = name.decode() if isinstance(name, bytes) else str(name)
            found.append({"name": text, "memory": int(self._nvml.nvmlDeviceGetMemoryInfo(handle).total)})
        return found

    def driver(self) -> str | None:
        """Return the driver's version."""
        if self._nvml is None:
            return None
        version = self._nvml.nvmlSystemGetDriverVersion()
        return version.decode() if isinstance(version, bytes) else str(version)

    def sample(self) -> dict[str, float]:
        """Return what each GPU does now."""
        values: dict[str, float] = {}
        for number, handle in enumerate(self.handles):
            for key, value in self._of(handle):
                values[f"gpu_{number}_{key}"] = value
        return values

    def _of(self, handle: Any) -> Iterator[tuple[str, float]]:
        nvml = self._nvml
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        yield "memory_usage_percentage", memory.used / memory.total * 100
        yield "memory_usage_megabytes", memory.used / _MEGABYTE
        with contextlib.suppress(nvml.NVMLError):  # not to be had of a part of a GPU (MIG)
            yield "utilization_percentage", float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        with contextlib.suppress(nvml.NVMLError):
            power = nvml.nvmlDeviceGetPowerUsage(handle)
            yield "power_usage_watts", power / 1000
            yield "power_usage_percentage", power / nvml.nvmlDeviceGetEnforcedPowerLimit(handle) * 100

    def close(self) -> None:
        """Give NVML back."""
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
        self._nvml, self.handles = None, []
