"""Google Cloud's Compute Engine as a `Cloud`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mlops_nb.clouds.base import Finding, Found, Machine, MachineOrder, Note
from mlops_nb.clouds.gcp.rest import Compute, GoogleIdentity, Identity
from mlops_nb.core.runners import CloudName, MachineWish, Offer, Resource

_CONSOLE_BYTES = 64 << 10


class GcpCloud:
    """One project of Google Cloud.

    A machine is an instance with `maxRunDuration` and the termination action DELETE, so that Google ends it whatever becomes
    of us; its disk goes with it. A firewall rule of its own, with its network tag, lets nothing in.

    Args:
        project: Empty: as the environment says (GOOGLE_CLOUD_PROJECT), or the credentials do.
        endpoint: Empty: CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE, or Google's own.
        identity: None: of the environment.
        pause: Seconds before the first repetition of a call, and between two looks at an operation.
    """

    name: CloudName = "gcp"

    def __init__(self, *, project: str = "", endpoint: str = "", identity: Identity | None = None, pause: float = 1.0) -> None:
        self._compute = Compute(identity or GoogleIdentity(), project=project, endpoint=endpoint, pause=pause)

    def check(self) -> Sequence[Finding]:
        from mlops_nb.clouds.gcp.checking import check

        return check(self._compute)

    def offers(self, wish: MachineWish) -> Sequence[Offer]:
        from mlops_nb.clouds.gcp.offers import offers

        return offers(self._compute, wish)

    def create(self, order: MachineOrder, offer: Offer, note: Note) -> Machine:
        from mlops_nb.clouds.gcp.creating import create
        from mlops_nb.core.runners import TAG_INSTALLATION

        installation = order.tags.get(TAG_INSTALLATION, "")
        return create(self._compute, order, offer, note, lambda made: self.destroy(made, installation))

    def describe(self, machine: Resource) -> Machine:
        from mlops_nb.clouds.gcp.machines import how_it_ended, looked_for

        if found := looked_for(self._compute, machine):
            return found
        return Machine(resource=machine, phase="gone", reason=how_it_ended(self._compute, machine))

    def console(self, machine: Resource) -> str:
        from mlops_nb.clouds.gcp.errors import NotThere
        from mlops_nb.clouds.gcp.machines import looked_for

        try:
            found = looked_for(self._compute, machine)
            if found is None:
                return ""
            path = f"{found.resource.id}/serialPort"
            answer = self._compute.call("GET", path, "Reading what the machine has printed", port=1, start=-_CONSOLE_BYTES)
        except NotThere:
            return ""
        return str(answer.get("contents") or "")[-_CONSOLE_BYTES:]

    def find(self, installation: str, *, regions: Collection[str] = ()) -> Found:
        from mlops_nb.clouds.gcp.leftovers import find

        return find(self._compute, installation, regions)

    def destroy(self, resources: Sequence[Resource], installation: str) -> Sequence[Resource]:
        from mlops_nb.clouds.gcp.leftovers import destroy

        return destroy(self._compute, resources, installation)
