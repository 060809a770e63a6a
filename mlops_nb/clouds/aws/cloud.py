"""Amazon EC2 as a `Cloud`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from mlops_nb.clouds.aws import checking, finding, offers, tags
from mlops_nb.clouds.aws.account import Account
from mlops_nb.clouds.aws.creating import Creating
from mlops_nb.clouds.aws.destroying import Destroying
from mlops_nb.clouds.aws.errors import GONE
from mlops_nb.clouds.base import CloudError, Finding, Found, Machine, MachineOrder, Note
from mlops_nb.core.runners import CloudName, MachineWish, Offer, Resource

CONSOLE_BYTES = 65_536
FRESH_SECONDS = 60.0


class AwsCloud:
    """One account of AWS. Machines are EC2's, started from a pinned image, in a group that lets nothing in, on an encrypted disk.

    Args:
        environment: AWS's variables; None: those of the process, with profiles, SSO, OIDC and roles as boto3 finds them.
        settle: Seconds for which AWS may not show what it has made.
        attempts, connect_timeout, read_timeout, sleep: As `Account`.
    """

    name: CloudName = "aws"

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        settle: float = 5.0,
        attempts: int = 5,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account = Account(environment, attempts=attempts, connect_timeout=connect_timeout, read_timeout=read_timeout, sleep=sleep)
        self._destroying = Destroying(self._account, settle=settle)

    def check(self) -> Sequence[Finding]:
        return checking.check(self._account)

    def offers(self, wish: MachineWish) -> Sequence[Offer]:
        return offers.offers(self._account, wish)

    def create(self, order: MachineOrder, offer: Offer, note: Note) -> Machine:
        return Creating(self._account, self._destroying, order, offer, note).machine()

    def describe(self, machine: Resource) -> Machine:
        filters = (
            [{"Name": "instance-id", "Values": [machine.id]}] if machine.id else tags.of_runner(machine.installation, machine.runner_id)
        )
        found = tags.instances(list(self._account.pages("ec2", machine.region, "describe_instances", "Reservations", Filters=filters)))
        seen = [tags.machine_of(instance, machine.region) for instance in found]
        if seen:
            return min(seen, key=lambda each: each.phase == "gone")
        fresh = machine.created is not None and time.time() - machine.created < FRESH_SECONDS
        # AWS does not show everywhere at once what it has made.
        return Machine(resource=machine, phase="unknown" if fresh else "gone", reason="" if fresh else "AWS does not know it")

    def console(self, machine: Resource) -> str:
        if not machine.id:
            return ""
        try:
            answer = self._account.call("ec2", machine.region, "get_console_output", InstanceId=machine.id, Latest=True)
        except CloudError as error:
            if GONE.match(error.provider_code):
                return ""
            if error.provider_code != "UnsupportedOperation":
                raise
            # Machines without Nitro have only what they printed at boot.
            answer = self._account.call("ec2", machine.region, "get_console_output", InstanceId=machine.id)
        text = str(answer.get("Output") or "").encode("utf-8", "replace")
        return text[-CONSOLE_BYTES:].decode("utf-8", "ignore")

    def find(self, installation: str, *, regions: Collection[str] = ()) -> Found:
        return finding.find(self._account, installation, regions)

    def destroy(self, resources: Sequence[Resource], installation: str) -> Sequence[Resource]:
        return self._destroying.all(resources, installation)
