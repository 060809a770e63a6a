"""What the doctor looks at in an account of AWS; nothing is changed: what would be is asked for as a dry run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mlops_nb.clouds import sizes
from mlops_nb.clouds.aws import images, tags
from mlops_nb.clouds.aws.account import Account
from mlops_nb.clouds.aws.errors import QUOTA_PAGE
from mlops_nb.clouds.base import CloudError, Finding, NoCredentials, PermissionMissing
from mlops_nb.core.runners import TAG_INSTALLATION

_QUOTAS = {
    "L-1216C47A": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    "L-34B43A08": "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
    "L-DB2E81BA": "Running On-Demand G and VT instances",
    "L-3819A6DF": "All G and VT Spot Instance Requests",
    "L-417A185B": "Running On-Demand P instances",
    "L-7212CCBC": "All P Spot Instance Requests",
}
_NOTHING = "0123456789abcdef0"


def check(account: Account) -> list[Finding]:
    """Look at credentials, permissions, the network, the image and the limits, in this order; without credentials at these alone."""
    region = account.given_region or sizes.region_of("aws", "")
    try:
        who = account.call("sts", region, "get_caller_identity")
    except NoCredentials as error:
        return [Finding(what="AWS credentials", ok=False, text=error.message, hint=error.hint or "")]
    except CloudError as error:
        return [Finding(what="AWS", ok=False, text=error.message, hint=error.hint or "")]
    return [
        Finding(what="AWS credentials", ok=True, text=f"{who.get('Arn', '?')} in account {who.get('Account', '?')}"),
        *_permissions(account, region),
        _looked("AWS network", lambda: _network(account, region)),
        _looked("AWS image", lambda: f"{images.can_be_found(account, region)} in {region}"),
        *_quotas(account, region),
    ]


def _looked(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what=what, ok=True, text=look())
    except CloudError as error:
        return Finding(what=what, ok=False, text=error.message, hint=error.hint or "")


def _network(account: Account, region: str) -> str:
    filters = [{"Name": "default-for-az", "Values": ["true"]}]
    found = list(account.pages("ec2", region, "describe_subnets", "Subnets", Filters=filters))
    if not found:
        raise CloudError(f"There is no default network in {region}.", hint="aws ec2 create-default-vpc, or give one: --cloud-aws-subnet")
    return f"a default subnet in each of {', '.join(sorted(str(subnet['AvailabilityZone']) for subnet in found))}"


def _permissions(account: Account, region: str) -> list[Finding]:
    missing: list[tuple[str, str]] = []
    unclear: list[str] = []
    for operation, params in _dry_runs():
        try:
            account.call("ec2", region, operation, DryRun=True, **params)
        except PermissionMissing as error:
            missing.append((error.permission, error.hint or ""))
        except CloudError as error:
            # A permission is looked at first: what else AWS has to say, such as that there is nothing of this id, means that we may.
            if not error.provider_code:
                unclear.append(f"{operation}: {error.message}")
    if missing:
        names = ", ".join(dict.fromkeys(name for name, _ in missing))
        return [Finding(what="AWS permissions", ok=False, text=f"Not allowed in {region}: {names}", hint=missing[0][1])]
    if unclear:
        return [Finding(what="AWS permissions", ok=False, text=f"Could not be looked at: {unclear[0]}", hint="Try again in a minute.")]
    return [Finding(what="AWS permissions", ok=True, text=f"all that a launch and its end need, in {region}")]


def _dry_runs() -> Iterator[tuple[str, dict[str, Any]]]:
    ours = {TAG_INSTALLATION: "doctor"}
    for operation in (
        *("describe_instances", "describe_volumes", "describe_network_interfaces", "describe_addresses", "describe_security_groups"),
        *(
            "describe_key_pairs",
            "describe_spot_instance_requests",
            "describe_subnets",
            "describe_instance_type_offerings",
            "describe_regions",
        ),
    ):
        yield operation, {}
    yield "describe_instance_types", {"InstanceTypes": ["t3.small"]}
    yield "describe_images", {"Owners": ["self"]}
    machine = {"InstanceType": "t3.small", "MinCount": 1, "MaxCount": 1, "ImageId": f"ami-{_NOTHING}"}
    yield "run_instances", {**machine, "TagSpecifications": tags.specified(ours, "instance", "volume")}
    group = {"GroupName": "mlops-nb-doctor", "Description": "dry run", "TagSpecifications": tags.specified(ours, "security-group")}
    yield "create_security_group", group
    yield "terminate_instances", {"InstanceIds": [f"i-{_NOTHING}"]}
    yield "delete_security_group", {"GroupId": f"sg-{_NOTHING}"}
    yield "delete_volume", {"VolumeId": f"vol-{_NOTHING}"}
    yield "delete_network_interface", {"NetworkInterfaceId": f"eni-{_NOTHING}"}
    yield "get_console_output", {"InstanceId": f"i-{_NOTHING}"}


def _quotas(account: Account, region: str) -> list[Finding]:
    limits: dict[str, float] = {}
    for code, name in _QUOTAS.items():
        try:
            quota = account.call("service-quotas", region, "get_service_quota", ServiceCode="ec2", QuotaCode=code)["Quota"]
        except CloudError as error:
            if not limits:
                hint = "It is no obstacle: a launch says which limit stops it."
                return [Finding(what="AWS quotas", ok=True, text=f"They cannot be seen: {error.message}", hint=hint)]
            continue
        limits[name] = float(quota.get("Value", 0))
    return [
        Finding(
            what="AWS quota",
            ok=value > 0,
            text=f"{name}: {value:g} CPUs in {region}",
            hint="" if value > 0 else f"None can be launched. Ask for more at {QUOTA_PAGE}",
        )
        for name, value in limits.items()
    ]
