"""Ctrl+C and the signals of a CI that cancels: the work is cut off once, and what cleans up after it is never cut off."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """The process was told to end while it did something that has been undone. `signum` says by which signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.signum = signum


class Suspended(BaseException):
    """The process that does it goes away, and the next one goes on with it: nothing is undone."""


class _Watch:
    """Raises `Interrupted` at the first signal while it is armed; whatever comes later or otherwise is only noted."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.armed = False
        self.received: int | None = None
        self._tell = tell

    def handle(self, signum: int, frame: FrameType | None) -> None:
        first = self.received is None
        self.received = self.received if self.received is not None else signum
        if self.armed and first:
            self.armed = False
            raise Interrupted(signum)
        if not first and signum == signal.SIGINT:
            self._tell("Still cleaning up; what is not removed now is left to: mlops-nb runner reap")

    def check(self) -> None:
        """Raise what a signal has raised where it got lost: Python drops what is raised in a finalizer, some code catches all."""
        if self.received is not None:
            self.armed = False
            raise Interrupted(self.received)


def guarded(
    work: Callable[[Callable[[], None]], Result], undo: Callable[[BaseException], None], *, tell: Callable[[str], None] = lambda line: None
) -> Result:
    """Do the work; when it fails or the process is told to end meanwhile, undo it, and raise why.

    In the main thread SIGINT, SIGTERM and SIGHUP cut the work off, wherever it is, and let `undo` finish, however many of them
    come. In other threads signals are not looked at. A signal that comes when the work is just done undoes it as well.
    `work` is given what it calls between its steps: it raises as well where a signal has come and its exception got lost.

    Raises:
        Interrupted: If a signal has cut it off.
        Suspended: If the work has raised it; then nothing is undone.
    """
    watch = _Watch(tell)
    before = _install(watch)
    failure: BaseException
    try:
        # The outer one is for a signal that comes between an error of the work and its being caught. Only one is ever raised.
        try:
            try:
                watch.armed = True
                result = work(watch.check)
                watch.armed = False
            except Suspended:
                raise
            except BaseException as error:  # noqa: BLE001  all is undone, whatever ended it, and raised again
                watch.armed = False
                failure = error
            else:
                if watch.received is None:
                    return result
                failure = Interrupted(watch.received)
        except Interrupted as error:
            failure = error
        undo(failure)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    raise failure


class _Patient(_Watch):
    """Lets what runs go on; a second Ctrl+C breaks it off."""

    def handle(self, signum: int, frame: FrameType | None) -> None:
        again = self.received is not None and signum == signal.SIGINT
        self.received = self.received if self.received is not None else signum
        if again:
            raise Interrupted(signum)
        self._tell("Going on until it is removed; Ctrl+C once more leaves the rest to: mlops-nb runner reap")


def finished(work: Callable[[], Result], *, tell: Callable[[str], None] = lambda line: None) -> Result:
    """Do what had better be finished: a signal to end is heeded when it is done. A second Ctrl+C breaks it off.

    Raises:
        Interrupted: If a signal has come.
    """
    watch = _Patient(tell)
    before = _install(watch)
    try:
        result = work()
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    if watch.received is not None:
        raise Interrupted(watch.received)
    return result


def _install(watch: _Watch) -> dict[int, signal._HANDLER]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    before: dict[int, signal._HANDLER] = {}
    for signum in _SIGNALS:
        handler = signal.getsignal(signum)
        # None: installed by something that is not Python. Ignored (nohup): it stays so.
        if handler is not None and handler != signal.SIG_IGN:
            before[signum] = handler
            signal.signal(signum, watch.handle)
    return before


def end_by(signum: int) -> None:
    """End this process as the signal would have, so that who waits for it sees what ended it."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
