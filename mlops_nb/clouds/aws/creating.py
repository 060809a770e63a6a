"""How a machine of EC2 comes to be, with its closed group and its key, so that it can be found whatever happens on the way."""

from __future__ import annotations

import gzip
import hashlib
import re
import time
from collections.abc import Mapping
from typing import Any

from mlops_nb.clouds.aws import images, tags
from mlops_nb.clouds.aws.account import Account
from mlops_nb.clouds.aws.destroying import Destroying
from mlops_nb.clouds.base import CloudError, CloudUnreachable, Machine, MachineOrder, NoCapacity, Note, WishRefused
from mlops_nb.clouds.sizes import DEFAULT_DISK_GB, GPU_DISK_GB
from mlops_nb.core.runners import TAG_INSTALLATION, TAG_RUNNER, Offer, Resource

USER_DATA_BYTES = 16_384
_TAG = re.compile(r"[\w\s+\-=.:/@]*")


class Creating:
    """One creation in one region."""

    def __init__(self, account: Account, destroying: Destroying, order: MachineOrder, offer: Offer, note: Note) -> None:
        self._account = account
        self._destroying = destroying
        self._order = order
        self._offer = offer
        self._tell = note
        self._tags = _checked({**order.tags, TAG_RUNNER: order.token, "Name": order.tags.get("Name", order.name)})
        self._installation = self._tags.get(TAG_INSTALLATION, "")
        self._noted: dict[tuple[str, str], Resource] = {}
        self._name = f"mlops-nb-{order.token}"
        self._ended = 0

    def machine(self) -> Machine:
        """Return the machine of the order's token: the one that is there, or a new one."""
        if there := self._there():
            return there
        # All that only reads comes first, so that a wish that cannot be fulfilled makes nothing.
        user_data = _user_data(self._order.user_data)
        _check_key(self._order.ssh_public_key)
        image = images.resolve(self._account, self._order.image, self._offer)
        subnet, network = self._place()
        try:
            group = self._group(network)
            key = self._key()
            request = self._request(image, subnet, group, key, user_data)
            instance = self._run(request)
        except CloudError as error:
            raise self._undone(error) from error
        machine = tags.machine_of(instance, self._offer.region)
        if machine.phase in ("stopping", "gone"):
            # The answer to a token whose machine was ended since.
            raise self._undone(
                CloudError(f"AWS has ended the machine of {self._order.name} already: {machine.reason}", hint="Launch it anew.")
            )
        return machine

    def _call(self, operation: str, **params: Any) -> dict[str, Any]:
        return self._account.call("ec2", self._offer.region, operation, **params)

    def _note(self, kind: Any, id: str = "", state: str = "wanted") -> None:
        """Have it written down that this may be there; an id takes the place of the same without one."""
        resource = Resource(kind=kind, id=id, region=self._offer.region, tags=self._tags, created=time.time(), state=state)
        self._noted.pop((kind, ""), None)
        self._noted[kind, id] = resource
        self._tell(resource)

    def _there(self) -> Machine | None:
        """Return the machine that this token has made and that is not ending."""
        filters = tags.of_runner(self._installation, self._order.token)
        found = list(self._account.pages("ec2", self._offer.region, "describe_instances", "Reservations", Filters=filters))
        machines = [tags.machine_of(instance, self._offer.region) for instance in tags.instances(found)]
        live = [machine for machine in machines if machine.phase in ("starting", "running")]
        self._ended = len(machines) - len(live)
        if not live:
            return None
        self._note("machine", live[0].resource.id, "found")
        return live[0]

    def _place(self) -> tuple[str, str]:
        """Return the subnet for the machine, and its network."""
        order, zone = self._order, self._offer.zone
        if order.subnet:
            found = list(self._account.pages("ec2", self._offer.region, "describe_subnets", "Subnets", SubnetIds=[order.subnet]))
        else:
            filters: list[dict[str, Any]] = [{"Name": "state", "Values": ["available"]}]
            if zone:
                filters.append({"Name": "availability-zone", "Values": [zone]})
            network = self._network_of_group()
            filters.append({"Name": "vpc-id", "Values": [network]} if network else {"Name": "default-for-az", "Values": ["true"]})
            found = list(self._account.pages("ec2", self._offer.region, "describe_subnets", "Subnets", Filters=filters))
        if not found:
            raise WishRefused(
                f"There is no default subnet in {zone or self._offer.region}.",
                hint="Give one (--cloud-aws-subnet subnet-…), or make the default network anew: aws ec2 create-default-vpc",
            )
        # Where there are several of a network, the one with public addresses reaches the Internet without a gateway of its own.
        best = max(found, key=lambda subnet: (bool(subnet.get("MapPublicIpOnLaunch")), int(subnet.get("AvailableIpAddressCount", 0))))
        if zone and best.get("AvailabilityZone", zone) != zone:
            raise NoCapacity(
                f"The subnet {order.subnet} is in {best['AvailabilityZone']}, not in {zone}.",
                hint="Leave out --zones where a subnet is given.",
            )
        return str(best["SubnetId"]), str(best["VpcId"])

    def _network_of_group(self) -> str:
        group = self._order.security_group
        return str(self._given_group(group)["VpcId"]) if group else ""

    def _given_group(self, group: str) -> dict[str, Any]:
        filters = [{"Name": "group-id" if group.startswith("sg-") else "group-name", "Values": [group]}]
        found = list(self._account.pages("ec2", self._offer.region, "describe_security_groups", "SecurityGroups", Filters=filters))
        if len(found) != 1:
            many = f"There are {len(found)} security groups '{group}' in" if found else f"There is no security group '{group}' in"
            raise WishRefused(f"{many} {self._offer.region}.", hint="Give its id: --cloud-aws-security-group sg-…")
        return found[0]

    def _group(self, network: str) -> str:
        """Return the security group: the one that was given, or one of this runner's own that lets nothing in."""
        if self._order.security_group:
            return str(self._given_group(self._order.security_group)["GroupId"])
        self._note("group")
        try:
            made = self._call(
                "create_security_group",
                GroupName=self._name,
                Description="A runner of mlops-nb: nothing comes in",
                VpcId=network,
                TagSpecifications=tags.specified(self._tags, "security-group"),
            )
            group = str(made["GroupId"])
        except WishRefused as error:
            if error.provider_code != "InvalidGroup.Duplicate":
                raise
            group = self._own_group(network)
        self._note("group", group, "made")
        if self._order.ssh_public_key:
            self._open(group)
        return group

    def _own_group(self, network: str) -> str:
        filters = [{"Name": "group-name", "Values": [self._name]}, {"Name": "vpc-id", "Values": [network]}]
        for group in self._account.pages("ec2", self._offer.region, "describe_security_groups", "SecurityGroups", Filters=filters):
            if tags.read(group).get(TAG_INSTALLATION) == self._installation:
                return str(group["GroupId"])
        raise CloudUnreachable(f"AWS says that the group {self._name} is there, and does not show it.", hint="Try again in a minute.")

    def _open(self, group: str) -> None:
        """Let SSH in, as somebody has asked for it."""
        rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
        ranges = {"IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "SSH, as asked for"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
        try:
            self._call("authorize_security_group_ingress", GroupId=group, IpPermissions=[{**rule, **ranges}])
        except WishRefused as error:
            if error.provider_code != "InvalidPermission.Duplicate":
                raise

    def _key(self) -> str:
        """Return the name of the SSH key; "" where none was asked for."""
        if not self._order.ssh_public_key:
            return ""
        self._note("key", self._name)
        try:
            self._call(
                "import_key_pair",
                KeyName=self._name,
                PublicKeyMaterial=self._order.ssh_public_key.encode(),
                TagSpecifications=tags.specified(self._tags, "key-pair"),
            )
        except WishRefused as error:
            if error.provider_code != "InvalidKeyPair.Duplicate":
                raise
        return self._name

    def _request(self, image: images.Image, subnet: str, group: str, key: str, user_data: bytes) -> dict[str, Any]:
        order, offer = self._order, self._offer
        kinds = ("instance", "volume", "network-interface", *(("spot-instances-request",) if offer.spot else ()))
        request: dict[str, Any] = {
            "ImageId": image.id,
            "InstanceType": offer.type,
            "MinCount": 1,
            "MaxCount": 1,
            "UserData": user_data,
            "InstanceInitiatedShutdownBehavior": "terminate",
            "NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group], "DeleteOnTermination": True}],
            "BlockDeviceMappings": [
                {
                    "DeviceName": image.root,
                    "Ebs": {"VolumeSize": self._disk(image), "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True},
                }
            ],
            # One hop: a container of a job does not reach the metadata service.
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"},
            "TagSpecifications": tags.specified(self._tags, *kinds),
            # Of the token and the offer alone: a second try with another ticket in its user data is told so, and makes no second machine.
            # One that was ended leaves the place to another.
            "ClientToken": hashlib.sha256(f"{order.token} {offer.type} {subnet} {offer.spot} {self._ended}".encode()).hexdigest()[:32],
        }
        if key:
            request["KeyName"] = key
        if order.permission_set:
            is_arn = order.permission_set.startswith("arn:")
            request["IamInstanceProfile"] = {"Arn" if is_arn else "Name": order.permission_set}
        if offer.spot:
            options: dict[str, str] = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
            if order.spot_price is not None:
                options["MaxPrice"] = f"{order.spot_price:.4f}"
            request["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
        return request

    def _disk(self, image: images.Image) -> int:
        wished = self._order.disk_gb
        if wished is not None and wished < image.least_gb:
            raise WishRefused(f"A disk of {wished} GB is too small for the image.", hint=f"It needs {image.least_gb} GB: --cloud-hdd-size")
        return wished or max(image.least_gb, GPU_DISK_GB if self._offer.gpu else DEFAULT_DISK_GB)

    def _run(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self._note("machine")
        try:
            instance: Mapping[str, Any] = self._call("run_instances", **request)["Instances"][0]
        except CloudError as error:
            if error.provider_code != "IdempotentParameterMismatch":
                raise
            # An earlier try with this token was heard after all, with other words around it.
            there = self._there()
            if there is None:
                raise CloudUnreachable(
                    f"AWS has made a machine of {self._order.name} before, and does not show it yet.", hint="Try again in a minute."
                ) from error
            return {"InstanceId": there.resource.id, "Tags": tags.written(there.resource.tags), "State": {"Name": there.resource.state}}
        self._note("machine", str(instance["InstanceId"]), "made")
        return instance

    def _undone(self, error: CloudError) -> CloudError:
        """Remove what was made; what cannot be removed stays noted."""
        try:
            left = self._destroying.all(list(self._noted.values()), self._installation)
        except CloudError as second:
            error.hint = f"{error.hint or ''} What was made could not be removed ({second.message}); the reaper tries again.".strip()
            return error
        if left:
            kinds = ", ".join(sorted({each.kind for each in left}))
            error.hint = f"{error.hint or ''} Still going: {kinds}; the reaper looks after it.".strip()
        return error


def _checked(wished: Mapping[str, str]) -> dict[str, str]:
    if len(wished) > tags.MOST_TAGS:
        raise WishRefused(f"{len(wished)} tags are too many.", hint=f"AWS takes {tags.MOST_TAGS}, five of them ours: --cloud-metadata")
    for key, value in wished.items():
        if (
            key.lower().startswith("aws:")
            or not 1 <= len(key) <= 128
            or len(value) > 256
            or not (_TAG.fullmatch(key) and _TAG.fullmatch(value))
        ):
            raise WishRefused(
                f"AWS cannot take the tag {key[:80]!r} with the value {value[:80]!r}.",
                hint="Letters, digits, spaces and + - = . _ : / @, names up to 128, values up to 256 of them; not 'aws:…'.",
            )
    return dict(wished)


def _check_key(key: str) -> None:
    if key and not re.fullmatch(r"(ssh-rsa|ssh-ed25519) [A-Za-z0-9+/]+={0,3}( .*)?\s*", key):
        raise WishRefused("AWS cannot take this SSH key.", hint="It has to be RSA or ED25519: ssh-keygen -t ed25519")


def _user_data(text: str) -> bytes:
    """Return the start-up script as it fits; cloud-init unpacks gzip."""
    raw = text.encode()
    if len(raw) <= USER_DATA_BYTES:
        return raw
    packed = gzip.compress(raw, mtime=0)
    if len(packed) > USER_DATA_BYTES:
        raise WishRefused(
            f"The start-up script has {len(packed)} bytes when packed; AWS takes {USER_DATA_BYTES}.",
            hint="Fetch the large part of it in the script: --cloud-startup-script",
        )
    return packed
