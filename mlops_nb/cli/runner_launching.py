"""From the options of `mlops-nb runner launch` to a runner."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from mlops_nb.core.runners import AgentWish, RunnerRequest
from mlops_nb.errors import InvalidInput, MlopsError

if TYPE_CHECKING:
    from mlops_nb.runners.agents.registrar import ForgeRegistrar
    from mlops_nb.runners.base import Plan


def plan_from(given: dict[str, Any]) -> Plan:
    """Return what a launch with these options would do."""
    from mlops_nb.fluent import runners

    return runners.plan(request_from(given))


def launch_from(given: dict[str, Any], *, as_json: bool) -> None:
    """Launch a runner with these options, or say which one is there already."""
    from mlops_nb.cli.output import say
    from mlops_nb.fluent import runners
    from mlops_nb.magics.runner_cards import runner_line
    from mlops_nb.runners.agents.registrar import check_reuse, registrar_of

    check_reuse(single=given["single"], reuse=given["reuse"], reuse_idle=given["reuse_idle"])
    request = request_from(given)
    agent = request.agent
    if agent.kind != "notebook" and (given["reuse"] or given["reuse_idle"]):
        registrar = registrar_of(agent.repository, driver=given["driver"], token=given["driver_token"])
        there = registrar.reusable(request.name, agent.labels, reuse=given["reuse"], reuse_idle=given["reuse_idle"])
        if there is not None:
            say(there, f"✓ {there.name} is there and has the labels {', '.join(agent.labels)}: nothing was launched.", as_json=as_json)
            return
    if request.cloud == "local" and agent.kind != "notebook":
        _run_here(request, registrar_of(agent.repository, driver=given["driver"], token=given["driver_token"]), given["workdir"])
        return
    runner = runners.launch(
        request,
        wait=given["wait"],
        tell=lambda line: click.echo(f"· {line}", err=True),
        mailbox=given["mailbox"] or "",
        ssh_public_key=public_key_of(given["cloud_ssh_private"]) if given["cloud_ssh_private"] else "",
        token=given["driver_token"],
    )
    say(runner, runner_line(runner), as_json=as_json)


def _run_here(request: RunnerRequest, registrar: ForgeRegistrar, workdir: str | None) -> None:
    """Be the runner: the agent works in the foreground until it is done, and what it did is told as it happens."""
    import getpass
    import socket
    from pathlib import Path

    from mlops_nb.clouds.local import machines_folder
    from mlops_nb.fluent.runners import ledger
    from mlops_nb.runners.agents.here import run_here

    folder = Path(workdir).expanduser().absolute() if workdir else machines_folder().with_name("agents")
    ended = run_here(request, registrar, ledger(), environment=os.environ, folder=folder, user=getpass.getuser(), host=socket.gethostname())
    if ended.failed:
        raise MlopsError(f"{request.name} has ended: {ended.reason}", hint="What it said is above, and in: mlops-nb runner logs NAME")


def request_from(given: dict[str, Any]) -> RunnerRequest:
    """Return the request of the options, with the repository that the CI or git here say."""
    from mlops_nb.fluent import runners
    from mlops_nb.runners.requests import cloud_of, labels_of, request_of

    cloud_of(given["cloud"] or "local")  # said before anything about repositories
    agent = AgentWish(
        labels=labels_of(given["labels"]),
        single=given["single"],
        retry=not given["no_retry"],
        docker_volumes=given["docker_volumes"],
        docker_image=given["docker_image"],
        executor=given["executor"],
    )
    if given["work"] == "ci":
        agent = runners.ci_agent(agent, repo=given["repo"], driver=given["driver"])
    return request_of(
        name=given["name"],
        on=given["cloud"] or "local",
        agent=agent,
        idle=given["idle_timeout"],
        max_hours=given["max_hours"],
        max_cost=given["max_cost"],
        region=given["cloud_region"],
        zones=given["zones"],
        types=given["types"],
        gpu=given["cloud_gpu"],
        disk_gb=given["cloud_hdd_size"],
        spot=given["cloud_spot"],
        spot_price=given["cloud_spot_price"],
        image=given["cloud_image"],
        node_selector=given["cloud_kubernetes_node_selector"],
        metadata=given["cloud_metadata"],
        permission_set=given["cloud_permission_set"],
        startup_script=given["cloud_startup_script"],
        ssh=bool(given["cloud_ssh_private"]),
        security_group=given["cloud_aws_security_group"],
        subnet=given["subnet"],
        namespace=given["cloud_kubernetes_namespace"],
    )


def public_key_of(pem: str) -> str:
    """Return the public half of a private SSH key, in OpenSSH's format; the private one goes nowhere.

    Raises:
        InvalidInput: If it is no private key, or has a pass phrase.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    text = pem.replace("\\n", "\n").strip().encode() + os.linesep.encode()
    loaders = (serialization.load_ssh_private_key, serialization.load_pem_private_key)
    for load in loaders:
        try:
            key: PrivateKeyTypes = load(text, password=None)
        except (ValueError, TypeError):
            continue
        form = serialization.PublicFormat.OpenSSH
        return key.public_key().public_bytes(serialization.Encoding.OpenSSH, form).decode()
    raise InvalidInput("--cloud-ssh-private is no private key without a pass phrase.", hint='Give its text: "$(cat ~/.ssh/id_ed25519)"')
