"""The thread that keeps a machine alive: signs of life to the server, the lease of the switch, and the log.

It does so only while the loop turns. A loop that hangs gives no sign, its lease runs out, and the switch ends the machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from mlops_nb.core.runners import REGISTER_SECONDS, Heartbeat
from mlops_nb.errors import MlopsError, PermissionDenied
from mlops_nb.runners.machine.log import MachineLog
from mlops_nb.runners.machine.server import Server
from mlops_nb.runners.machine.switch import Switch, uptime
from mlops_nb.runners.machine.work import WorkStatus

BEAT_SECONDS = 20.0
HANGING_SECONDS = 120.0
"""A loop that has not turned for so long hangs; before its first turn, while it installs what it needs, it has `REGISTER_SECONDS`."""
State = Literal["booting", "idle", "busy", "draining"]
_DENIED = 3
_EARLIEST = 1.0
"""At least so long lies between two signs of life (s), however much happens."""


class Terms:
    """Until when the machine may live, and what it was told. Times are the loop's clock.

    Attributes:
        hard_stop: Its end at the latest. `longest` is how long it was at most.
        gone: Why the server no longer knows this runner; "" while it does.
        answered: When the server last answered.
    """

    def __init__(self, now: float, *, seconds: float, idle: float) -> None:
        self.hard_stop = now + seconds
        self.longest = seconds
        self.idle = idle
        self.drain = False
        self.leave = False
        self.gone = ""
        self.answered = now

    def silent(self, now: float) -> float:
        """Return for how long the server has not answered (s)."""
        return now - self.answered


class Heartbeats:
    """Signs of life in a thread of its own; see `MachineLoop` for the arguments. `wake` is called when orders came."""

    def __init__(
        self,
        terms: Terms,
        *,
        server: Server | None,
        switch: Switch | None,
        log: MachineLog,
        lease: float,
        beat: float,
        clock: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self.terms = terms
        self.lease = lease
        self.notice = ""
        self._server = server
        self._switch = switch
        self._log = log
        self._beat = beat
        self._clock = clock
        self._wake = wake
        now = clock()
        self._lease_end = now + lease
        self._turned = now + REGISTER_SECONDS - HANGING_SECONDS
        self._state: State = "booting"
        self._status = WorkStatus(ready=False)
        self._idle = 0.0
        self._gpu: float | None = None
        self._soon = threading.Event()
        self._over = threading.Event()
        self._denied = 0
        self._silent = False
        self._troubles: set[str] = set()
        self._thread = threading.Thread(target=self._keep, name="mlops-nb-heartbeats", daemon=True)

    def start(self) -> None:
        """Set the switch and begin."""
        now = self._clock()
        self._set_switch(lambda switch: switch.hard_stop(self.terms.hard_stop - now))
        self._set_switch(lambda switch: switch.renew(self.lease))
        self._thread.start()

    def note(self, state: State, status: WorkStatus, *, idle: float, gpu: float | None) -> None:
        """Take down how it is: the loop has turned. A change is told to the server soon."""
        changed = (state, status.job) != (self._state, self._status.job)
        self._turned = max(self._turned if not status.ready else 0.0, self._clock())
        self._state, self._status, self._idle, self._gpu = state, status, idle, gpu
        if changed:
            self._soon.set()

    def beat_now(self) -> None:
        """Give a sign of life without waiting for its time."""
        self._soon.set()

    def lease_left(self) -> float | None:
        """Return how long the lease lasts without another answer (s); None: there is no server that gives it."""
        return None if self._server is None else self._lease_end - self._clock()

    def stop(self, reason: str) -> None:
        """Give the last sign of life, with the reason and the rest of the log, and end the thread."""
        self._over.set()
        self._soon.set()
        self._thread.join(timeout=self._beat)
        self._once(leaving=reason)

    # -- the thread

    def _keep(self) -> None:
        while not self._over.is_set():
            if self._clock() - self._turned <= HANGING_SECONDS:
                self._once()
            else:
                self._say_once("The work hangs: no more signs of life are given, and the switch ends this machine.")
            if self._over.wait(_EARLIEST if self._beat > _EARLIEST else self._beat):
                break
            self._soon.wait(min(self._beat, max(self.lease / 4, _EARLIEST)))  # several fit into a short lease
            self._soon.clear()

    def _once(self, leaving: str = "") -> None:
        if self._server is None:
            self._set_switch(lambda switch: switch.renew(self.lease))
            return
        beat = Heartbeat(
            state=self._state,
            job=self._status.job,
            jobs=self._status.jobs,
            uptime=uptime(),
            idle=self._idle,
            gpu=self._gpu,
            notice=self.notice,
            leaving=leaving,
        )
        try:
            self._log.ship(self._server)
            self._obey(self._server, beat)
        except PermissionDenied as error:
            self._denied += 1  # something between us may say that, too; who means it says it again
            if self._denied >= _DENIED:
                self.terms.gone = f"the server no longer knows this runner ({error.message})"
                self._wake()
        except MlopsError as error:
            if not self._silent:
                self._log.write(f"The server did not take a sign of life, and is asked again: {error}")
            self._silent = True
        else:
            if self._silent:
                self._log.write("The server takes signs of life again.")
            self._denied, self._silent = 0, False

    def _obey(self, server: Server, beat: Heartbeat) -> None:
        asked = self._clock()
        orders = server.heartbeat(beat)
        terms = self.terms
        self.lease = orders.lease
        self._lease_end = asked + orders.lease
        terms.answered = asked
        terms.idle, terms.drain, terms.leave = orders.idle, orders.drain, orders.leave
        if abs(asked + orders.hard_stop - terms.hard_stop) > 1.0:
            terms.hard_stop = asked + orders.hard_stop
            self._set_switch(lambda switch: switch.hard_stop(orders.hard_stop))
        self._set_switch(lambda switch: switch.renew(min(orders.lease, orders.hard_stop)))
        self._wake()

    def _set_switch(self, change: Callable[[Switch], None]) -> None:
        if self._switch is None:
            return
        try:
            change(self._switch)
        except OSError as error:
            self._say_once(
                f"The dead-man's switch cannot be set ({error.strerror or error}): the machine ends when its present lease has passed."
            )

    def _say_once(self, line: str) -> None:
        if line not in self._troubles:
            self._troubles.add(line)
            self._log.write(line)
