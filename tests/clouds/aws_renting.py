"""The AWS of the tests as the contract of rented clouds looks at it, and clouds and offers of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlops_nb.clouds.aws.cloud import AwsCloud
from mlops_nb.core.runners import MachineWish, Offer
from tests.clouds.aws_calls import Call
from tests.clouds.aws_state import Thing
from tests.clouds.aws_world import AwsWorld

REGION = "us-west-1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBQmcXAy1e7dPzQ2lAeqfWnSEqQ9J7lqKZbyqT3aNw6o user@host"


class ContractWorld(AwsWorld):
    """The account as the contract of rented clouds looks at it."""

    page = 0
    foreign: Mapping[str, Thing] = {}

    @property
    def problems(self) -> list[str]:
        return []

    def changing(self) -> Iterator[Any]:
        return (_Posted(call) for call in self.calls if call.changes)

    def count(self) -> int:
        return len([thing for thing in self.left() if thing.kind != "interface"])

    def add_foreign(self, count: int, **more: Any) -> Mapping[str, Thing]:
        self.foreign = super().add_foreign(count, regions=(REGION, "us-east-1"), **more)
        return self.foreign

    def run_out(self, offer: Offer) -> None:
        self.no_capacity(zone=offer.zone, type=offer.type)

    def exceed_quota(self, offer: Offer) -> None:
        message = "You have requested more vCPU capacity than your current vCPU limit of 0 allows for the instance bucket."
        self.refuse("VcpuLimitExceeded", message, action="RunInstances")

    def hide(self) -> None:
        self.refuse("UnauthorizedOperation", "You are not authorized to perform this operation.", status=403, region=REGION)

    def snapshot_of_foreign(self) -> object:
        there = self.snapshot()
        return {key: there.get(key) for key in self.foreign}


class _Posted:
    """A call under the name that the contract knows calls by that make something."""

    def __init__(self, call: Call) -> None:
        self.method = "POST" if call.action.startswith(("Create", "Run", "Import")) else "DELETE"


def a_cloud(world: AwsWorld, **options: Any) -> AwsCloud:
    given: dict[str, Any] = {"settle": 0, "sleep": lambda seconds: None, "read_timeout": 5.0, **options}
    return AwsCloud(world.environment, **given)


def an_offer(cloud: AwsCloud, **wish: Any) -> Offer:
    return cloud.offers(MachineWish(**wish))[0]


def asked(world: AwsWorld, action: str) -> Mapping[str, str]:
    """Return the parameters of the last call of this name."""
    return next(call.form for call in reversed(world.calls) if call.action == action)
