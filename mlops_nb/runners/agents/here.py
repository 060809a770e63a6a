"""A runner in the foreground of this machine: the same loop as on a rented one, which ends with the terminal that it runs in.

The agent is registered with our token and runs without it; the ledger knows it like any other runner, so that `runner list` shows
it, `runner stop` and `down` reach it, and the reaper removes its registration if this process is killed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec.structs import replace

from mlops_nb.core.runners import Resource, Runner, RunnerEvent, RunnerRequest, RunnerState
from mlops_nb.errors import Conflict, MlopsError
from mlops_nb.runners.agents.enrolment import Enrolment
from mlops_nb.runners.agents.keeper import OwnKeeper
from mlops_nb.runners.agents.registrar import ForgeRegistrar
from mlops_nb.runners.agents.work import agent_of
from mlops_nb.runners.context import with_resource
from mlops_nb.runners.machine.agent import LedgerServer
from mlops_nb.runners.machine.gpus import gpu_use
from mlops_nb.runners.machine.heartbeats import BEAT_SECONDS
from mlops_nb.runners.machine.log import MachineLog
from mlops_nb.runners.machine.loop import Ended, MachineLoop
from mlops_nb.runners.machine.signals import told_by_signals
from mlops_nb.store.runners import RunnerLedger

_MOST_RACES = 20


class _Kept:
    """One runner in the ledger, changed while its own heartbeats and other people change it, too."""

    def __init__(self, ledger: RunnerLedger, id: str) -> None:
        self._ledger, self._id = ledger, id

    def get(self) -> Runner:
        return self._ledger.get(self._id)

    def change(self, decide: Callable[[Runner], Runner], kind: str, text: str = "") -> Runner:
        for _ in range(_MOST_RACES):
            runner = self.get()
            changed = decide(runner)
            if changed is runner:
                return runner
            now = time.time()
            try:
                return self._ledger.save(replace(changed, updated=now), RunnerEvent(time=now, kind=kind, text=text))
            except Conflict:
                continue
        raise Conflict(f"The runner {self._id[:8]} is being changed by others all the time.", hint="Try again.")

    def note(self, resource: Resource) -> None:
        """Write a registration down, before it is made and when its id is known."""

        def noted(runner: Runner) -> Runner:
            kept = replace(runner, resources=with_resource(runner.resources, resource))
            return replace(kept, registration=resource.id) if resource.id else kept

        self.change(noted, "registering", f"{resource.id or 'a registration'} at {resource.region}")

    def forget(self, left: list[Resource]) -> None:
        self.change(lambda runner: replace(runner, resources=tuple(left)), "unregistered")

    def become(self, state: RunnerState, reason: str = "", **more: object) -> None:
        def moved(runner: Runner) -> Runner:
            if runner.state.is_over or runner.state is state:
                return runner
            return replace(runner, state=state, reason=reason or runner.reason, **more)

        self.change(moved, state.value, reason)


def run_here(
    request: RunnerRequest,
    registrar: ForgeRegistrar,
    ledger: RunnerLedger,
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: MachineLog | None = None,
    user: str = "",
    host: str = "",
    beat: float = BEAT_SECONDS,
    pause: float = 5.0,
) -> Ended:
    """Register an agent, keep it on this machine until it is idle, done or told to end, and remove what is left of it.

    Signals end it in order while this is the main thread: Ctrl+C after the job, twice or SIGTERM at once.

    Args:
        environment: Of which the agent and its jobs get the harmless part.
        folder: Where it works; it is emptied at the end, but for the agent's program.
        user, host: Who launched it, and from where, for the ledger.
        beat: Seconds between two signs of life in the ledger.
        pause: Seconds between two tries of what failed.

    Raises:
        MlopsError: If it cannot be registered, or its program cannot be had; then nothing of it is left.
    """
    log = log or MachineLog(environment=environment)
    now = time.time()
    hard_stop = now + request.guards.seconds(0.0)
    asked = Runner(
        id=uuid.uuid4().hex,
        installation=ledger.installation(),
        request=request,
        created=now,
        updated=now,
        hard_stop=hard_stop,
        user=user,
        host=host,
    )
    kept = _Kept(ledger, ledger.add(asked, RunnerEvent(time=now, kind="requested")).id)
    reason = "it did not begin"
    try:
        kept.become(RunnerState.CREATING)
        enrolment = Enrolment.decode(registrar.enrol(kept.get(), kept.note))
        kept.become(RunnerState.BOOTING)
        log.write(f"{request.name} is registered at {registrar.place.url} with the labels {', '.join(request.agent.labels)}.")
        work = agent_of(
            enrolment,
            keeper=OwnKeeper(registrar, kept.get, kept.note),
            folder=folder / asked.id[:12],
            environment=environment,
            tell=log.write,
            pause=pause,
        )
        server = LedgerServer(ledger, asked.id)
        loop = MachineLoop(work, request.guards, hard_stop=hard_stop - time.time(), server=server, gpu=gpu_use(), log=log, beat=beat)
        with told_by_signals(loop):
            ended = loop.run()
        reason = ended.reason
        return ended
    except MlopsError as error:
        reason = str(error)
        raise
    finally:
        _leave(kept, registrar, log, reason)


def _leave(kept: _Kept, registrar: ForgeRegistrar, log: MachineLog, reason: str) -> None:
    """Remove what is left at the forge, and close the runner; what stays is the reaper's."""
    kept.become(RunnerState.DESTROYING, reason)
    runner = kept.get()
    ours = [one for one in runner.resources if one.kind == "registration"]
    try:
        left = list(registrar.destroy(ours, runner.installation))
    except MlopsError as error:
        log.write(f"The registration could not be removed: {error} It is removed by: mlops-nb runner reap")
        return
    kept.forget(left)
    if left:
        log.write("The forge still believes that the runner has a job. Its registration is removed by: mlops-nb runner reap")
        return
    kept.become(RunnerState.GONE, reason, ended=time.time())
