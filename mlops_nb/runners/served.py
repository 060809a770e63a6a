"""The runners of a server that launches them itself: what becomes of who asks changes nothing of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from mlops_nb.clouds.base import Finding
from mlops_nb.core import runner_wire as wire
from mlops_nb.core.runners import CloudName, Runner, RunnerRequest, RunnerState
from mlops_nb.errors import MlopsError
from mlops_nb.runners.base import Plan, Reaped
from mlops_nb.store.rest_runners import RestRunners

_POLL_SECONDS = 1.0
_INNER = ("requested", "hosted", "resource")
"""Kinds of events that say what the ledger needs to know, and people do not."""
_UNDER_WAY = (RunnerState.REQUESTED, RunnerState.CREATING, RunnerState.BOOTING)


class ServedRunners:
    """What `manager.Runners` does, done by a server.

    Args:
        ledger: Of the server.
        tell: Is told what happens while something is waited for, a line at a time.
    """

    def __init__(self, ledger: RestRunners, *, tell: Callable[[str], None] = lambda line: None) -> None:
        self.ledger = ledger
        self.tell = tell

    def plan(self, request: RunnerRequest) -> Plan:
        """Return what a launch would do and cost."""
        answer = self.ledger.ask(wire.PlanAnswer, "POST", "/runners/-/plan", body=wire.PlanRequest(request=request))
        return Plan(request=request, offers=answer.offers, seconds=answer.seconds, hard_stop=answer.hard_stop, most=answer.most)

    def launch(self, request: RunnerRequest, *, wait: bool = True) -> Runner:
        """Launch a runner, and return when it is ready for work. To leave the wait changes nothing of the launch.

        Raises:
            MlopsError: If it came to nothing; the reason is the server's.
        """
        runner = self.ledger.ask(wire.RunnerAnswer, "POST", "/runners/-/launch", body=wire.PlanRequest(request=request)).runner
        told = 0
        while wait and runner.state in _UNDER_WAY:
            time.sleep(_POLL_SECONDS)
            events = self.ledger.events(runner.id)
            for event in events[told:]:
                if event.kind not in _INNER:
                    self.tell(f"{runner.name}: {event.text or event.kind}")
            told = len(events)
            runner = self.ledger.get(runner.id)
        if runner.state in (RunnerState.GONE, RunnerState.DESTROYING) and runner.ready is None:
            raise MlopsError(
                f"{runner.name} was not launched: {runner.reason or 'it was ended'}", hint=f"See: %runner show {runner.id[:8]}"
            )
        return runner

    def list(self, *, all: bool = False) -> Sequence[Runner]:
        """Return runners, the newest first."""
        states = tuple(RunnerState) if all else [state for state in RunnerState if not state.is_over]
        return self.ledger.list(states=states)

    def stop(self, runner: str) -> Runner:
        """Let a runner end after its present job."""
        return self._act(runner, "stop", wire.ActRequest())

    def down(self, runner: str, *, reason: str = "") -> Runner:
        """End a runner now, and return when nothing of it is left."""
        found = self._act(runner, "down", wire.DownRequest(reason=reason))
        while not found.state.is_over:
            time.sleep(_POLL_SECONDS)
            found = self.ledger.get(found.id)
        return found

    def extend(self, runner: str, seconds: float, *, max_cost: float | None = None) -> Runner:
        """Move a runner's latest end."""
        return self._act(runner, "extend", wire.ExtendRequest(seconds=seconds, max_cost=max_cost))

    def reap(
        self,
        clouds: Collection[CloudName] | None = None,
        *,
        regions: Collection[str] = (),
        repositories: Collection[str] = (),
        names: Collection[str] = (),
        dry_run: bool = False,
    ) -> Reaped:
        """End what is ours and past its time."""
        body = wire.ReapRequest(
            clouds=None if clouds is None else list(clouds),
            regions=list(regions),
            repositories=list(repositories),
            names=list(names),
            dry_run=dry_run,
        )
        found = self.ledger.ask(wire.ReapAnswer, "POST", "/runners/-/reap", body=body)
        return Reaped(
            destroyed=found.destroyed,
            left=found.left,
            unseen=found.unseen,
            kept=found.kept,
            ended=found.ended,
            skew=found.skew,
            dry_run=found.dry_run,
        )

    def doctor(self, clouds: Collection[CloudName] | None = None, *, repositories: Collection[str] = ()) -> Sequence[Finding]:
        """Check credentials, permissions and limits."""
        body = wire.DoctorRequest(clouds=None if clouds is None else list(clouds), repositories=list(repositories))
        found = self.ledger.ask(wire.DoctorAnswer, "POST", "/runners/-/doctor", body=body).findings
        return [Finding(what=one.what, ok=one.ok, text=one.text, hint=one.hint) for one in found]

    def _act(self, runner: str, verb: str, body: object) -> Runner:
        runner_id = self.ledger.get(runner).id
        return self.ledger.ask(wire.RunnerAnswer, "POST", f"/runners/{runner_id}/{verb}", body=body).runner
