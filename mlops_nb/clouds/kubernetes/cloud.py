"""Runners as Jobs of a Kubernetes cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from mlops_nb.clouds.base import CloudError, Finding, Found, Machine, MachineOrder, NoCapacity, Note, PermissionMissing, WishRefused
from mlops_nb.clouds.kubernetes import manifests, reading, wishes
from mlops_nb.clouds.kubernetes.api import Api, refusal
from mlops_nb.clouds.kubernetes.checking import findings
from mlops_nb.core.runners import TAG_INSTALLATION, TAG_RUNNER, CloudName, MachineWish, Offer, Resource, ResourceKind

if TYPE_CHECKING:
    from lightkube import KubeConfig

CONSOLE_BYTES = 65_536
_EVERYWHERE = "*"


class KubernetesCloud:
    """The namespaces of one cluster that one user reaches.

    Args:
        configuration: See `api.load_configuration`; None: as found.
        patience: Seconds that a pod may wait for a node before that counts as no capacity, if no node is being added.
        api: The calls; None: those of the configuration.
        sleep: Waits between two looks (s).
    """

    name: CloudName = "kubernetes"

    def __init__(
        self,
        configuration: KubeConfig | None = None,
        *,
        patience: float = 30.0,
        api: Api | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = api or Api(configuration)
        self._patience = patience
        self._sleep = sleep

    def check(self) -> Sequence[Finding]:
        """See `Cloud.check`."""
        return findings(self._api)

    def offers(self, wish: MachineWish) -> Sequence[Offer]:
        """See `Cloud.offers`; the price of a cluster is not known."""
        return wishes.offers(wish, self._api.namespace, self._nodes())

    def create(self, order: MachineOrder, offer: Offer, note: Note) -> Machine:
        """See `Cloud.create`. A pod that no node takes, or that a quota keeps out, is a refusal here."""
        from lightkube.resources.batch_v1 import Job
        from lightkube.resources.core_v1 import Secret

        for wish, flag in ((order.security_group, "security group"), (order.subnet, "subnet"), (order.ssh_public_key, "SSH")):
            if wish:
                raise WishRefused(f"A pod has no {flag}.", hint="Leave it out; to look into a pod: kubectl exec -it")
        namespace = order.namespace or offer.region or self._api.namespace
        manifest = manifests.job(order, offer, namespace, wishes.selector(offer, order.node_selector, self._nodes()))
        planned = Resource(kind="job", id=manifests.job_name(order.token), region=namespace, tags=dict(order.tags))
        note(planned)
        job = self._api.create(Job, manifest)
        if (job.metadata.labels or {}).get(TAG_RUNNER) != order.tags.get(TAG_RUNNER):
            raise WishRefused(f"There is another Job named {planned.id} in {namespace}.", hint="Launch it anew.")
        made = reading.resource(job, "job")
        try:
            if reading.is_over(job):
                return reading.machine(job, None, ())
            note(Resource(kind="secret", id=planned.id, region=namespace, tags=dict(order.tags)))
            self._api.create(Secret, manifests.secret(order, namespace, job.metadata.uid))
            self._wait_for_a_node(made)
        except CloudError:
            self._remove_quietly(made)
            raise
        return self.describe(made)

    def describe(self, machine: Resource) -> Machine:
        """See `Cloud.describe`."""
        job = self._job(machine)
        if job is None:
            return Machine(resource=machine, phase="gone", reason="there is no such Job")
        pod = self._pod(machine)
        events = () if reading.is_scheduled(pod) and pod is not None and pod.status.phase == "Running" else self._events(machine, pod) or ()
        return reading.machine(job, pod, events)

    def console(self, machine: Resource) -> str:
        """See `Cloud.console`; where the pod has printed nothing, what happened to it."""
        pod = self._pod(machine)
        text = ""
        if pod is not None:
            for container in ("prepare", manifests.CONTAINER):
                try:
                    text += self._api.log(pod.metadata.name, machine.region, container)
                except WishRefused:  # it has not begun: the cluster answers 400
                    continue
        if not text:
            text = "".join(f"{event.reason}: {event.message}\n" for event in self._events(machine, pod) or ())
        return text.encode()[-CONSOLE_BYTES:].decode(errors="replace")

    def find(self, installation: str, *, regions: Collection[str] = ()) -> Found:
        """See `Cloud.find`; regions are namespaces."""
        if not manifests.is_label(installation):
            raise WishRefused(f"{installation[:80]!r} cannot be a label of Kubernetes, so nothing there can carry it.")
        resources: list[Resource] = []
        unseen: dict[str, str] = {}
        for namespace in dict.fromkeys(regions or (_EVERYWHERE,)):
            for name in _kinds():
                try:
                    resources += self._found(name, installation, namespace)
                except PermissionMissing as error:
                    what = (
                        f"{name}s in {namespace}" if namespace != _EVERYWHERE else f"{name}s in namespaces other than {self._api.namespace}"
                    )
                    unseen[what] = str(error)
                    if namespace == _EVERYWHERE:
                        self._look_at_home(name, installation, resources, unseen)
                except CloudError as error:
                    unseen[f"{name}s in {'all namespaces' if namespace == _EVERYWHERE else namespace}"] = str(error)
        return Found(resources=resources, unseen=unseen)

    def destroy(self, resources: Sequence[Resource], installation: str) -> Sequence[Resource]:
        """See `Cloud.destroy`. A Job stays until its pod is gone; then its Secret goes with it."""
        left = []
        for resource in resources:
            kind = _kinds().get(resource.kind)
            if kind is None or not resource.id or not resource.region:
                continue
            there = self._api.get(kind, resource.id, resource.region)
            if there is None or (there.metadata.labels or {}).get(TAG_INSTALLATION) != installation:
                continue
            self._api.delete(kind, resource.id, resource.region, foreground=resource.kind == "job")
            if (still := self._api.get(kind, resource.id, resource.region)) is not None:
                left.append(reading.resource(still, resource.kind))
        return left

    def _look_at_home(self, name: ResourceKind, installation: str, resources: list[Resource], unseen: dict[str, str]) -> None:
        try:
            resources += self._found(name, installation, self._api.namespace)
        except CloudError as error:
            unseen[f"{name}s in {self._api.namespace}"] = str(error)

    def _found(self, name: ResourceKind, installation: str, namespace: str) -> list[Resource]:
        found = self._api.list(_kinds()[name], namespace, labels={TAG_INSTALLATION: installation})
        return [reading.resource(one, name) for one in found]

    def _wait_for_a_node(self, machine: Resource) -> None:
        end = time.monotonic() + self._patience
        while True:
            pod = self._pod(machine)
            if reading.is_scheduled(pod):
                return
            events = self._events(machine, pod)
            if refused := reading.refused_pods(events or ()):
                raise refusal(403, refused, "FailedCreate")
            if time.monotonic() >= end:
                break
            self._sleep(min(1.0, self._patience))
        why = reading.unschedulable(pod)
        # Where events cannot be seen, a node may be on its way: the limit for the agent's first word ends it, if not.
        if why and events is not None and not any(event.reason == "TriggeredScaleUp" for event in events):
            raise NoCapacity(
                f"No node of the cluster takes it: {why}", hint="Ask for less, or for other nodes.", provider_code="Unschedulable"
            )

    def _remove_quietly(self, machine: Resource) -> None:
        from lightkube.resources.batch_v1 import Job

        try:
            self._api.delete(Job, machine.id, machine.region, foreground=True)
        except CloudError:
            # It was noted: who asked for it destroys it, or the reaper does. The first error is the one to tell.
            return

    def _job(self, machine: Resource) -> Any | None:
        from lightkube.resources.batch_v1 import Job

        return self._api.get(Job, machine.id, machine.region) if machine.id and machine.region else None

    def _pod(self, machine: Resource) -> Any | None:
        from lightkube.resources.core_v1 import Pod

        if not machine.id.startswith(manifests.NAME_PREFIX) or not machine.region:
            return None
        pods = self._api.list(Pod, machine.region, labels={"job-name": machine.id})
        return max(pods, key=lambda pod: (pod.metadata.creationTimestamp, pod.metadata.name), default=None)

    def _events(self, machine: Resource, pod: Any | None) -> Sequence[Any] | None:
        """Return what happened to a Job and its pod, the oldest first; None: we may not see it."""
        from lightkube.resources.core_v1 import Event

        names = [machine.id, *([pod.metadata.name] if pod is not None else [])]
        try:
            return [event for name in names for event in self._api.list(Event, machine.region, fields={"involvedObject.name": name})]
        except PermissionMissing:
            return None

    def _nodes(self) -> Sequence[wishes.Labels] | None:
        try:
            return [dict(node.metadata.labels or {}) for node in self._api.nodes()]
        except PermissionMissing:
            return None


def _kinds() -> dict[ResourceKind, Any]:
    from lightkube.resources.batch_v1 import Job
    from lightkube.resources.core_v1 import Pod, Secret

    return {"job": Job, "container": Pod, "secret": Secret}
