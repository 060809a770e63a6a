"""A runner in the foreground of this machine: what `%runner run` uses where no other one is named. It ends with its job."""

from __future__ import annotations

import io
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import msgspec

from mlops_nb import config
from mlops_nb.core.runners import (
    LEASE_SECONDS,
    AgentWish,
    Guards,
    Offer,
    Runner,
    RunnerEvent,
    RunnerRequest,
    RunnerState,
)
from mlops_nb.errors import Conflict, MlopsError
from mlops_nb.runners.jobs.attempt import Tracking
from mlops_nb.runners.jobs.work import NotebookWork
from mlops_nb.runners.machine.agent import LedgerServer
from mlops_nb.runners.machine.log import MachineLog
from mlops_nb.runners.machine.loop import Ended, MachineLoop
from mlops_nb.runners.machine.notices.base import Notices
from mlops_nb.store.base import TrackingStore
from mlops_nb.store.runners import RunnerLedger


class _Nowhere(io.StringIO):
    """Takes what is written, and forgets it."""

    def write(self, text: str) -> int:
        return len(text)


class Foreground:
    """A runner of this process: `register` writes it down, `run` blocks until it is over.

    Args:
        ledger, store: Where runners, jobs and runs are.
        tracking: What kernels are told of the store.
        folder: Where it works; removed in the end.
        name: Of the runner.
        guards: Its limits.
        single: It ends after one job.
        notices: Where to look for announcements of a cloud.
        console: Where the machine prints what it says; None: nowhere.
        beat, pause: Seconds between two signs of life, and two looks for a job.
    """

    def __init__(
        self,
        ledger: RunnerLedger,
        store: TrackingStore,
        tracking: Tracking,
        folder: Path,
        *,
        name: str = "",
        guards: Guards | None = None,
        single: bool = True,
        notices: Sequence[Notices] = (),
        console: TextIO | None = None,
        beat: float = 20.0,
        pause: float = 0.5,
    ) -> None:
        self.ledger = ledger
        self._folder = folder
        self._guards = guards or Guards()
        self._log = MachineLog(console or _Nowhere())
        self.runner = self._written(name)
        self._folder = folder / self.runner.id[:12]
        work = NotebookWork(ledger, self.runner.id, store, self._folder, tracking, single=single, tell=self._log.write, pause=pause)
        self.loop = MachineLoop(
            work, self._guards, server=LedgerServer(ledger, self.runner.id), notices=notices, log=self._log, beat=beat, tick=0.2
        )
        self._thread: threading.Thread | None = None
        self.ended: Ended | None = None

    def _written(self, name: str) -> Runner:
        now = time.time()
        request = RunnerRequest(
            name=name or f"here-{secrets.token_hex(3)}", cloud="local", agent=AgentWish(kind="notebook", single=True), guards=self._guards
        )
        made = Runner(
            id=secrets.token_hex(16),
            installation=self.ledger.installation(),
            request=request,
            created=now,
            updated=now,
            offer=Offer(cloud="local", type="this machine", region="", hourly=0.0),
            hard_stop=now + self._guards.seconds(0.0),
            user=config.user_name(),
            host=socket.gethostname(),
        )
        made = self.ledger.add(made, RunnerEvent(time=now, kind="requested", text="In the foreground of this machine."))
        begun = msgspec.structs.replace(made, state=RunnerState.CREATING, lease_expires=now + LEASE_SECONDS, updated=now)
        return self.ledger.save(begun, RunnerEvent(time=now, kind="creating"))

    def run(self) -> Ended:
        """Take jobs until it is over; whatever happens, nothing of it is left but its record."""
        reason = "interrupted"
        try:
            self.ended = self.loop.run()
            reason = self.ended.reason
            return self.ended
        finally:
            self._close(reason)
            if not any(self._folder.rglob("journal/*.jsonl")):
                shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Run in a thread."""
        self._thread = threading.Thread(target=self.run, name="mlops-runner-here", daemon=False)
        self._thread.start()

    def leave(self, reason: str, seconds: float = 15.0) -> None:
        """End, and wait for that."""
        self.loop.leave(reason, seconds)
        self.join(seconds + 20)

    def join(self, seconds: float | None = None) -> None:
        """Wait until it has ended."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _close(self, reason: str) -> None:
        for state in (RunnerState.DESTROYING, RunnerState.GONE):
            while True:
                try:
                    now, runner = time.time(), self.ledger.get(self.runner.id)
                    if runner.state in (state, RunnerState.GONE):
                        break
                    ended = now if state is RunnerState.GONE else None
                    changed = msgspec.structs.replace(runner, state=state, reason=reason[:500], updated=now, ended=ended, job="")
                    self.ledger.save(changed, RunnerEvent(time=now, kind=state.value, text=reason[:500]))
                    break
                except Conflict:
                    continue
                except MlopsError as error:
                    self._log.write(f"! That it has ended could not be written down: {error}")
                    return
