"""What is in moto's AWS, seen and changed from inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.clouds.aws_calls import Call

ACCOUNT = "123456789012"
CANONICAL = "099720109477"
AMAZON = "137112412989"
DEEP_LEARNING = "898082745236"
IMPOSTOR = "666666666666"

UBUNTU = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{arch}-server-{date}"
GPU = "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04) {date}"


def _image(ami: str, name: str, owner: str, arch: str, created: str) -> dict[str, Any]:
    return {
        "ami_id": ami,
        "name": name,
        "description": name,
        "owner_id": owner,
        "public": True,
        "virtualization_type": "hvm",
        "architecture": {"amd64": "x86_64"}.get(arch, arch),
        "state": "available",
        "image_type": "machine",
        "image_location": f"amazon/{name}",
        "hypervisor": "xen",
        "root_device_name": "/dev/sda1",
        "root_device_type": "ebs",
        "sriov": "simple",
        "creation_date": created,
    }


IMAGES = (
    _image("ami-0000000000000old1", UBUNTU.format(arch="amd64", date="20250101"), CANONICAL, "amd64", "2025-01-01T00:00:00.000Z"),
    _image("ami-0000000000000new1", UBUNTU.format(arch="amd64", date="20260901"), CANONICAL, "amd64", "2026-09-01T00:00:00.000Z"),
    _image("ami-0000000000000arm1", UBUNTU.format(arch="arm64", date="20260901"), CANONICAL, "arm64", "2026-09-01T00:00:00.000Z"),
    _image("ami-000000000000evil1", UBUNTU.format(arch="amd64", date="20261101"), IMPOSTOR, "amd64", "2026-11-01T00:00:00.000Z"),
    _image("ami-0000000000000gpu1", GPU.format(date="20260901"), DEEP_LEARNING, "amd64", "2026-09-01T00:00:00.000Z"),
    _image("ami-000000000000evil2", GPU.format(date="20261101"), IMPOSTOR, "amd64", "2026-11-01T00:00:00.000Z"),
)
UBUNTU_AMD64, UBUNTU_ARM64, GPU_AMD64 = "ami-0000000000000new1", "ami-0000000000000arm1", "ami-0000000000000gpu1"
PARAMETERS = {
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id": UBUNTU_AMD64,
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id": UBUNTU_ARM64,
    "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id": GPU_AMD64,
}


@dataclass(frozen=True)
class Thing:
    """Something in the account; `over`: it is ended and only still shown."""

    kind: str
    id: str
    region: str
    state: str = ""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    over: bool = False


def backend(region: str) -> Any:
    from moto.ec2.models import ec2_backends

    return ec2_backends[ACCOUNT][region]


def _regions() -> Iterator[tuple[str, Any]]:
    from moto.ec2.models import ec2_backends

    yield from list(ec2_backends[ACCOUNT].items())


def reset() -> None:
    """Empty the account, with checks on that moto leaves off, and with the images and parameters that AWS has."""
    import moto.ec2.models.amis as amis
    from moto import settings
    from moto.backends import get_backend
    from moto.ec2.models.core import TaggedEC2Resource

    settings.ENABLE_AMI_VALIDATION = True
    settings.EC2_ENABLE_INSTANCE_TYPE_VALIDATION = True
    amis.AMIS[:] = [dict(image) for image in IMAGES]
    amis.load_resource = _no_images  # type: ignore[assignment]
    TaggedEC2Resource.get_tags = _own_tags  # type: ignore[method-assign]
    for service in ("ec2", "ssm", "iam", "s3", "sts"):
        for account in list(get_backend(service).values()):  # type: ignore[call-overload]
            for each in list(account.values()):
                each.reset()
            account.clear()


def _no_images(path: str) -> Any:
    """Leave out moto's own images, some thousands of old ones that take seconds to read."""
    raise FileNotFoundError(path)


def _own_tags(thing: Any) -> list[dict[str, str]]:
    """Return a thing's tags at once: moto looks through those of all things, which takes a second where there are a thousand."""
    from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

    kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(thing.id), "") if thing.id else ""
    held = thing.ec2_backend.tags.get(thing.id, {}) if thing.id else {}
    return [{"resource_id": thing.id, "key": key, "value": value, "resource_type": kind} for key, value in list(held.items())]


def add_parameters(region: str) -> None:
    """Put the public parameters with the ids of images into a region."""
    from moto.core.utils import utcnow
    from moto.ssm.models import Parameter, ssm_backends

    held = ssm_backends[ACCOUNT][region]._parameters
    for name, value in PARAMETERS.items():
        if not dict.get(held, name):
            held[name].append(Parameter(ACCOUNT, name, value, "String", None, None, None, utcnow(), 1, "aws:ec2:image"))


def _tags(thing: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in thing.get_tags()}


def things() -> Sequence[Thing]:
    found: list[Thing] = []
    for region, held in _regions():
        for instance in held.all_instances():
            over = instance.state == "terminated"
            found.append(Thing("machine", instance.id, region, instance.state, _tags(instance), over))
        found += (Thing("disk", volume.id, region, volume.status, _tags(volume)) for volume in held.volumes.values())
        found += (Thing("interface", eni.id, region, eni.status, _tags(eni)) for eni in held.enis.values())
        found += (Thing("address", address.allocation_id, region, "", _tags(address)) for address in held.addresses)
        for groups in held.groups.values():
            found += (Thing("group", group.id, region, "", _tags(group)) for group in groups.values())
        found += (Thing("key", key.key_name, region, "", _tags(key)) for key in held.key_pairs.values())
        for request in held.spot_instance_requests.values():
            found.append(Thing("spot", request.id, region, request.state, _tags(request), request.state not in ("open", "active")))
    return found


def add_foreign(count: int, regions: Sequence[str], tags: Mapping[str, str]) -> None:
    for number in range(count):
        held = backend(regions[number % len(regions)])
        zone = f"{held.region_name}a"
        mine = {"Name": f"mlops-nb-{number}", "owner": "somebody else", **tags}
        if number % 3 == 0:
            options = {"instance_type": "t3.micro", "is_instance_type_default": False, "region_name": held.region_name, "placement": zone}
            held.run_instances(UBUNTU_AMD64, 1, None, [], tags={"instance": mine, "volume": mine}, nics=[], **options)
        elif number % 3 == 1:
            held.create_volume(size=8, zone_name=zone).add_tags(mine)
        else:
            held.create_security_group(f"mlops-nb-foreign-{number}", "of somebody else", held.get_default_vpc().id, tags=mine)


def _instance(machine: str) -> tuple[Any, Any] | None:
    for _, held in _regions():
        for instance in held.all_instances():
            if instance.id == machine:
                return held, instance
    return None


def end(machine: str, region: str, reason: str) -> None:
    from moto.ec2.models.instances import StateReason

    instance = backend(region).get_instance(machine)
    instance.terminate()
    instance.state_reason = StateReason(f"{reason}: ended by the test", reason)


def shut_down(machine: str, region: str) -> bool:
    """Show an ended machine as shutting down; False where there is none."""
    found = _instance(machine)
    if found is None or found[0].region_name != region:
        return False
    instance = found[1]
    instance._state.name, instance._state.code = "shutting-down", 32
    return True


def ended(machine: str) -> None:
    if found := _instance(machine):
        found[1]._state.name, found[1]._state.code = "terminated", 48


def forget_ended() -> None:
    """Take out the machines that are ended, as AWS does an hour later: each of them makes every look longer."""
    for _, held in _regions():
        for key, reservation in list(held.reservations.items()):
            if all(instance.state == "terminated" for instance in reservation.instances):
                del held.reservations[key]


def group_in_use(group: str, region: str) -> bool:
    return any(
        instance.state != "terminated" and group in {each.id for nic in instance.nics.values() for each in nic.group_set}
        for instance in backend(region).all_instances()
    )


def unknown_profile(call: Call) -> str:
    """Return the instance profile that a call names and that is not there; "" where all is well."""
    from moto.iam.models import iam_backends

    arn, name = call.form.get("IamInstanceProfile.Arn", ""), call.form.get("IamInstanceProfile.Name", "")
    known = iam_backends[ACCOUNT]["aws"].instance_profiles.values()
    if any(arn == profile.arn or name == profile.name for profile in known):
        return ""
    return arn or name


def finish_machine(machine: str, call: Call) -> None:
    """Do what moto leaves out: tags of the interface, and that it goes with its machine."""
    held, instance = _instance(machine) or (None, None)
    assert held is not None and instance is not None
    for nic in instance.nics.values():
        nic.add_tags(call.tags("network-interface"))
        nic.delete_on_termination = call.form.get("NetworkInterface.1.DeleteOnTermination", "true") == "true"


def hide(region: str, machines: Sequence[str]) -> Mapping[str, Any]:
    held = backend(region) if machines else None
    hidden: dict[str, Any] = {}
    for key, reservation in list(held.reservations.items()) if held else ():
        if any(instance.id in machines for instance in reservation.instances):
            hidden[key] = held.reservations.pop(key)
    return hidden


def show(region: str, hidden: Mapping[str, Any]) -> None:
    if hidden:
        backend(region).reservations.update(hidden)
