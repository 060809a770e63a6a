"""Who is dead: twice a second the journals that lost their process are delivered and their runs closed.

The server started the kernels, so it also knows why one of them ended.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import signal
import subprocess
import time
from typing import Any

from mlops_nb.api.project import ServedProject
from mlops_nb.errors import MlopsError
from mlops_nb.tracking.recovery import recover
from mlops_nb.tracking.shortage import MemoryWatch

TICK_SECONDS = 0.5
LEASE_CHECK_SECONDS = 5.0
_WARN_EVERY = 60.0


class Liveness:
    """Watches the journals of one project on behalf of a Jupyter server."""

    def __init__(self, serverapp: Any, project: ServedProject) -> None:
        self._server = serverapp
        self._project = project
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._memory = MemoryWatch()
        self._leases_checked = 0.0
        self._warned = -_WARN_EVERY
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch; needs the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._watch())
        # The last kernels are ended after the extensions have been stopped.
        atexit.register(self._last_sweep)

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            try:
                self._remember_processes()
                if await asyncio.to_thread(self._sweep):
                    self._server.log.info("mlops_nb: closed the runs of processes that had ended.")
            except Exception:  # a watcher that has stopped would leave every later run open
                self._server.log.exception("mlops_nb: the watch over dead processes failed; it goes on.")
            await asyncio.sleep(TICK_SECONDS)

    def _remember_processes(self) -> None:
        """Keep the kernels' processes, so that it can be told how they ended even when they have been replaced."""
        manager = self._server.kernel_manager
        for kernel_id in manager.list_kernel_ids():
            provisioner = getattr(manager.get_kernel(kernel_id), "provisioner", None)
            process = getattr(provisioner, "process", None)
            if isinstance(process, subprocess.Popen):
                self._processes[process.pid] = process
                self._memory.look(process.pid)
        if len(self._processes) > 1000:  # a server that has run for months
            for pid in [pid for pid, process in self._processes.items() if process.returncode is not None]:
                del self._processes[pid]
                self._memory.forget(pid)

    def _sweep(self) -> bool:
        """Look once; return whether anything was closed."""
        project = self._project.project
        try:
            found = False
            if any(project.journal_dir.glob("*.jsonl")):
                found = bool(recover(project.journal_dir, self._project.store(create=True), project.store_uri, explain=self._explain))
            if time.monotonic() - self._leases_checked > LEASE_CHECK_SECONDS:
                self._leases_checked = time.monotonic()
                found = bool(self._project.store().expire_leases()) or found
            return found
        except (MlopsError, OSError) as error:
            if time.monotonic() - self._warned > _WARN_EVERY:
                self._warned = time.monotonic()
                self._server.log.warning("mlops_nb: the runs of dead processes cannot be closed yet: %s", error)
            return False

    def _last_sweep(self) -> None:
        project = self._project.project
        if any(project.journal_dir.glob("*.jsonl")):
            last = ServedProject(project)
            try:
                recover(project.journal_dir, last.store(create=True), project.store_uri, explain=self._explain)
            except (MlopsError, OSError) as error:
                self._server.log.warning("mlops_nb: some runs are closed at the next start: %s", error)
            finally:
                last.close()

    def _explain(self, pid: int) -> str | None:
        process = self._processes.get(pid)
        if process is None:
            return None
        try:
            status = process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            return None
        if status >= 0:
            return f"exited with status {status} without closing the run"
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        cause = f" ({self._memory.why_killed(pid)})" if status == -signal.SIGKILL else ""
        return f"was killed by {name}{cause}"


def start_liveness(serverapp: Any, project: ServedProject) -> Liveness:
    """Start watching and return the watcher."""
    liveness = Liveness(serverapp, project)
    liveness.start()
    return liveness
