"""Signals to the process of a loop: SIGTERM ends it in time, Ctrl+C waits for the job and, pressed again, does not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlops_nb.runners.machine.loop import MachineLoop

TERM_SECONDS = 25.0
"""What a system that goes down, or a pod that is evicted, leaves to its processes, less our margin."""


@contextmanager
def told_by_signals(loop: MachineLoop, *, seconds: float = TERM_SECONDS) -> Iterator[None]:
    """Let signals end the loop in order while the block runs; in another thread than the main one, signals are left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_terminate(number: int, frame: Any) -> None:
        loop.leave(f"it was told to end ({signal.Signals(number).name})", seconds)

    def on_interrupt(number: int, frame: Any) -> None:
        if loop.is_draining:
            loop.leave("Ctrl+C was pressed twice", seconds)
        else:
            loop.drain("Ctrl+C was pressed; press it again to end the job, too")

    before = {number: signal.signal(number, on_terminate) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
