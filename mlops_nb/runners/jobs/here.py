"""A runner in the foreground of this machine: what `%runner run` uses where no other one is named. It ends with its job."""

from __future__ import annotations

import io
import secrets
import shutil
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from mlops_nb import config
from mlops_nb.core.runners import AgentWish, Guards, RunnerRequest
from mlops_nb.errors import MlopsError
from mlops_nb.runners.foreground import OwnRunner
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
    """A runner of this process, written down when it is made; `run` blocks until it is over.

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
        self._log = MachineLog(console or _Nowhere())
        agent = AgentWish(kind="notebook", single=single)
        guards = guards or Guards()
        request = RunnerRequest(name=name or f"here-{secrets.token_hex(3)}", cloud="local", agent=agent, guards=guards)
        self._own = OwnRunner(ledger, request, user=config.user_name(), host=socket.gethostname())
        self.runner = self._own.get()
        self._folder = folder / self.runner.id[:12]
        work = NotebookWork(ledger, self.runner.id, store, self._folder, tracking, single=single, tell=self._log.write, pause=pause)
        self.loop = MachineLoop(
            work, guards, server=LedgerServer(ledger, self.runner.id), notices=notices, log=self._log, beat=beat, tick=0.2
        )
        self._thread: threading.Thread | None = None
        self.ended: Ended | None = None

    def run(self) -> Ended:
        """Take jobs until it is over; whatever happens, nothing of it is left but its record."""
        reason = "interrupted"
        try:
            self.ended = self.loop.run()
            reason = self.ended.reason
            return self.ended
        finally:
            try:
                self._own.close(reason)
            except MlopsError as error:
                self._log.write(f"! That it has ended could not be written down: {error}")
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
