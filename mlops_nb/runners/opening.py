"""The clouds and forges that runners use here, opened when they are needed."""

from __future__ import annotations

import hashlib
import importlib
import os
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, cast

from mlops_nb.clouds.base import Cloud, WishRefused
from mlops_nb.clouds.listing import PRICES_OF, listed_offers
from mlops_nb.core.runners import CloudName, MachineWish, Offer, RunnerState
from mlops_nb.errors import MissingDependencyError, MlopsError
from mlops_nb.runners.estimating import Estimate
from mlops_nb.store.runners import ENV_INSTALLATION

if TYPE_CHECKING:
    from mlops_nb.core.runners import Runner
    from mlops_nb.runners.agents.keeper import Keeper
    from mlops_nb.runners.agents.registrar import ForgeRegistrar
    from mlops_nb.runners.manager import Runners
    from mlops_nb.runners.preparing import MachinePreparation
    from mlops_nb.store.runners import RunnerLedger

_CLOUDS: Mapping[CloudName, tuple[str, str, str]] = {
    "aws": ("mlops_nb.clouds.aws.cloud", "AwsCloud", "aws"),
    "gcp": ("mlops_nb.clouds.gcp.cloud", "GcpCloud", "gcp"),
    "azure": ("mlops_nb.clouds.azure.cloud", "AzureCloud", "azure-machines"),
    "kubernetes": ("mlops_nb.clouds.kubernetes.cloud", "KubernetesCloud", "kubernetes"),
    "ssh": ("mlops_nb.clouds.ssh", "SshCloud", ""),
    "local": ("mlops_nb.clouds.local", "LocalCloud", ""),
}
_CREDENTIALS: Mapping[CloudName, tuple[str, ...]] = {
    "aws": ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_SHARED_CREDENTIALS_FILE"),
    "gcp": ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS_DATA", "CML_GCP_ACCESS_TOKEN", "GOOGLE_CLOUD_PROJECT"),
    "azure": ("AZURE_CLIENT_ID", "AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID"),
    "kubernetes": ("KUBERNETES_CONFIGURATION", "KUBECONFIG", "KUBERNETES_SERVICE_HOST"),
}


def open_cloud(name: CloudName, *, server: str = "") -> Cloud:
    """Return the account of a provider, by the credentials of this environment.

    Args:
        server: Of ours; hosts behind SSH get a tunnel to it where it is on the loopback.

    Raises:
        MissingDependencyError: If its library is not installed.
        CloudError: If there are no credentials.
    """
    module, attribute, extra = _CLOUDS[name]
    try:
        made = cast("Callable[..., Cloud]", getattr(importlib.import_module(module), attribute))
        return made(server=server) if name == "ssh" else made()
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("mlops_nb"):
            raise
        raise MissingDependencyError(error.name or name, extra=extra, purpose=f"A runner on {name}") from None


def open_registrar(url: str, ledger: RunnerLedger | None = None, *, token: str | None = None) -> ForgeRegistrar:
    """Return the registrations of the place at a forge that a URL names, by the token of this environment.

    Args:
        ledger: Knows the kind of forge of its runners' places, which the name of a server of one's own does not tell.
        token: Where the environment has none.
    """
    from mlops_nb.runners.agents.registrar import registrar_of

    known = [] if ledger is None else ledger.list(states=tuple(RunnerState))
    kinds = (runner.request.agent.kind for runner in known if runner.request.agent.repository == url)
    return registrar_of(url, driver=next(kinds, None), token=token)


class OpenParts:
    """The clouds and forges of this process's environment, for a server that hosts runners. See `hosting.Parts`.

    Args:
        server: Returns where machines find the server.
        ledger: Returns the ledger of the server.
    """

    def __init__(self, server: Callable[[], str], ledger: Callable[[], RunnerLedger]) -> None:
        self._server = server
        self._ledger = ledger

    def cloud(self, name: CloudName) -> Cloud:
        return open_cloud(name, server=self._server())

    def registrar(self, url: str) -> ForgeRegistrar:
        return open_registrar(url, self._ledger())

    def preparation(self, ledger: RunnerLedger, runner: Runner) -> MachinePreparation:
        from mlops_nb.runners.preparing import MachinePreparation

        return MachinePreparation(ledger, lambda url: open_registrar(url, ledger), server=self._server())

    def keeper(self, ledger: RunnerLedger, runner: Runner) -> Keeper:
        from mlops_nb.runners.agents.keeper import OwnKeeper
        from mlops_nb.runners.context import note_in

        registrar = open_registrar(runner.request.agent.repository, ledger)
        return OwnKeeper(registrar, lambda: ledger.get(runner.id), note_in(ledger, time.time, runner.id))


def open_runners(
    ledger: RunnerLedger,
    *,
    server: str = "",
    tell: Callable[[str], None] = lambda line: None,
    token: str | None = None,
) -> Runners:
    """Return the runners of a ledger, with all clouds and forges.

    Args:
        server: Where the ledger's server is, if it has one.
        token: Of the forge, where the environment has none.
    """
    from mlops_nb.runners.manager import Runners

    def registrar(url: str) -> ForgeRegistrar:
        return open_registrar(url, ledger, token=token)

    return Runners(ledger, lambda name: open_cloud(name, server=server), registrar, tell=tell)


def estimate_offers(wishes: Sequence[MachineWish], clouds: Sequence[CloudName]) -> Estimate:
    """Return what the clouds have for wishes; a cloud that cannot be asked is named, and hides nothing of the others."""
    offers: list[Offer] = []
    unseen: dict[str, str] = {}
    for name in clouds:
        try:
            cloud = open_cloud(name)
            found: list[Offer] = []
            refusals: list[str] = []
            for wish in wishes:
                try:
                    found += cloud.offers(wish)
                except WishRefused as error:
                    refusals.append(str(error))
            offers += found
            if refusals and not found:  # who has no spot machines may have others
                unseen[name] = refusals[0]
        except MlopsError as error:
            unseen[name] = f"{error.message.rstrip('.')}. Its prices are from our table of {PRICES_OF}, and say nothing about capacity."
            offers += [offer for wish in wishes for offer in listed_offers(name, wish)]
    return Estimate(offers=sorted(offers, key=lambda offer: (offer.hourly is None, offer.hourly or 0.0)), unseen=unseen)


def name_installation(environment: MutableMapping[str, str]) -> None:
    """Name the installation after the repository where a CI runs us: the store of its job ends with the job.

    What carries the id is found by every later job of the repository, such as a scheduled `mlops-nb runner reap`. A name that
    is given already stays.
    """
    from mlops_nb.forges.context import of_ci

    run = None if environment.get(ENV_INSTALLATION) else of_ci(environment)
    if run is not None and run.ci and run.repository:
        place = f"{(run.server_url or run.ci).rstrip('/')}/{run.repository}".lower()
        environment[ENV_INSTALLATION] = hashlib.sha256(place.encode()).hexdigest()[:32]


def clouds_set_up(environment: Mapping[str, str] | None = None) -> list[CloudName]:
    """Return the clouds for which the environment, or the user's own files, seem to have credentials."""
    environment = os.environ if environment is None else environment
    home = environment.get("HOME", "")
    files: Mapping[CloudName, str] = {"aws": ".aws/credentials", "gcp": ".config/gcloud/application_default_credentials.json"}
    return [
        name
        for name, variables in _CREDENTIALS.items()
        if any(environment.get(variable) for variable in variables) or (name in files and home and os.path.isfile(f"{home}/{files[name]}"))  # noqa: PTH113
    ]
