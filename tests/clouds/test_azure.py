"""Azure: against a Resource Manager over TLS, with asynchronous operations and the faults of real life."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from mlops_nb.clouds.azure import AzureCloud
from tests.clouds.azure_world import SUBSCRIPTION, AzureWorld
from tests.clouds.renting import RentingContract


class TokenOfTheTest:
    """A credential that the loopback knows."""

    def __init__(self, token: str = "token-of-the-test") -> None:
        self._token = token

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(self._token, int(time.time()) + 3600)


def a_cloud(world: AzureWorld, token: str = "token-of-the-test") -> AzureCloud:
    return AzureCloud(
        subscription=SUBSCRIPTION,
        endpoint=world.endpoint,
        credential=TokenOfTheTest(token),
        verify=world.certificate,
        prices=world.shop.address,
        pause=0.001,
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AzureWorld]:
    world = AzureWorld(tmp_path)
    yield world
    world.stop()


@pytest.fixture
def cloud(world: AzureWorld) -> AzureCloud:
    return a_cloud(world)


class TestAzureContract(RentingContract):
    pass
