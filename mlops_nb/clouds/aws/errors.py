"""What AWS answers when something cannot be, in our words: which quota, which permission, what to try.

Codes: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlops_nb.clouds.base import (
    CloudError,
    CloudThrottled,
    CloudUnreachable,
    NoCapacity,
    NoCredentials,
    PermissionMissing,
    QuotaExceeded,
    WishRefused,
)

LONGEST = 400

_CAPACITY = {
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientCapacity",
    "InsufficientCapacityOnOutpost",
    "InsufficientFreeAddressesInSubnet",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
    "VolumeTypeNotAvailableInZone",
    "Unsupported",  # this type is not in this zone
}
_QUOTAS = {
    "VcpuLimitExceeded": "",
    "MaxSpotInstanceCountExceeded": "",
    "MaxFleetCountExceeded": "",
    "InstanceLimitExceeded": "",
    "VolumeLimitExceeded": "Storage for gp3 volumes",
    "MaxIOPSLimitExceeded": "IOPS of volumes",
    "SecurityGroupLimitExceeded": "Security groups per Region",
    "ResourceLimitExceeded": "",
    "NetworkInterfaceLimitExceeded": "Network interfaces per Region",
    "PrivateIpAddressLimitExceeded": "",
}
_KEYS = {
    "AuthFailure",
    "Blocked",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
_REFUSALS = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "UnauthorizedAccess", "OptInRequired"}
_THROTTLES = {
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "SlowDown",
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "PriorRequestNotComplete",
}
_BROKEN = {
    "InternalError",
    "InternalFailure",
    "InternalServiceError",
    "ServiceUnavailable",
    "Unavailable",
    "RequestTimeout",
    "ServerInternal",
}
_MISSING = re.compile(r".*\.(Malformed|Unavailable)$|.*NotFound(Exception)?$|^(Invalid|Malformed|Missing|Unknown|Unsupported|Incorrect).*")
GONE = re.compile(
    r"Invalid(InstanceID|Group|GroupId|KeyPair|VolumeID|Volume|NetworkInterfaceID|SpotInstanceRequestID|AllocationID)\.NotFound$"
)
"""Codes by which AWS says that what was to be removed is not there."""
QUOTA_PAGE = "https://console.aws.amazon.com/servicequotas/home/services/ec2/quotas"

_FAMILIES = (
    (("g", "vt"), "G and VT"),
    (("p",), "P"),
    (("inf",), "Inf"),
    (("trn",), "Trn"),
    (("dl",), "DL"),
    (("hpc",), "HPC"),
    (("u-", "u7"), "High Memory"),
    (("f",), "F"),
    (("x",), "X"),
)


def vcpu_quota(type: str, *, spot: bool) -> str:
    """Return the name of the quota that machines of a type count against, as the Service Quotas console has it."""
    letters = re.match(r"u-|u7|[a-z]+", type)
    word = letters[0] if letters else ""
    family = next((name for words, name in _FAMILIES if word in words), "Standard (A, C, D, H, I, M, R, T, Z)")
    return f"All {family} Spot Instance Requests" if spot else f"Running On-Demand {family} instances"


def short(text: str) -> str:
    """Return a message of AWS or botocore in one line of printable characters, at most `LONGEST`."""
    # AWS appends what only an administrator can decode, some thousand characters long.
    text = re.sub(r"\s*Encoded authorization failure message:.*", "", text, flags=re.DOTALL)
    text = " ".join(re.sub(r"[^\x20-\x7e]", " ", text).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def refused(code: str, message: str, status: int, operation: str, service: str, region: str, params: Mapping[str, Any]) -> CloudError:
    """Return the error for an answer of AWS."""
    said = short(message) or code
    type_, spot = str(params.get("InstanceType", "")), "InstanceMarketOptions" in params
    if code in _CAPACITY:
        hint = f"Try other zones or types: --zones {region}a,{region}b --types …"
        if code == "SpotMaxPriceTooLow":
            hint = "Offer more, or leave out --cloud-spot-price: the list price is then the limit."
        return NoCapacity(f"AWS has no {type_ or 'machine'} there now ({code}): {said}", hint=hint, provider_code=code)
    if code in _QUOTAS or (code.endswith("LimitExceeded") and code not in _THROTTLES):
        quota = _QUOTAS.get(code) or (vcpu_quota(type_, spot=spot) if type_ else code)
        return QuotaExceeded(
            f"The quota '{quota}' of this account in {region} is used up ({code}): {said}",
            hint=f"Ask for more at {QUOTA_PAGE} or try another type, or another region: --cloud-region",
            provider_code=code,
            quota=quota,
            everywhere=code != "PrivateIpAddressLimitExceeded",
        )
    if code in _KEYS:
        expired = "xpired" in code
        what = "have expired" if expired else "are not accepted"
        hint = "Log in again (aws sso login), or renew AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN."
        if code == "AuthFailure":
            hint += f" Or the region {region} is not enabled for this account."
        return NoCredentials(f"The credentials for AWS {what} in {region} ({code}): {said}", hint=hint, provider_code=code)
    if code in _REFUSALS:
        action = re.search(r"perform: ([A-Za-z0-9-]+:[A-Za-z]+)", message)
        permission = action[1] if action else f"{service}:{operation}"
        hint = f"Ask an administrator to allow {permission}; `mlops-nb runner doctor` looks at all that is needed."
        if code == "OptInRequired":
            hint = f"Subscribe to the image, or enable the region {region}, in the AWS console."
        return PermissionMissing(
            f"AWS does not allow {permission} in {region}: {said}", hint=hint, provider_code=code, permission=permission
        )
    if code in _THROTTLES:
        return CloudThrottled(
            f"AWS is asked too often for {operation} in {region} ({code}), also after several tries.",
            hint="Try again in a minute, or launch fewer at once.",
            provider_code=code,
        )
    if code in _BROKEN or status >= 500:
        return CloudUnreachable(
            f"AWS could not answer {operation} in {region} ({code}): {said}", hint="Try again in a minute.", provider_code=code
        )
    if _MISSING.match(code):
        return WishRefused(f"AWS refuses {operation} in {region} ({code}): {said}", hint=_what_to_change(code, params), provider_code=code)
    return CloudError(f"AWS refuses {operation} in {region} ({code}): {said}", provider_code=code)


def _what_to_change(code: str, params: Mapping[str, Any]) -> str | None:
    if code.startswith("InvalidAMIID"):
        return f"The image {params.get('ImageId', '')} is not in this region: give one that is (--cloud-image), or leave it out."
    if code.startswith(("InvalidSubnet", "InvalidVpc")):
        return "Give a subnet of this region: --cloud-aws-subnet"
    if code.startswith(("InvalidGroup", "InvalidSecurityGroup")):
        return "Give a security group of this region and of the subnet's network: --cloud-aws-security-group"
    if code.startswith(("InvalidKey", "InvalidKeyPair")):
        return "The SSH key has to be RSA or ED25519: ssh-keygen -t ed25519"
    return None


def unreachable(error: BaseException, operation: str, region: str) -> CloudUnreachable:
    """Return the error for a call that got no answer, or none that can be read."""
    return CloudUnreachable(
        f"AWS did not answer {operation} in {region}: {short(str(error)) or type(error).__name__}",
        hint="Look at the network and its proxy (https_proxy), and at whether the region's name is right.",
    )


def no_credentials(error: BaseException) -> NoCredentials:
    """Return the error for an account that nobody has told us."""
    return NoCredentials(
        f"There are no credentials for AWS: {short(str(error))}",
        hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role is given (OIDC, instance profile).",
    )
