"""Which image a machine of AWS starts from. Its owner is always pinned: a name alone, anybody can give to theirs.

Without a wish: Ubuntu 24.04 of Canonical; for NVIDIA's GPUs, AWS's Deep Learning Base image, which has the driver.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_nb.clouds.aws.account import Account
from mlops_nb.clouds.base import CloudError, PermissionMissing, WishRefused
from mlops_nb.core.records import Record
from mlops_nb.core.runners import Offer

_CANONICAL: Mapping[str, str] = {"aws": "099720109477", "aws-cn": "837727238323", "aws-us-gov": "513442679011"}
_DEEP_LEARNING = "898082745236"
_UBUNTU_NAME = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{arch}-server-*"
_UBUNTU_PARAMETER = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{arch}/hvm/ebs-gp3/ami-id"
_GPU_NAME = "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04) *"
_GPU_PARAMETER = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
# The driver of the image above does not know them any more.
_OLD_GPUS = re.compile(r"(p2|p3|p3dn|g3|g3s|g4ad)\.")
# Of names of types: the letters after the generation say the maker of the CPU, g is Graviton (m7g, im4gn, not g4dn).
_ARM = re.compile(r"(a1|[a-z]+\d+[a-z]*g[a-z]*)\.")
_OWNED = re.compile(r"(?:[^@\s]+@)?(?P<owner>\d{12}|self|amazon):(?:(?P<arch>x86_64|arm64):)?(?P<name>.+)")


class Image(Record, frozen=True, kw_only=True):
    """An image: its id, the device of its root disk, and how much that has to hold at least (GB)."""

    id: str
    root: str
    least_gb: int


def architecture(type: str) -> str:
    """Return the architecture of a machine type as AWS calls it: x86_64 or arm64."""
    return "arm64" if _ARM.match(type) else "x86_64"


def _partition(region: str) -> str:
    return next((part for start, part in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov")) if region.startswith(start)), "aws")


def resolve(account: Account, wish: str, offer: Offer) -> Image:
    """Return the image for a machine.

    Args:
        wish: `ami-…`, `ssm:PARAMETER`, `OWNER:NAME` with wildcards in the name (`099720109477:ubuntu/images/*noble*`; CML's
            `USER@OWNER:ARCHITECTURE:NAME` too), `self:NAME`; "": ours.

    Raises:
        WishRefused: If there is no such image, or the wish names no owner.
    """
    region = offer.region
    if not wish:
        return _ours(account, offer)
    if re.fullmatch(r"ami-[0-9a-z]+", wish):
        return _image(_described(account, region, wish, ImageIds=[wish]), wish, region)
    if wish.startswith(("ssm:", "resolve:ssm:", "/")):
        name = wish.removeprefix("resolve:").removeprefix("ssm:")
        found = _parameter(account, region, name)
        return _image(_described(account, region, wish, ImageIds=[found]), wish, region)
    if match := _OWNED.fullmatch(wish):
        arch = match["arch"] or architecture(offer.type)
        return _image(_named(account, region, match["owner"], match["name"], arch), wish, region)
    raise WishRefused(
        f"The image {wish[:120]!r} names no owner; anybody can publish an image of that name.",
        hint="Give ami-…, ssm:PARAMETER or OWNER:NAME: --cloud-image '099720109477:ubuntu/images/*noble-24.04-amd64*'",
    )


def _ours(account: Account, offer: Offer) -> Image:
    region, arch, part = offer.region, architecture(offer.type), _partition(offer.region)
    if offer.gpu and arch == "x86_64" and part == "aws" and not _OLD_GPUS.match(offer.type):
        found = _public(account, region, _GPU_PARAMETER, _DEEP_LEARNING, _GPU_NAME, arch)
        if found:
            return _image(found, "of AWS for GPUs", region)
    word = "arm64" if arch == "arm64" else "amd64"
    found = _public(account, region, _UBUNTU_PARAMETER.format(arch=word), _CANONICAL[part], _UBUNTU_NAME.format(arch=word), arch)
    return _image(found, f"Ubuntu 24.04 of Canonical for {arch}", region)


def _public(account: Account, region: str, parameter: str, owner: str, name: str, arch: str) -> Sequence[dict[str, Any]]:
    """Return the newest image that a public parameter or, where that cannot be read, its name gives; never of another owner."""
    try:
        found = _parameter(account, region, parameter)
    except (PermissionMissing, WishRefused):
        return _named(account, region, owner, name, arch)
    return _described(account, region, found, ImageIds=[found], Owners=[owner]) or _named(account, region, owner, name, arch)


def _parameter(account: Account, region: str, name: str) -> str:
    try:
        return str(account.call("ssm", region, "get_parameter", Name=name)["Parameter"]["Value"])
    except WishRefused as error:
        raise WishRefused(f"There is no parameter '{name}' in {region}.", hint="Give the image itself: --cloud-image ami-…") from error


def _named(account: Account, region: str, owner: str, name: str, arch: str) -> Sequence[dict[str, Any]]:
    filters = [{"Name": "name", "Values": [name]}, {"Name": "architecture", "Values": [arch]}, {"Name": "state", "Values": ["available"]}]
    return _described(account, region, name, Owners=[owner], Filters=filters)


def _described(account: Account, region: str, what: str, **params: Any) -> Sequence[dict[str, Any]]:
    try:
        found = list(account.pages("ec2", region, "describe_images", "Images", **params))
    except WishRefused as error:
        raise WishRefused(
            f"There is no image {what} in {region}.", hint="Images belong to a region: --cloud-region, or another image."
        ) from error
    return sorted(found, key=lambda image: str(image.get("CreationDate", "")), reverse=True)


def _image(found: Sequence[dict[str, Any]], wish: str, region: str) -> Image:
    if not found:
        raise WishRefused(f"There is no image {wish} in {region}.", hint="Give one that is there: --cloud-image ami-…")
    image = found[0]
    root = str(image.get("RootDeviceName") or "/dev/sda1")
    disks = {str(disk.get("DeviceName")): disk.get("Ebs", {}) for disk in image.get("BlockDeviceMappings", ())}
    return Image(id=str(image["ImageId"]), root=root, least_gb=int(disks.get(root, {}).get("VolumeSize") or 8))


def can_be_found(account: Account, region: str) -> str:
    """Return the id of our image for a plain machine, for the doctor.

    Raises:
        CloudError: If it cannot be found.
    """
    try:
        return _ours(account, Offer(cloud="aws", type="t3.small", region=region)).id
    except CloudError as error:
        raise type(error)(error.message, hint="Give an image yourself: --cloud-image ami-…") from error
