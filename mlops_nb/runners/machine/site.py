"""Where work happens: what the makers of `Work` are given, and which of them is asked."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from mlops_nb.core.records import Record
from mlops_nb.core.runners import AgentWish
from mlops_nb.errors import NotSupported
from mlops_nb.runners.machine.work import Work
from mlops_nb.store.rest import RestStore


class Site(Record, frozen=True, kw_only=True):
    """The machine, as its work sees it.

    Attributes:
        runner_id, name, agent: Of the runner.
        secret: What the work begins with; it is nowhere else any more.
        store: The server, with the agent's token: `store.runners` is the ledger as far as it is this runner's. None: no server.
        folder: Of the work's own; it may fill it.
        user: Whose account executes jobs; "": the agent's own.
        log: Takes a line for people; the server gets it, too.
        environment: Of the agent. Jobs must not inherit secrets from it.
    """

    runner_id: str
    name: str
    agent: AgentWish
    secret: bytes
    store: RestStore | None
    folder: Path
    user: str
    log: Callable[[str], None]
    environment: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Site(runner_id={self.runner_id!r}, name={self.name!r}, …)"


_MAKERS = {"notebook": "mlops_nb.runners.jobs.work", "": "mlops_nb.runners.agents.work"}


def work_at(site: Site) -> Work:
    """Return the work that the runner was launched for: the `work_at(site)` of the package that does it.

    Raises:
        NotSupported: If this installation has no such work.
    """
    module = _MAKERS.get(site.agent.kind, _MAKERS[""])
    try:
        make = cast("Callable[[Site], Work]", importlib.import_module(module).work_at)
    except (ModuleNotFoundError, AttributeError):
        raise NotSupported(
            f"This mlops_nb cannot work as a {site.agent.kind} runner.", hint="Launch it with the version that the machine installs."
        ) from None
    return make(site)
