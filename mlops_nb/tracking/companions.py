"""What goes along with the open runs of a session, each in a thread of its own: data, environment, system metrics."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from mlops_nb.tracking.data.watch import DataWatch
from mlops_nb.tracking.system import SystemMetrics

if TYPE_CHECKING:
    from mlops_nb.tracking.run import ActiveRun
    from mlops_nb.tracking.session import Session
    from mlops_nb.tracking.target import Target

logger = logging.getLogger("mlops_nb")


class Companions:
    """Begins them with a run and brings them to an end with it. A fault of theirs is logged and hurts neither run nor code.

    Attributes:
        data: What the cells read.
        system: What the machine does meanwhile.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.data = DataWatch(session)
        self.system = SystemMetrics(session)

    def run_started(self, run: ActiveRun, target: Target) -> None:
        """Go along with a run."""
        try:
            run.capture(lambda: self._describe(run, target))
            self.data.run_started(run)
            self.system.run_started(run)
        except Exception:  # whatever it is, it is ours, and the run goes on without
            logger.debug("something beside run %s could not begin", run.run_id, exc_info=True)

    def _describe(self, run: ActiveRun, target: Target) -> dict[str, str]:
        from mlops_nb.tracking import environment

        return environment.describe(run, target.project, self._session.user_ns)

    def run_stopping(self, run: ActiveRun, timeout: float) -> None:
        """Give a run that is about to end what is known by now; wait no longer than `timeout` (s)."""
        deadline = time.monotonic() + timeout
        for companion in (self.system, self.data):
            try:
                companion.run_stopping(run, max(0.1, deadline - time.monotonic()))
            except Exception:  # as above
                logger.debug("something beside run %s could not end", run.run_id, exc_info=True)

    def after_fork_in_child(self) -> None:
        """Leave it all to the parent."""
        self.data.after_fork_in_child()
        self.system.after_fork_in_child()
