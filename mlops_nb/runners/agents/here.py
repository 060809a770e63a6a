"""A runner in the foreground of this machine: the same loop as on a rented one, which ends with the terminal that it runs in.

The agent is registered with our token and runs without it; the ledger knows it like any other runner, so that `runner list` shows
it, `runner stop` and `down` reach it, and the reaper removes its registration if this process is killed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from mlops_nb.core.runners import RunnerRequest, RunnerState
from mlops_nb.errors import MlopsError
from mlops_nb.runners.agents.enrolment import Enrolment
from mlops_nb.runners.agents.keeper import OwnKeeper
from mlops_nb.runners.agents.registrar import ForgeRegistrar
from mlops_nb.runners.agents.work import agent_of
from mlops_nb.runners.foreground import OwnRunner
from mlops_nb.runners.machine.agent import LedgerServer
from mlops_nb.runners.machine.gpus import gpu_use
from mlops_nb.runners.machine.heartbeats import BEAT_SECONDS
from mlops_nb.runners.machine.log import MachineLog
from mlops_nb.runners.machine.loop import Ended, MachineLoop
from mlops_nb.runners.machine.signals import told_by_signals
from mlops_nb.store.runners import RunnerLedger


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
    own = OwnRunner(ledger, request, user=user, host=host, registrar=lambda place: registrar)
    reason = "it did not begin"
    try:
        enrolment = Enrolment.decode(registrar.enrol(own.get(), own.note))
        own.become(RunnerState.BOOTING)
        log.write(f"{request.name} is registered at {registrar.place.url} with the labels {', '.join(request.agent.labels)}.")
        work = agent_of(
            enrolment,
            keeper=OwnKeeper(registrar, own.get, own.note),
            folder=folder / own.id[:12],
            environment=environment,
            tell=log.write,
            pause=pause,
        )
        seconds = own.get().hard_stop - time.time()
        loop = MachineLoop(work, request.guards, hard_stop=seconds, server=LedgerServer(ledger, own.id), gpu=gpu_use(), log=log, beat=beat)
        with told_by_signals(loop):
            ended = loop.run()
        reason = ended.reason
        return ended
    except MlopsError as error:
        reason = str(error)
        raise
    finally:
        _leave(own, log, reason)


def _leave(own: OwnRunner, log: MachineLog, reason: str) -> None:
    """Remove what is left at the forge, and close the runner; what stays is the reaper's."""
    try:
        runner = own.close(reason)
    except MlopsError as error:
        log.write(f"The registration could not be removed: {error}")
        return
    if not runner.state.is_over:
        log.write("The forge still believes that the runner has a job. Its registration is removed by: mlops-nb runner reap")
