"""The thread that looks at what may be slow to answer: the cloud's announcements, and the GPUs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from mlops_nb.runners.machine.notices.base import Notice, Notices

logger = logging.getLogger("mlops_nb")

LOOK_SECONDS = 2.0


class Watcher:
    """Asks every `seconds`; `on_notice` is called for each new announcement, in this thread. `gpu` is the last known use."""

    def __init__(
        self,
        notices: Sequence[Notices],
        gpu: Callable[[], float | None],
        *,
        on_notice: Callable[[Notice], None],
        seconds: float = LOOK_SECONDS,
    ) -> None:
        self.gpu: float | None = None
        self._notices = notices
        self._measure = gpu
        self._on_notice = on_notice
        self._seconds = seconds
        self._seen: set[tuple[str, bool]] = set()
        self._unmeasured = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="mlops-nb-watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        self.look()
        while not self._over.wait(self._seconds):
            self.look()

    def look(self) -> None:
        """Ask once."""
        for place in self._notices:
            notice = place.check()
            if notice is not None and (notice.text, notice.final) not in self._seen:
                self._seen.add((notice.text, notice.final))
                self._on_notice(notice)
        try:
            self.gpu = self._measure()
        except Exception as error:  # noqa: BLE001  # a driver has errors of its own; a GPU that cannot be asked is as one that is not there
            self.gpu = None
            if not self._unmeasured:
                logger.warning("the use of the GPUs cannot be read: %s", error)
            self._unmeasured = True
