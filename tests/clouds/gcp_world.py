"""A Compute Engine on the loopback: it takes what Google's discovery document allows, and answers within it.

It keeps instances, disks, firewall rules and operations; knows the ids of requests; makes machines fail inside of the
operation, as the real one does. `problems` is empty at the end of a test, or the world itself was wrong.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from mlops_nb.core.runners import Offer
from tests.clouds.discovery import compute
from tests.clouds.loopback import Answer, Call, LoopbackCloud

PROJECT = "proj-1"
ZONES = ("us-west1-a", "us-west1-b", "us-central1-a", "us-central1-c", "europe-west1-d")
# Type: CPUs, MB, GPU that is part of it, and the zones that have it (None: all).
TYPES: Mapping[str, tuple[int, int, tuple[str, int] | None, tuple[str, ...] | None]] = {
    "e2-small": (2, 2048, None, None),
    "e2-standard-8": (8, 32768, None, None),
    "n2-standard-8": (8, 32768, None, None),
    "n1-standard-4": (4, 15360, None, None),
    "e2-highmem-8": (8, 65536, None, None),
    "g2-standard-8": (8, 32768, ("nvidia-l4", 1), ("us-west1-a", "us-central1-a")),
    "a3-highgpu-8g": (208, 1916928, ("nvidia-h100-80gb", 8), ("us-central1-a",)),
}
GPUS = {"nvidia-tesla-t4": ("us-west1-a", "us-west1-b", "us-central1-a")}
_FILTER = re.compile(r'(labels\.[\w-]+|name|targetLink) (=|eq) "([^"]*)"')
_TIME = "2026-11-22T02:00:00.000-00:00"


class GcpWorld(LoopbackCloud):
    """A project.

    Attributes:
        stockouts: Zones, or (zone, type)s, in which there is nothing.
        quotas: Name of a limit that is used up, by zone.
        unreachable: Zones that lists say nothing of.
        forbidden: Paths (as regular expressions) that the account may not ask for, with the permission that they want.
        page: How many entries a list has a page.
        nat: Whether the default network has a NAT gateway.
    """

    def __init__(self) -> None:
        self.instances: dict[str, dict[str, dict[str, Any]]] = {zone: {} for zone in ZONES}
        self.disks: dict[str, dict[str, dict[str, Any]]] = {zone: {} for zone in ZONES}
        self.firewalls: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, dict[str, Any]] = {}
        self.stockouts: set[str | tuple[str, str]] = set()
        self.quotas: dict[str, str] = {}
        self.unreachable: set[str] = set()
        self.forbidden: dict[str, str] = {}
        self.serial: dict[str, str] = {}
        self.page = 500
        self.nat = False
        self._requests: dict[str, str] = {}
        super().__init__()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/compute/v1/"

    def error(self, status: int, reason: str = "backendError", message: str = "Something went wrong.") -> Answer:
        if status == 429:
            reason, message = "rateLimitExceeded", "Quota exceeded for quota metric 'Queries'."
        return Answer({"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}, status)

    # -- what tests look at and arrange

    def machines(self) -> Iterator[dict[str, Any]]:
        for zone in self.instances.values():
            yield from zone.values()

    def count(self) -> int:
        """Return how many things there are."""
        return sum(map(len, self.instances.values())) + sum(map(len, self.disks.values())) + len(self.firewalls)

    def add_foreign(self, number: int, labels: Mapping[str, str] | None = None) -> None:
        """Put machines, disks and rules there that are not ours; some look like it."""
        for index in range(number):
            zone, name = ZONES[index % len(ZONES)], f"mlops-nb-{index:032x}" if index % 2 else f"web-{index}"
            self._put(self.instances, zone, name, "instances", {"labels": dict(labels or {"team": "web"}), "status": "RUNNING"})
            self._put(self.disks, zone, name, "disks", {"labels": dict(labels or {"team": "web"}), "status": "READY"})
            self.firewalls[name] = self._entry("global", name, "firewalls", {"description": "of the web team"})

    def preempt(self, name: str) -> None:
        """Take a spot machine back."""
        for zone, there in self.instances.items():
            if name in there:
                self._drop(zone, name)
                self._operate(zone, "compute.instances.preempted", f"zones/{zone}/instances/{name}", done=True)

    def snapshot_of_foreign(self) -> object:
        """Return all that is not ours, to compare."""
        kept = [machine for machine in self.machines() if "mlops-nb-runner" not in machine["labels"]]
        return [dict(one) for one in [*kept, *(rule for rule in self.firewalls.values() if rule["description"] == "of the web team")]]

    def run_out(self, offer: Offer) -> None:
        self.stockouts.add((offer.zone, offer.type))

    def exceed_quota(self, offer: Offer) -> None:
        self.quotas[offer.zone] = "CPUS-per-project-region"

    def hide(self) -> None:
        self.unreachable.add("us-west1-a")

    # -- the API

    def answer(self, call: Call) -> Answer:
        described = compute()
        path = call.path.removeprefix(described.base)
        routed = described.route(call.method, path)
        if routed is None:
            raise self.error(404, "notFound", f"No such method: {call.method} {call.path}")
        method, parts = routed
        for pattern, permission in self.forbidden.items():
            if re.search(pattern, f"{call.method} {path}"):
                raise self.error(403, "forbidden", f"Required '{permission}' permission for 'projects/{PROJECT}'")
        if wrong := described.faults_of_call(method, parts, call.query, call.body):
            raise self.error(400, "invalid", f"Invalid value: {'; '.join(wrong)}")
        if parts.get("project") not in (PROJECT, "ubuntu-os-cloud"):
            raise self.error(404, "notFound", f"The resource 'projects/{parts.get('project')}' was not found")
        handler = getattr(self, "_" + method["id"].removeprefix("compute.").replace(".", "_"))
        answer = handler(parts, call)
        if wrong := described.faults(method["response"]["$ref"], answer):
            self.problems.append(f"{method['id']} would answer: {wrong[:3]}")
        return Answer(answer)

    def _instances_insert(self, parts: Mapping[str, str], call: Call) -> Any:
        zone, body = parts["zone"], call.body
        if known := self._requests.get(call.query.get("requestId", "")):
            return self.operations[known]
        uuid.UUID(call.query.get("requestId", str(uuid.uuid4())))
        kind, name = body["machineType"].rpartition("/")[2], body["name"]
        if zone not in ZONES or kind not in TYPES:
            raise self.error(400, "invalid", f"Invalid value for field 'resource.machineType': '{body['machineType']}'.")
        if name in self.instances[zone]:
            raise self.error(409, "alreadyExists", f"The resource 'projects/{PROJECT}/zones/{zone}/instances/{name}' already exists")
        network = body["networkInterfaces"][0]
        if "network" in network and not network["network"].endswith("/default"):
            raise self.error(404, "notFound", f"The resource '{network['network']}' was not found")
        failure = None
        if zone in self.stockouts or (zone, kind) in self.stockouts:
            failure = {"code": "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "message": f"The zone '{zone}' does not have enough resources."}
        elif zone in self.quotas:
            info = {"limitName": self.quotas[zone], "metricName": "compute.googleapis.com/cpus", "limit": 8.0, "dimensions": {}}
            text = f"Quota '{self.quotas[zone]}' exceeded.  Limit: 8.0 in region {zone[:-2]}."
            failure = {"code": "QUOTA_EXCEEDED", "message": text, "errorDetails": [{"quotaInfo": info}]}
        else:
            given = {key: value for key, value in body.items() if key != "disks"}
            faces = [{"name": "nic0", "networkIP": "10.138.0.2", **face} for face in body["networkInterfaces"]]
            for face in faces:
                face["accessConfigs"] = [{**one, "natIP": "203.0.113.7"} for one in face.get("accessConfigs", [])]
            self._put(self.instances, zone, name, "instances", {**given, "networkInterfaces": faces, "status": "PROVISIONING"})
            labels = body["disks"][0]["initializeParams"].get("labels", {})
            self._put(self.disks, zone, name, "disks", {"labels": labels, "status": "READY"})
        operation = self._operate(zone, "insert", f"zones/{zone}/instances/{name}", failure=failure)
        self._requests[call.query.get("requestId", "")] = operation["name"]
        return operation

    def _instances_get(self, parts: Mapping[str, str], call: Call) -> Any:
        return self._found(self.instances.get(parts["zone"], {}), parts["instance"], f"zones/{parts['zone']}/instances")

    def _instances_delete(self, parts: Mapping[str, str], call: Call) -> Any:
        self._instances_get(parts, call)
        self._drop(parts["zone"], parts["instance"])
        return self._operate(parts["zone"], "delete", f"zones/{parts['zone']}/instances/{parts['instance']}")

    def _instances_getSerialPortOutput(self, parts: Mapping[str, str], call: Call) -> Any:
        self._instances_get(parts, call)
        text = self.serial.get(parts["instance"], "")
        return {"contents": text[int(call.query.get("start", "0")) :], "kind": "compute#serialPortOutput"}

    def _instances_aggregatedList(self, parts: Mapping[str, str], call: Call) -> Any:
        return self._aggregated(call, "instances", {zone: list(there.values()) for zone, there in self.instances.items()})

    def _disks_aggregatedList(self, parts: Mapping[str, str], call: Call) -> Any:
        return self._aggregated(call, "disks", {zone: list(there.values()) for zone, there in self.disks.items()})

    def _disks_get(self, parts: Mapping[str, str], call: Call) -> Any:
        return self._found(self.disks.get(parts["zone"], {}), parts["disk"], f"zones/{parts['zone']}/disks")

    def _disks_delete(self, parts: Mapping[str, str], call: Call) -> Any:
        self._disks_get(parts, call)
        if parts["disk"] in self.instances[parts["zone"]]:
            raise self.error(400, "resourceInUseByAnotherResource", "The disk resource is already being used by its instance.")
        del self.disks[parts["zone"]][parts["disk"]]
        return self._operate(parts["zone"], "delete", f"zones/{parts['zone']}/disks/{parts['disk']}")

    def _machineTypes_aggregatedList(self, parts: Mapping[str, str], call: Call) -> Any:
        listed: dict[str, list[Any]] = {zone: [] for zone in ZONES}
        for name, (cpus, memory, gpu, zones) in TYPES.items():
            for zone in zones or ZONES:
                more = {"accelerators": [{"guestAcceleratorType": gpu[0], "guestAcceleratorCount": gpu[1]}]} if gpu else {}
                listed[zone].append({"name": name, "guestCpus": cpus, "memoryMb": memory, "zone": zone, **more})
        return self._aggregated(call, "machineTypes", listed)

    def _acceleratorTypes_aggregatedList(self, parts: Mapping[str, str], call: Call) -> Any:
        listed = {zone: [{"name": name} for name, zones in GPUS.items() if zone in zones] for zone in ZONES}
        return self._aggregated(call, "acceleratorTypes", listed)

    def _zones_list(self, parts: Mapping[str, str], call: Call) -> Any:
        return {"items": [{"name": zone, "status": "UP"} for zone in ZONES]}

    def _routers_list(self, parts: Mapping[str, str], call: Call) -> Any:
        network = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/global/networks/default"
        return {"items": [{"name": "r", "network": network, "nats": [{"name": "nat"}]}] if self.nat else []}

    def _subnetworks_get(self, parts: Mapping[str, str], call: Call) -> Any:
        if parts["subnetwork"] != "inner":
            raise self.error(404, "notFound", f"The resource 'subnetworks/{parts['subnetwork']}' was not found")
        return {"name": "inner", "network": f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/global/networks/default"}

    def _images_getFromFamily(self, parts: Mapping[str, str], call: Call) -> Any:
        if parts["family"] != "ubuntu-2404-lts-amd64":
            raise self.error(404, "notFound", "The resource 'family' was not found")
        return {"name": "ubuntu-2404-noble-amd64-v20261101"}

    def _images_get(self, parts: Mapping[str, str], call: Call) -> Any:
        if parts["image"] != "trained":
            raise self.error(404, "notFound", f"The resource 'images/{parts['image']}' was not found")
        return {"name": "trained"}

    def _firewalls_insert(self, parts: Mapping[str, str], call: Call) -> Any:
        name = call.body["name"]
        if known := self._requests.get(call.query.get("requestId", "")):
            return self.operations[known]
        if name in self.firewalls:
            raise self.error(409, "alreadyExists", f"The resource 'firewalls/{name}' already exists")
        self.firewalls[name] = self._entry("global", name, "firewalls", call.body)
        operation = self._operate("global", "insert", f"global/firewalls/{name}")
        self._requests[call.query.get("requestId", "")] = operation["name"]
        return operation

    def _firewalls_get(self, parts: Mapping[str, str], call: Call) -> Any:
        return self._found(self.firewalls, parts["firewall"], "global/firewalls")

    def _firewalls_delete(self, parts: Mapping[str, str], call: Call) -> Any:
        self._firewalls_get(parts, call)
        del self.firewalls[parts["firewall"]]
        return self._operate("global", "delete", f"global/firewalls/{parts['firewall']}")

    def _firewalls_list(self, parts: Mapping[str, str], call: Call) -> Any:
        return self._paged(call, self._filtered(call, list(self.firewalls.values())))

    def _zoneOperations_get(self, parts: Mapping[str, str], call: Call) -> Any:
        return self._looked_at(parts["operation"])

    def _zoneOperations_wait(self, parts: Mapping[str, str], call: Call) -> Any:
        return self._looked_at(parts["operation"])

    def _globalOperations_get(self, parts: Mapping[str, str], call: Call) -> Any:
        return self._looked_at(parts["operation"])

    def _zoneOperations_list(self, parts: Mapping[str, str], call: Call) -> Any:
        return {"items": self._filtered(call, list(self.operations.values()))}

    def _networks_get(self, parts: Mapping[str, str], call: Call) -> Any:
        return {"name": parts["network"]}

    def _projects_get(self, parts: Mapping[str, str], call: Call) -> Any:
        return {"name": PROJECT, "quotas": [{"metric": "GPUS_ALL_REGIONS", "limit": 0.0, "usage": 0.0}]}

    def _regions_get(self, parts: Mapping[str, str], call: Call) -> Any:
        return {"name": parts["region"], "quotas": [{"metric": "CPUS", "limit": 24.0, "usage": 8.0}]}

    # -- how it is kept

    def _entry(self, place: str, name: str, collection: str, body: Mapping[str, Any]) -> dict[str, Any]:
        where = place if place == "global" else f"zones/{place}"
        entry = {
            **body,
            "name": name,
            "creationTimestamp": _TIME,
            "selfLink": f"{self.endpoint}projects/{PROJECT}/{where}/{collection}/{name}",
        }
        return entry if place == "global" else {**entry, "zone": f"{self.endpoint}projects/{PROJECT}/zones/{place}"}

    def _put(self, kept: dict[str, dict[str, dict[str, Any]]], zone: str, name: str, collection: str, body: Mapping[str, Any]) -> None:
        kept[zone][name] = self._entry(zone, name, collection, body)

    def _drop(self, zone: str, name: str) -> None:
        del self.instances[zone][name]
        self.disks[zone].pop(name, None)

    def _found(self, kept: Mapping[str, Any], name: str, where: str) -> Any:
        if name not in kept:
            raise self.error(404, "notFound", f"The resource 'projects/{PROJECT}/{where}/{name}' was not found")
        return kept[name]

    def _operate(self, place: str, kind: str, target: str, *, failure: Any = None, done: bool = False) -> dict[str, Any]:
        name = f"operation-{len(self.operations)}"
        operation = {
            "name": name,
            "operationType": kind,
            "status": "DONE" if done else "RUNNING",
            "targetLink": f"{self.endpoint}projects/{PROJECT}/{target}",
            "insertTime": _TIME,
        }
        if place != "global":
            operation["zone"] = f"{self.endpoint}projects/{PROJECT}/zones/{place}"
        self.operations[name] = operation
        self._failures = getattr(self, "_failures", {}) | {name: failure}
        return operation

    def _looked_at(self, name: str) -> dict[str, Any]:
        operation = self.operations.get(name)
        if operation is None:
            raise self.error(404, "notFound", f"The operation '{name}' was not found")
        if operation["status"] == "RUNNING":
            operation = self.operations[name] = {**operation, "status": "DONE", "progress": 100}
            if failure := self._failures.get(name):
                operation["error"] = {"errors": [failure]}
            elif operation["operationType"] == "insert":
                machine = operation["targetLink"].rpartition("/")[2]
                for there in self.instances.values():
                    if machine in there:
                        there[machine]["status"] = "RUNNING"
        return operation

    def _filtered(self, call: Call, entries: list[Any]) -> list[Any]:
        text = call.query.get("filter")
        if not text:
            return entries
        found = _FILTER.fullmatch(text)
        if not found:
            raise self.error(400, "invalid", f"Invalid value for field 'filter': '{text}'.")
        key, operator, value = found.groups()

        def has(entry: Mapping[str, Any]) -> bool:
            own = entry.get("labels", {}).get(key[7:], "") if key.startswith("labels.") else str(entry.get(key, ""))
            return bool(re.fullmatch(value, own)) if operator == "eq" else value == own

        return [entry for entry in entries if has(entry)]

    def _paged(self, call: Call, entries: list[Any]) -> dict[str, Any]:
        start = int(call.query.get("pageToken") or 0)
        more = {"nextPageToken": str(start + self.page)} if start + self.page < len(entries) else {}
        return {"items": entries[start : start + self.page], **more}

    def _aggregated(self, call: Call, kind: str, listed: Mapping[str, list[Any]]) -> dict[str, Any]:
        flat = [(zone, one) for zone, there in listed.items() if zone not in self.unreachable for one in self._filtered(call, there)]
        start = int(call.query.get("pageToken") or 0)
        items: dict[str, Any] = {
            f"zones/{zone}": {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for scope on this page."}}
            for zone in ZONES
            if zone not in self.unreachable
        }
        for zone, one in flat[start : start + self.page]:
            items[f"zones/{zone}"].pop("warning", None)
            items[f"zones/{zone}"].setdefault(kind, []).append(one)
        more = {"nextPageToken": str(start + self.page)} if start + self.page < len(flat) else {}
        gone = {"unreachables": [f"zones/{zone}" for zone in sorted(self.unreachable)]} if self.unreachable else {}
        return {"items": items, **more, **gone}
