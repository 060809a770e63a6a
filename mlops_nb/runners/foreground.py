"""A runner that is this process itself, in the ledger like any other.

`runner list` shows it, `runner stop` and `down` reach it, and the reaper removes what it leaves if the process is killed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from msgspec.structs import replace

from mlops_nb.core.runners import Offer, Runner, RunnerEvent, RunnerRequest, RunnerState
from mlops_nb.runners import ending
from mlops_nb.runners.base import Registrar, SystemClock
from mlops_nb.runners.context import Context, note_in
from mlops_nb.runners.opening import open_cloud, open_registrar
from mlops_nb.store.runners import RunnerLedger


class OwnRunner:
    """The record of a runner of this process, changed while its own heartbeats and other people change it, too.

    Args:
        ledger: Where it is written down, as being created.
        request: What it was asked to be.
        user, host: Who launched it, and from where.
        registrar: Returns the registrations of a place; None: by the token of this environment.
    """

    def __init__(
        self,
        ledger: RunnerLedger,
        request: RunnerRequest,
        *,
        user: str,
        host: str,
        registrar: Callable[[str], Registrar] | None = None,
    ) -> None:
        clock = SystemClock()
        self._context = Context(ledger, open_cloud, registrar or open_registrar, ledger.installation(), clock, lambda line: None)
        now = clock.now()
        asked = Runner(
            id=secrets.token_hex(16),
            installation=self._context.installation,
            request=request,
            created=now,
            updated=now,
            offer=Offer(cloud="local", type="this machine", region="", hourly=0.0),
            hard_stop=now + request.guards.seconds(0.0),
            user=user,
            host=host,
        )
        self.id = ledger.add(asked, RunnerEvent(time=now, kind="requested", text="In the foreground of this machine.")).id
        self.note = note_in(ledger, clock.now, self.id)
        self.become(RunnerState.CREATING)

    def get(self) -> Runner:
        """Return it as it is now."""
        return self._context.ledger.get(self.id)

    def become(self, state: RunnerState) -> Runner:
        """Write down that it has come further, unless somebody has ended it meanwhile."""

        def decide(runner: Runner) -> Runner:
            ended = runner.state in (RunnerState.DESTROYING, RunnerState.GONE)
            return runner if ended else replace(runner, state=state)

        return self._context.change(self.id, decide, state.value)

    def close(self, reason: str) -> Runner:
        """Remove its registrations and write down why it has ended; what does not go is the reaper's.

        Returns:
            The runner: still DESTROYING where its forge believes that it has a job.
        Raises:
            MlopsError: If the forge or the ledger refuses.
        """
        return ending.go_on(self._context, ending.begin(self._context, self.id, reason))
