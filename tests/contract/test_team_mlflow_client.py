"""What an unmodified MLflow client does against a Jupyter server it also does against a team's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.test_mlflow_client import *  # noqa: F403 - its fixture and its tests, with the server below
from tests.team import TeamProcess


class _Server:
    """A team server with the token that the client of those tests sends."""

    def __init__(self, team: TeamProcess) -> None:
        self.mount = team.mount
        self.environment = team.environment
        self._team = team

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        return self._team.request(method, path, token="the-servers-token", **kwargs)


@pytest.fixture(scope="module")
def jupyter(start_team: Callable[..., TeamProcess]) -> _Server:
    return _Server(start_team(MLOPS_NB_SERVER_TOKEN="the-servers-token"))
