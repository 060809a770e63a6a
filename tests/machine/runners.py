"""Runners as a launch would give them to the generator of start-up scripts."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_nb.core.runners import AgentWish, CloudName, Guards, MachineWish, Offer, Runner, RunnerRequest

NOW = 1_790_000_000.0
TICKET = "the-ticket-of-this-machine"
SERVER = "https://mlops.example.org/mlops"


def runner(cloud: CloudName = "aws", *, seconds: float = 14_400, gpus: int = 0, agent: AgentWish | None = None, **request: Any) -> Runner:
    """Return a runner that may live for so many seconds from `NOW`."""
    asked = RunnerRequest(
        name="gpu-1",
        cloud=cloud,
        machine=MachineWish(gpus=gpus),
        agent=agent or AgentWish(kind="github", repository="https://github.com/o/r"),
        guards=Guards(),
        **request,
    )
    made = Runner(id="0123456789abcdef" * 2, installation="f" * 32, request=asked, created=NOW, updated=NOW, hard_stop=NOW + seconds)
    return msgspec.structs.replace(made, offer=Offer(cloud=cloud, type="m6i.large", region="eu-west-1", gpus=gpus))
