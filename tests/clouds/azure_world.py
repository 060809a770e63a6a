"""An Azure Resource Manager on the loopback, over TLS, with asynchronous operations and the order that ARM wants things in.

It holds the consoles of machines, too, and a shop beside it the prices. `problems` is empty at the end of a test, or the world was wrong.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlops_nb.core.runners import Offer
from tests.clouds.certificates import certificate
from tests.clouds.loopback import Answer, Call, LoopbackCloud

SUBSCRIPTION = "00000000-1111-2222-3333-444444444444"
REGIONS = ("westus2", "westeurope")
# Type: CPUs, GB, GPUs, zones, reason why the subscription may not have it.
TYPES: Mapping[str, tuple[int, int, int, tuple[str, ...], str]] = {
    "Standard_B2s": (2, 4, 0, ("1", "2", "3"), ""),
    "Standard_D8s_v5": (8, 32, 0, ("1", "2"), ""),
    "Standard_D8as_v5": (8, 32, 0, ("1",), ""),
    "Standard_E8s_v5": (8, 64, 0, ("1",), ""),
    "Standard_NC4as_T4_v3": (4, 28, 1, (), ""),
    "Standard_NC64as_T4_v3": (64, 440, 4, (), "NotAvailableForSubscription"),
}
_GROUP = re.compile(r"/subscriptions/[^/]+/resourcegroups/([^/]+)", re.IGNORECASE)
_INSIDE = re.compile(r"/subscriptions/[^/]+/resourcegroups/([^/]+)/providers/([^/]+/[^/]+)/([^/]+)(?:/(\w+))?", re.IGNORECASE)
_SUBNET = re.compile(r"(/subscriptions/.+/virtualnetworks/[^/]+)/subnets/([^/]+)", re.IGNORECASE)
_FILTER = re.compile(r"tagName eq '([^']*)' and tagValue eq '([^']*)'")
_VM, _NIC = "microsoft.compute/virtualmachines", "microsoft.network/networkinterfaces"
_TIME = "2026-11-22T02:00:00Z"


class AzureWorld(LoopbackCloud):
    """A subscription.

    Attributes:
        stockouts: (zone, type)s of which there are none: their allocation fails after the machine was accepted, as in life.
        quotas: Families of which no more may be had, by type.
        no_host_encryption: Whether the feature is not switched on for the subscription.
        forbidden: Paths (as regular expressions) that the account may not ask for, with the action that they want.
        prices: By type and whether it is spot.
    """

    def __init__(self, folder: Path) -> None:
        self.groups: dict[str, dict[str, Any]] = {}
        self.entries: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, dict[str, Any]] = {}
        self.stockouts: set[tuple[str, str]] = set()
        self.quotas: dict[str, str] = {}
        self.no_host_encryption = False
        self.forbidden: dict[str, str] = {}
        self.prices: dict[tuple[str, bool], float] = {}
        self.console = ""
        self.page = 500
        self.certificate, key = certificate(folder)
        self.shop = Shop(self.prices)
        super().__init__(certificate=(self.certificate, key))

    @property
    def endpoint(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def error(self, status: int, code: str = "InternalServerError", message: str = "Something went wrong.") -> Answer:
        if status == 429:
            code, message = "TooManyRequests", "The request is being throttled."
        return Answer({"error": {"code": code, "message": message}}, status)

    def stop(self) -> None:
        super().stop()
        self.shop.stop()

    # -- what tests look at and arrange

    def machines(self) -> Iterator[dict[str, Any]]:
        return (entry for entry in self.entries.values() if entry["type"].lower() == _VM)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries.values() if entry["type"].lower().endswith(kind.lower())]

    def count(self) -> int:
        return len(self.groups) + len(self.entries)

    def add_foreign(self, number: int, labels: Mapping[str, str] | None = None) -> None:
        for index in range(number):
            group = f"mlops-nb-{index:032x}" if index % 2 else "web"
            tags = dict(labels or {"team": "web"})
            self.groups.setdefault(group, {"name": group, "tags": tags, "location": "westus2", "state": "Succeeded"})
            self.put_foreign(group, f"m{index}", tags)

    def put_foreign(self, group: str, name: str, tags: Mapping[str, str]) -> None:
        whole = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.Storage/storageAccounts/{name}"
        entry = {"id": whole, "name": name, "type": "Microsoft.Storage/storageAccounts", "location": "westus2"}
        self.entries[whole.lower()] = {**entry, "tags": dict(tags), "properties": {"provisioningState": "Succeeded"}}

    def snapshot_of_foreign(self) -> object:
        kept = [group for group in self.groups.values() if "mlops-nb-runner" not in group["tags"]]
        return [dict(one) for one in [*kept, *(one for one in self.entries.values() if "mlops-nb-runner" not in one["tags"])]]

    def run_out(self, offer: Offer) -> None:
        self.stockouts.add((offer.zone.rpartition("-")[2], offer.type))

    def exceed_quota(self, offer: Offer) -> None:
        self.quotas[offer.type] = "standardDSv5Family Cores"

    def hide(self) -> None:
        self.forbidden[f"GET /subscriptions/{SUBSCRIPTION}/resources$"] = "Microsoft.Resources/subscriptions/resources/read"

    # -- the API

    def answer(self, call: Call) -> Answer:
        path = call.path
        if path == "/console":
            return Answer(self.console.encode(), headers={"Content-Type": "text/plain"})
        if "api-version" not in call.query:
            raise self.error(400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required.")
        if call.headers.get("Authorization") != "Bearer token-of-the-test":
            raise self.error(401, "InvalidAuthenticationToken", "The access token is invalid.")
        for pattern, action in self.forbidden.items():
            if re.search(pattern, f"{call.method} {path}"):
                text = f"The client 'ci' does not have authorization to perform action '{action}' over scope '{path}'."
                raise self.error(403, "AuthorizationFailed", text)
        if not path.startswith(f"/subscriptions/{SUBSCRIPTION}/"):
            raise self.error(404, "SubscriptionNotFound", "The subscription could not be found.")
        rest = path.removeprefix(f"/subscriptions/{SUBSCRIPTION}").lower()
        if rest.startswith("/operations/"):
            return self._operation(rest.rpartition("/")[2], is_result=False)
        if rest.startswith("/operationresults/"):
            return self._operation(rest.rpartition("/")[2], is_result=True)
        if found := _INSIDE.fullmatch(path):
            return self._inside(call, *found.groups())
        if found := _GROUP.fullmatch(path):
            return self._group(call, found[1])
        if rest == "/resourcegroups":
            return Answer(self._listed(call, [self._shown(group) for group in self.groups.values()]))
        if rest == "/resources":
            return Answer(self._listed(call, list(self.entries.values())))
        if found := re.fullmatch(r"/resourcegroups/([^/]+)/resources", rest):
            self._known_group(found[1])
            return Answer(self._listed(call, self._within(found[1])))
        if rest == "/providers/microsoft.compute/skus":
            return Answer({"value": self._skus(call)})
        if re.fullmatch(r"/providers/microsoft.compute/locations/\w+/usages", rest):
            name = {"value": "cores", "localizedValue": "Total Regional vCPUs"}
            return Answer({"value": [{"name": name, "currentValue": 10, "limit": 10, "unit": "Count"}]})
        if found := re.fullmatch(r"/providers/([\w.]+)", rest):
            state = "NotRegistered" if found[1] == "microsoft.devtestlab" else "Registered"
            return Answer({"namespace": found[1], "registrationState": state})
        raise self.error(404, "NotFound", f"No such address: {path}")

    def _group(self, call: Call, name: str) -> Answer:
        key = name.lower()
        if call.method == "PUT":
            if self.groups.get(key, {}).get("state") == "Deleting":
                raise self.error(409, "ResourceGroupBeingDeleted", f"The resource group '{name}' is in deprovisioning state.")
            if call.body.get("location") not in REGIONS:
                raise self.error(400, "LocationNotAvailableForResourceGroup", f"'{call.body.get('location')}' is not available.")
            if key in self.groups and self.groups[key]["location"] != call.body["location"]:
                raise self.error(409, "InvalidResourceGroupLocation", f"The resource group '{name}' already exists elsewhere.")
            self.groups[key] = {"name": name, "tags": call.body.get("tags", {}), "location": call.body["location"], "state": "Succeeded"}
            return Answer(self._shown(self.groups[key]), 201)
        group = self._known_group(key)
        if call.method == "PATCH":
            group["tags"] = call.body.get("tags", {})
        elif call.method == "DELETE":
            group["state"] = "Deleting"
            operation = self._operate("delete group", key)
            return Answer(
                None, 202, {"Location": f"{self.endpoint}/subscriptions/{SUBSCRIPTION}/operationresults/{operation}?api-version=1"}
            )
        return Answer(self._shown(group))

    def _inside(self, call: Call, group: str, kind: str, name: str, more: str | None) -> Answer:
        whole = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/{kind}/{name}"
        key = whole.lower()
        if more is not None:
            return self._action(call, key, more)
        if call.method == "PUT":
            if self._known_group(group.lower())["state"] == "Deleting":
                raise self.error(409, "ResourceGroupBeingDeleted", f"The resource group '{group}' is in deprovisioning state.")
            self._check(kind.lower(), call.body, whole)
            tags = call.body.get("tags", {})
            properties = {**call.body.get("properties", {}), "provisioningState": "Creating"}
            if kind.lower().endswith("publicipaddresses"):
                properties["ipAddress"] = "203.0.113.9"
            entry = {**call.body, "id": whole, "name": name, "type": kind, "tags": tags, "properties": properties}
            self.entries[key] = entry
            failure = None
            if kind.lower() == _VM:
                failure = self._allocate(group, name, entry)
            operation = self._operate("put", key, failure)
            address = f"{self.endpoint}/subscriptions/{SUBSCRIPTION}/operations/{operation}?api-version=1"
            return Answer(entry, 201, {"Azure-AsyncOperation": address})
        if key not in self.entries:
            raise self.error(404, "ResourceNotFound", f"The Resource '{kind}/{name}' under resource group '{group}' was not found.")
        if call.method == "DELETE":
            user = next((one["name"] for one in self.entries.values() if one["id"] != whole and _uses(one, whole)), None)
            if user:
                raise self.error(409, "InUse", f"Resource {whole} is in use by {user}.")
            operation = self._operate("delete", key)
            address = f"{self.endpoint}/subscriptions/{SUBSCRIPTION}/operations/{operation}?api-version=1"
            return Answer(None, 202, {"Azure-AsyncOperation": address})
        entry = self.entries[key]
        if call.query.get("$expand") == "instanceView":
            power = entry.get("power", "running")
            view = {"statuses": [{"code": "ProvisioningState/succeeded"}, {"code": f"PowerState/{power}"}]}
            entry = {**entry, "properties": {**entry["properties"], "instanceView": view}}
        return Answer({name: value for name, value in entry.items() if name != "power"})

    def _action(self, call: Call, key: str, name: str) -> Answer:
        if subnet := _SUBNET.fullmatch(f"{key}/{name}"):
            raise self.error(404, "NotFound", f"Subnet {subnet[2]} was not found.")
        if key not in self.entries:
            raise self.error(404, "ResourceNotFound", "The machine was not found.")
        if name.lower() != "retrievebootdiagnosticsdata":
            raise self.error(404, "NotFound", f"No such action: {name}")
        return Answer({"serialConsoleLogBlobUri": f"{self.endpoint}/console?sig=very-secret"} if self.console else {})

    def _check(self, kind: str, body: Mapping[str, Any], whole: str) -> None:
        """Refuse what ARM would refuse, most of all things that point to what is not there."""
        if body.get("location") not in REGIONS:
            raise self.error(400, "LocationRequired", "The location property is required for this definition.")
        for key, value in (body.get("tags") or {}).items():
            if not isinstance(value, str) or len(value) > 256 or re.search(r"[<>%&\\?/]", key):
                raise self.error(400, "InvalidTagNameCharacters", f"The tag {key} is not valid.")
        for pointed in _ids(body.get("properties", {})):
            subnet = _SUBNET.fullmatch(pointed)
            if (subnet[1] if subnet else pointed).lower() not in self.entries and "/images/" not in pointed:
                raise self.error(400, "InvalidResourceReference", f"Resource {pointed} referenced by resource {whole} was not found.")
        if kind == _VM:
            self._check_machine(body)

    def _check_machine(self, body: Mapping[str, Any]) -> None:
        properties = body["properties"]
        size, zones = properties["hardwareProfile"]["vmSize"], body.get("zones") or [""]
        if size not in TYPES:
            raise self.error(400, "InvalidParameter", f"The value {size} provided for the VM size is not valid.")
        profile = properties["osProfile"]
        if not profile["linuxConfiguration"]["disablePasswordAuthentication"] or not profile["linuxConfiguration"]["ssh"]["publicKeys"]:
            raise self.error(400, "InvalidParameter", "Authentication using a password or SSH keys is required.")
        try:
            base64.b64decode(profile["customData"], validate=True)
        except binascii.Error:
            raise self.error(400, "InvalidParameter", "Custom data in OSProfile must be in Base64 encoding.") from None
        if not re.fullmatch(r"[a-zA-Z0-9-]{1,64}", profile["computerName"]):
            raise self.error(400, "InvalidParameter", "Linux host name is not valid.")
        if self.no_host_encryption and properties.get("securityProfile", {}).get("encryptionAtHost"):
            text = "The property 'securityProfile.encryptionAtHost' is not valid: 'Microsoft.Compute/EncryptionAtHost' is not enabled."
            raise self.error(400, "InvalidParameter", text)
        if size in self.quotas:
            text = f"Operation could not be completed as it results in exceeding approved {self.quotas[size]} quota. Current Limit: 10."
            raise self.error(409, "OperationNotAllowed", text)
        if zones[0] and zones[0] not in TYPES[size][3]:
            raise self.error(409, "SkuNotAvailable", f"The requested VM size {size} is not available in zone {zones[0]}.")

    def _allocate(self, group: str, name: str, entry: dict[str, Any]) -> Any:
        properties = entry["properties"]
        zone, size = (entry.get("zones") or [""])[0], properties["hardwareProfile"]["vmSize"]
        disk = properties["storageProfile"]["osDisk"]["name"]
        if (zone, size) in self.stockouts:
            return {"code": "ZonalAllocationFailed" if zone else "AllocationFailed", "message": "Allocation failed. We do not have enough."}
        whole = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.Compute/disks/{disk}"
        # As in life, the disk of a machine does not get the machine's tags for sure.
        disk_entry = {"id": whole, "name": disk, "type": "Microsoft.Compute/disks", "location": entry["location"], "tags": {}}
        self.entries[whole.lower()] = {**disk_entry, "properties": {"provisioningState": "Succeeded"}, "managedBy": entry["id"]}
        return None

    def _operation(self, name: str, *, is_result: bool) -> Answer:
        operation = self.operations.get(name)
        if operation is None:
            raise self.error(404, "NotFound", "No such operation.")
        if not operation["seen"]:
            operation["seen"] = True
            if is_result:
                return Answer(
                    None, 202, {"Location": f"{self.endpoint}/subscriptions/{SUBSCRIPTION}/operationresults/{name}?api-version=1"}
                )
            return Answer({"status": "InProgress"})
        if not operation["done"]:
            operation["done"] = True
            self._complete(operation)
        if is_result:
            return Answer(None, 200)
        if operation["failure"]:
            return Answer({"status": "Failed", "error": operation["failure"]})
        return Answer({"status": "Succeeded"})

    def _complete(self, operation: Mapping[str, Any]) -> None:
        kind, key = operation["kind"], operation["key"]
        if kind == "delete group":
            self.groups.pop(key, None)
            for entry in self._within(key):
                del self.entries[entry["id"].lower()]
        elif kind == "delete":
            entry = self.entries.pop(key, None)
            if entry and entry["type"].lower() == _VM:  # what has the delete option goes with it
                for other in [one for one in self.entries.values() if one.get("managedBy") == entry["id"]]:
                    del self.entries[other["id"].lower()]
                for face in entry["properties"]["networkProfile"]["networkInterfaces"]:
                    self.entries.pop(face["id"].lower(), None)
        elif key in self.entries:
            self.entries[key]["properties"]["provisioningState"] = "Failed" if operation["failure"] else "Succeeded"

    def _operate(self, kind: str, key: str, failure: Any = None) -> str:
        name = f"op{len(self.operations)}"
        self.operations[name] = {"kind": kind, "key": key, "failure": failure, "seen": False, "done": False}
        return name

    def _known_group(self, key: str) -> dict[str, Any]:
        if key.lower() not in self.groups:
            raise self.error(404, "ResourceGroupNotFound", f"Resource group '{key}' could not be found.")
        return self.groups[key.lower()]

    def _shown(self, group: Mapping[str, Any]) -> dict[str, Any]:
        whole = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group['name']}"
        shown = {"id": whole, "name": group["name"], "type": "Microsoft.Resources/resourceGroups", "location": group["location"]}
        return {**shown, "tags": group["tags"], "properties": {"provisioningState": group["state"]}}

    def _within(self, group: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries.values() if f"/resourcegroups/{group.lower()}/" in entry["id"].lower()]

    def _listed(self, call: Call, entries: list[dict[str, Any]]) -> dict[str, Any]:
        if text := call.query.get("$filter"):
            found = _FILTER.fullmatch(text)
            if not found:
                raise self.error(400, "InvalidFilterInQueryString", f"Invalid $filter '{text}'.")
            entries = [entry for entry in entries if entry["tags"].get(found[1]) == found[2]]
        start = int(call.query.get("$skiptoken") or 0)
        page = [{name: value for name, value in entry.items() if name != "power"} for entry in entries[start : start + self.page]]
        if call.query.get("$expand"):
            page = [{**entry, "createdTime": _TIME, "provisioningState": entry["properties"]["provisioningState"]} for entry in page]
        if start + self.page >= len(entries):
            return {"value": page}
        more = "&".join(f"{name}={value}" for name, value in call.query.items() if name != "$skiptoken").replace(" ", "%20")
        return {"value": page, "nextLink": f"{self.endpoint}{call.path}?{more}&$skiptoken={start + self.page}"}

    def _skus(self, call: Call) -> list[dict[str, Any]]:
        found = re.fullmatch(r"location eq '(\w+)'", call.query.get("$filter", ""))
        if not found:
            raise self.error(400, "InvalidFilter", "Only a location can be asked for.")
        if found[1] not in REGIONS:
            return []
        listed = []
        for name, (cpus, memory, gpus, zones, refused) in TYPES.items():
            able = {"vCPUs": cpus, "MemoryGB": memory, "LowPriorityCapable": True, **({"GPUs": gpus} if gpus else {})}
            restriction = {"type": "Location", "values": [found[1]], "reasonCode": refused, "restrictionInfo": {"locations": [found[1]]}}
            listed.append(
                {
                    "name": name,
                    "resourceType": "virtualMachines",
                    "locations": [found[1]],
                    "locationInfo": [{"location": found[1], "zones": list(zones)}],
                    "capabilities": [{"name": key, "value": str(value)} for key, value in able.items()],
                    "restrictions": [restriction] if refused else [],
                }
            )
        return [*listed, {"name": "Premium_LRS", "resourceType": "disks", "locations": [found[1]]}]


class Shop(LoopbackCloud):
    """The price service, which anybody may ask; `prices` by type and whether it is spot."""

    def __init__(self, prices: Mapping[tuple[str, bool], float]) -> None:
        self.prices = prices
        super().__init__()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/retail/prices"

    def error(self, status: int) -> Answer:
        return Answer({"Error": {"Code": str(status)}}, status)

    def answer(self, call: Call) -> Answer:
        items = []
        for (name, spot), price in self.prices.items():
            if f"armSkuName eq '{name}'" in call.query.get("$filter", ""):
                meter = f"{name} Spot" if spot else name
                common = {"meterName": meter, "unitOfMeasure": "1 Hour", "armSkuName": name}
                items += [
                    {**common, "retailPrice": price * 2, "productName": "Virtual Machines Dsv5 Series Windows"},
                    {**common, "retailPrice": price, "productName": "Virtual Machines Dsv5 Series"},
                    {**common, "retailPrice": price / 9, "productName": "Virtual Machines", "meterName": f"{name} Low Priority"},
                ]
        return Answer({"Items": items, "NextPageLink": None})


def _ids(value: Any) -> Iterator[str]:
    """Yield what a body points to."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key in ("id", "targetResourceId") and isinstance(one, str):
                yield one
            else:
                yield from _ids(one)
    elif isinstance(value, list):
        for one in value:
            yield from _ids(one)


def _uses(entry: Mapping[str, Any], whole: str) -> bool:
    kind = entry["type"].lower()
    if kind.endswith("schedules"):
        return False
    if entry["id"].lower() == whole.lower():
        return False
    pointed = [one.lower() for one in _ids(entry["properties"])]
    return any(one == whole.lower() or one.startswith(f"{whole.lower()}/") for one in pointed)
