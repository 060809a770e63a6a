"""Azure as a `Cloud`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from mlops_nb.clouds.azure.arm import Arm
from mlops_nb.clouds.base import Finding, Found, Machine, MachineOrder, Note
from mlops_nb.core.runners import TAG_INSTALLATION, CloudName, MachineWish, Offer, Resource

_CONSOLE_BYTES = 64 << 10


class AzureCloud:
    """One subscription of Azure.

    A runner is a resource group of its own, which goes as a whole. Its network lets nothing in. Azure bills a machine that has
    switched itself off until it is deallocated: a schedule of Azure's deallocates it at its hard stop, for lives of at most 23
    hours; the server, or the reaper, removes it before.

    Args:
        subscription: Empty: AZURE_SUBSCRIPTION_ID, or the one that `az` uses.
        endpoint, verify: Another Resource Manager, and the certificate that it is known by.
        credential: None: of the environment, by azure-identity.
        prices: Address of the price service; "": Microsoft's own.
        pause: Seconds before the first repetition of a call, and between two looks at an operation.
    """

    name: CloudName = "azure"

    def __init__(
        self,
        *,
        subscription: str = "",
        endpoint: str = "",
        credential: Any = None,
        verify: str = "",
        prices: str = "",
        pause: float = 2.0,
    ) -> None:
        self._arm = Arm(subscription=subscription, endpoint=endpoint, credential=credential, verify=verify, pause=pause)
        self._prices = prices

    def check(self) -> Sequence[Finding]:
        from mlops_nb.clouds.azure.checking import check

        return check(self._arm)

    def offers(self, wish: MachineWish) -> Sequence[Offer]:
        from mlops_nb.clouds.azure.offers import offers

        return offers(self._arm, wish, prices=self._prices)

    def create(self, order: MachineOrder, offer: Offer, note: Note) -> Machine:
        from mlops_nb.clouds.azure.creating import create

        installation = order.tags.get(TAG_INSTALLATION, "")
        return create(self._arm, order, offer, note, lambda made: self.destroy(made, installation))

    def describe(self, machine: Resource) -> Machine:
        from mlops_nb.clouds.azure.errors import NotThere
        from mlops_nb.clouds.azure.machines import group_of, machine_of

        group, name = group_of(machine.id), machine.id.rpartition("/")[2]
        try:
            vms = self._arm.compute.virtual_machines
            return machine_of(self._arm.ask("Looking at the machine", lambda: vms.get(group, name, expand="instanceView")))
        except NotThere:
            return Machine(resource=machine, phase="gone")

    def console(self, machine: Resource) -> str:
        from mlops_nb.clouds.azure.console import console

        return console(self._arm, machine, _CONSOLE_BYTES)

    def find(self, installation: str, *, regions: Collection[str] = ()) -> Found:
        from mlops_nb.clouds.azure.leftovers import find

        return find(self._arm, installation, regions)

    def destroy(self, resources: Sequence[Resource], installation: str) -> Sequence[Resource]:
        from mlops_nb.clouds.azure.leftovers import destroy

        return destroy(self._arm, resources, installation)
