"""Runners in Python: what `%runner` and `mlops-nb runner` do.

In a notebook the Jupyter server that started the kernel launches machines: closing the notebook changes nothing of them. Elsewhere,
as in CI, this process does the same itself.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mlops_nb.clouds.base import Finding
from mlops_nb.core.runners import AgentWish, MachineWish, Runner, RunnerEvent, RunnerRequest
from mlops_nb.errors import NotSupported
from mlops_nb.runners.base import Plan, Reaped
from mlops_nb.runners.estimating import Estimate
from mlops_nb.runners.requests import cloud_of, gpu_of, words_of
from mlops_nb.store.base import TrackingStore
from mlops_nb.store.rest import RestStore
from mlops_nb.store.runners import RunnerLedger
from mlops_nb.tracking import servers
from mlops_nb.tracking.target import connect, resolve

if TYPE_CHECKING:
    from mlops_nb.core.runners import CloudName
    from mlops_nb.runners.manager import Runners
    from mlops_nb.runners.served import ServedRunners

Tell = Callable[[str], None]
_POLL_SECONDS = 1.0


def _quiet(_: str) -> None:
    """Tell nobody."""


def plan(request: RunnerRequest) -> Plan:
    """Return what a launch would try, in which order, and what it would cost at most. Nothing is rented.

    Raises:
        InvalidInput: If the request contradicts itself.
        CloudError: If nothing fits, or the cloud does not answer.
    """
    return _runners(_quiet).plan(request)


def launch(
    request: RunnerRequest, *, wait: bool = True, tell: Tell = _quiet, mailbox: str = "", ssh_public_key: str = "", token: str | None = None
) -> Runner:
    """Launch a runner, and return when it is ready for work.

    Args:
        request: See `runners.requests.request_of`.
        wait: Until its agent has reported; else until the machine is there.
        tell: Is told what happens, a line at a time.
        mailbox: Where a machine that reaches no server fetches its secret: `s3://bucket/folder`.
        ssh_public_key: Opens SSH for this key.
        token: Of the forge, where the environment has none.

    Raises:
        MlopsError: If it came to nothing; then nothing of it is left.
    """
    from mlops_nb.runners.served import ServedRunners

    runners = _runners(tell, token=token)
    if isinstance(runners, ServedRunners):
        if mailbox or ssh_public_key:
            raise NotSupported("The server that launches here takes neither a mailbox nor an SSH key.", hint="Use: mlops-nb runner launch")
        return runners.launch(request, wait=wait)
    from mlops_nb.runners.opening import open_registrar
    from mlops_nb.runners.preparing import MachinePreparation

    preparation = MachinePreparation(
        runners.ledger, lambda url: open_registrar(url, runners.ledger, token=token), server=_server_url(), mailbox=mailbox
    )
    remark = preparation.check(request)
    found = runners.plan(request)
    tell(f"{request.name}: {found.offer}")
    if remark:
        tell(f"{request.name}: {remark}")
    asked = runners.request(found, user=getpass.getuser(), host=socket.gethostname())
    return runners.launch(asked, found, preparation, wait=wait, ssh_public_key=ssh_public_key)


def runners(*, everything: bool = False) -> Sequence[Runner]:
    """Return the runners that are alive, and with `everything` those that are gone, the newest first."""
    return _runners(_quiet).list(all=everything)


def ledger() -> RunnerLedger:
    """Return where runners are kept: with the runs of this project."""
    return _store().runners


def history(name: str) -> tuple[Runner, Sequence[RunnerEvent]]:
    """Return a runner and what happened to it, in order.

    Raises:
        NotFound: If there is none of this name or id.
    """
    kept = ledger()
    runner = kept.get(name)
    return runner, kept.events(runner.id)


def logs(name: str, *, follow: bool = False) -> Iterator[str]:
    """Iterate over what a machine has said, in pieces; with `follow` until it is gone."""
    found = _runners(_quiet)
    runner, at = found.ledger.get(name), 0
    while True:
        # Only who has the cloud's keys can read a console; a server's page of a log has its agent's words.
        page = found.logs(runner.id, after=at) if hasattr(found, "logs") else found.ledger.log(runner.id, after=at)
        if page.text:
            yield page.text
        if page.end > at and page.text:
            at = page.end
            continue
        runner = found.ledger.get(runner.id)
        if not follow or runner.state.is_over:
            return
        time.sleep(_POLL_SECONDS)


def stop(name: str) -> Runner:
    """Let a runner take no more work, finish its job, and end."""
    return _runners(_quiet).stop(name)


def down(name: str) -> Runner:
    """End a runner at once, and return when nothing of it is left."""
    return _runners(_quiet).down(name)


def extend(name: str, seconds: float, *, max_cost: float | None = None) -> Runner:
    """Let a runner live so many seconds longer; a cost limit holds unless a higher one (US dollars) is given."""
    return _runners(_quiet).extend(name, seconds, max_cost=max_cost)


def reap(
    *,
    clouds: Sequence[str] = (),
    regions: Sequence[str] = (),
    repositories: Sequence[str] = (),
    names: Sequence[str] = (),
    dry_run: bool = False,
) -> Reaped:
    """End what carries our installation's tag and is past its time, nothing else, and say what could not be seen.

    Args:
        clouds: Only these; else those that the ledger or the environment speak of.
        regions: Only these; else all that the accounts use.
        repositories: URLs of places at forges whose registrations are looked at, too.
        names: Runners of these names or ids go whether they are past their time or not, also where the ledger does not know them.
        dry_run: Only say what would go.
    """
    found = _runners(_quiet)
    done = found.reap(_clouds(clouds), regions=regions, repositories=repositories, names=names, dry_run=dry_run)
    if not dry_run:
        from mlops_nb.runners.jobs.changing import release_lost

        release_lost(found.ledger)
    return done


def doctor(*, clouds: Sequence[str] = (), repositories: Sequence[str] = ()) -> Sequence[Finding]:
    """Check credentials, permissions and limits of clouds, and whether they and the ledger agree on what there is."""
    return _runners(_quiet).doctor(_clouds(clouds), repositories=repositories)


def estimate(
    *, clouds: Sequence[str] = (), types: Sequence[str] = (), gpu: str = "", region: str = "", spot: bool | None = None
) -> Estimate:
    """Return machines with their list prices, the cheapest first, and which clouds could not be asked. `spot` None: both kinds."""
    from mlops_nb.runners.opening import estimate_offers

    kind, count = gpu_of(gpu) if gpu else ("", 0)
    wish = MachineWish(region=region, types=words_of(types), gpu=kind, gpus=count)
    wishes = [replace(wish, spot=one) for one in ((False, True) if spot is None else (spot,))]
    names: Sequence[CloudName] = [cloud_of(word)[0] for word in clouds] or ["aws", "gcp", "azure"]
    return estimate_offers(wishes, names)


def ci_agent(agent: AgentWish, *, repo: str | None = None, driver: str | None = None) -> AgentWish:
    """Return the wish for the CI agent of the repository that is named, or that the CI or git here say.

    Raises:
        InvalidInput: If no repository can be told.
    """
    from mlops_nb.forges.runners import place_of

    place = place_of(repo, os.environ, Path.cwd(), driver=driver)
    return replace(agent, kind=place.kind, repository=place.url)


def _clouds(words: Sequence[str]) -> list[CloudName] | None:
    from mlops_nb.runners.opening import clouds_set_up

    if words:
        return [cloud_of(word)[0] for word in words]
    return clouds_set_up() or None


def _store() -> TrackingStore:
    from mlops_nb.runners.opening import name_installation

    store = connect(resolve())
    assert store is not None  # it is made where there is none
    if not isinstance(store, RestStore):
        name_installation(os.environ)
    return store


def _server_url() -> str:
    """Return where machines find the server that has this store; "" where there is none."""
    store = _store()
    return store.base_url if isinstance(store, RestStore) else ""


def _runners(tell: Tell, *, token: str | None = None) -> Runners | ServedRunners:
    """Return who launches and ends machines here: the server that started this kernel, else this process."""
    from mlops_nb.runners.opening import open_runners
    from mlops_nb.runners.served import ServedRunners

    store = _store()
    if isinstance(store, RestStore) and servers.starter_of_this_kernel() is not None:
        return ServedRunners(store.runners, tell=tell)
    return open_runners(store.runners, server=_server_url(), tell=tell, token=token)
