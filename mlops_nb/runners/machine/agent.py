"""`mlops-nb runner agent`: what a machine runs from its preparation to its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from mlops_nb.core.runners import Heartbeat, Orders
from mlops_nb.errors import MlopsError
from mlops_nb.runners.machine.account import become
from mlops_nb.runners.machine.enrolment import enrol
from mlops_nb.runners.machine.gpus import gpu_use
from mlops_nb.runners.machine.log import MachineLog
from mlops_nb.runners.machine.loop import Ended, MachineLoop
from mlops_nb.runners.machine.notices import notices_of
from mlops_nb.runners.machine.settings import ENV_SECRETS, read_settings, remove_secrets, write_settings
from mlops_nb.runners.machine.signals import told_by_signals
from mlops_nb.runners.machine.site import Site, work_at
from mlops_nb.runners.machine.switch import SwitchFiles, uptime
from mlops_nb.runners.machine.work import Work
from mlops_nb.store.runners import RunnerLedger


class LedgerServer:
    """A ledger as the server of one runner's machine."""

    def __init__(self, ledger: RunnerLedger, runner_id: str) -> None:
        self._ledger = ledger
        self._runner_id = runner_id

    def heartbeat(self, beat: Heartbeat) -> Orders:
        return self._ledger.heartbeat(self._runner_id, beat)

    def append_log(self, offset: int, text: str) -> int:
        return self._ledger.append_log(self._runner_id, offset, text)


def run_agent(path: Path, *, environment: Mapping[str, str] | None = None, make: Callable[[Site], Work] = work_at) -> Ended:
    """Read the settings, get the secret, and work until it is over.

    Args:
        path: Of the settings; secrets that were used are taken out of the file.

    Raises:
        MlopsError: If the machine could not begin; the console has said so as well.
    """
    environment = dict(os.environ if environment is None else environment)
    log = MachineLog(environment=environment)
    try:
        loop = _loop(path, environment, log, make)
    except MlopsError as error:
        log.write(f"This machine cannot begin: {error}")
        raise
    with told_by_signals(loop):
        return loop.run()


def _loop(path: Path, environment: dict[str, str], log: MachineLog, make: Callable[[Site], Work]) -> MachineLoop:
    settings = read_settings(path, environment)
    switch = SwitchFiles.of(environment, settings.switch)
    log.write(f"The agent of {settings.name} begins, {settings.max_seconds / 3600:.1f} h before its time limit.")
    enrolled = enrol(settings, log.write)
    settings = settings.without_secrets()
    write_settings(path, settings)
    remove_secrets(environment)
    folder = Path(settings.folder) if settings.folder else Path.cwd() / "runner"
    folder.mkdir(parents=True, exist_ok=True)
    user = settings.user
    if user and settings.agent.kind == "notebook":  # CI agents start their jobs as that user by themselves
        owned = [folder, *([Path(settings.switch)] if settings.switch else [])]
        environment |= become(user, owned)
        user = ""
    site = Site(
        runner_id=settings.runner_id,
        name=settings.name,
        agent=settings.agent,
        secret=enrolled.secret,
        store=enrolled.store,
        folder=folder,
        user=user,
        log=log.write,
        environment={name: value for name, value in environment.items() if name != ENV_SECRETS},
    )
    rented = bool(settings.switch)
    return MachineLoop(
        make(site),
        settings.guards,
        hard_stop=max(1.0, settings.max_seconds - (uptime() if rented else 0.0)),
        server=None if enrolled.store is None else LedgerServer(enrolled.store.runners, settings.runner_id),
        switch=switch,
        notices=notices_of(settings.cloud),
        gpu=gpu_use(),
        log=log,
    )
