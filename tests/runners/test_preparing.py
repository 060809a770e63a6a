"""A machine gets its secret over a connection of its own: by a ticket, a mailbox, a Kubernetes Secret, or as a secret good for one job."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import s3fs
from msgspec.structs import replace

from mlops_nb.clouds.base import Note
from mlops_nb.clouds.ssh import reachable
from mlops_nb.core.runners import AgentWish, CloudName, Offer, Resource, Runner, RunnerEvent, RunnerRequest
from mlops_nb.errors import InvalidInput, NotSupported, PermissionDenied
from mlops_nb.runners.opening import name_installation
from mlops_nb.runners.preparing import ENV_PACKAGE, MachinePreparation
from mlops_nb.store.open import open_store
from mlops_nb.store.runners import RunnerLedger
from tests.object_stores import BUCKET, S3Server
from tests.object_stores import s3 as s3

NOW = 1_800_000_000.0
SECRET = b"registration of one agent, good for one job"
SERVER = "https://mlops.example.org/mlops"
GITHUB = AgentWish(kind="github", repository="https://github.com/acme/churn")
GITLAB = AgentWish(kind="gitlab", repository="https://gitlab.com/acme/churn")
NOTEBOOK = AgentWish()
PACKAGE = {ENV_PACKAGE: "mlops-nb==1.0"}


class Enroller:
    """A forge's place, as far as it is asked here."""

    def __init__(self) -> None:
        self.enrolled: list[str] = []

    def enrol(self, runner: Runner, note: Note) -> bytes:
        note(Resource(kind="registration", id="", region=runner.request.agent.repository))
        self.enrolled.append(runner.name)
        return SECRET


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[RunnerLedger]:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    assert store is not None
    yield store.runners
    store.close()


def runner_in(ledger: RunnerLedger, cloud: CloudName, agent: AgentWish) -> Runner:
    runner = Runner(
        id="5e" * 16,
        installation="1a" * 16,
        request=RunnerRequest(name="gpu-1", cloud=cloud, agent=agent, host="box" if cloud == "ssh" else ""),
        created=NOW,
        updated=NOW,
        offer=Offer(cloud=cloud, type="m", region="us-west-2", hourly=0.1),
        hard_stop=NOW + 3600,
    )
    return ledger.add(runner, RunnerEvent(time=NOW, kind="requested"))


def prepared(ledger: RunnerLedger, runner: Runner, **given: Any) -> tuple[MachinePreparation, Mapping[str, str], str]:
    given.setdefault("environment", PACKAGE)
    preparation = MachinePreparation(ledger, lambda url: Enroller(), clock=lambda: NOW, **given)
    noted: list[Resource] = []
    brought = preparation.enrol(runner, noted.append)
    assert bool(noted) is (runner.request.agent.kind != "notebook"), "what may be at the forge is noted before it is"
    return preparation, brought, plain(preparation.script(runner))


def plain(script: str) -> str:
    """Return a script, unpacked where it is packed: a secret must not hide in it."""
    packed = re.search(r"<<'(\w+)' \| gzip -dc\n(.*?)\n\s*\1", script, re.DOTALL)
    return script if packed is None else script + gzip.decompress(base64.b64decode("".join(packed[2].split()))).decode()


def settings_in(script: str) -> dict[str, Any]:
    line = next(line for line in script.splitlines() if line.strip().startswith('{"runner_id"'))
    return dict(json.loads(line))


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure", "ssh"])
@pytest.mark.parametrize("agent", [GITHUB, GITLAB, NOTEBOOK], ids=lambda agent: agent.kind)
def test_behind_a_server_a_machine_gets_a_ticket_and_no_secret(ledger: RunnerLedger, cloud: CloudName, agent: AgentWish) -> None:
    runner = runner_in(ledger, cloud, agent)
    _, brought, script = prepared(ledger, runner, server=SERVER)
    assert brought == {}
    assert base64.b64encode(SECRET).decode() not in script
    settings = settings_in(script)
    assert settings["server"] == SERVER
    found, token, secret = ledger.redeem(settings["ticket"])
    assert (found.id, secret) == (runner.id, b"" if agent is NOTEBOOK else SECRET)
    assert token not in script
    with pytest.raises(PermissionDenied):
        ledger.redeem(settings["ticket"])


def test_in_kubernetes_the_ticket_is_in_a_secret_object_and_not_in_the_pod(ledger: RunnerLedger) -> None:
    runner = runner_in(ledger, "kubernetes", NOTEBOOK)
    _, brought, script = prepared(ledger, runner, server=SERVER)
    assert ledger.redeem(brought["ticket"])[0].id == runner.id
    assert brought["ticket"] not in script


def test_in_kubernetes_without_a_server_the_secret_object_carries_the_registration(ledger: RunnerLedger) -> None:
    _, brought, script = prepared(ledger, runner_in(ledger, "kubernetes", GITLAB))
    assert base64.b64decode(brought["secret"]) == SECRET
    assert brought["secret"] not in script


def test_without_a_server_github_s_registration_goes_along_because_it_is_good_for_one_job(ledger: RunnerLedger) -> None:
    _, _, script = prepared(ledger, runner_in(ledger, "aws", GITHUB))
    assert base64.b64decode(settings_in(script)["secret"]) == SECRET


@pytest.mark.parametrize("server", ["", "http://127.0.0.1:8888/mlops", "http://mlops.example.org"])
@pytest.mark.parametrize("agent", [GITLAB, NOTEBOOK], ids=lambda agent: agent.kind)
def test_what_is_good_for_longer_needs_a_way_and_nothing_is_registered_before(ledger: RunnerLedger, server: str, agent: AgentWish) -> None:
    enroller = Enroller()
    preparation = MachinePreparation(ledger, lambda url: enroller, server=server, environment=PACKAGE)
    with pytest.raises(NotSupported, match="MLOPS_NB_SERVER_URL"):
        preparation.enrol(runner_in(ledger, "aws", agent), lambda resource: None)
    assert enroller.enrolled == []


def test_a_runner_that_can_serve_one_job_only_is_said_to(ledger: RunnerLedger) -> None:
    preparation = MachinePreparation(ledger, lambda url: Enroller(), environment=PACKAGE)
    request = runner_in(ledger, "aws", GITHUB).request
    assert "serves one job" in preparation.check(request)
    assert preparation.check(replace(request, agent=replace(GITHUB, single=True))) == ""
    assert MachinePreparation(ledger, lambda url: Enroller(), server=SERVER, environment=PACKAGE).check(request) == ""


def test_a_server_on_this_machine_serves_runners_on_this_machine(ledger: RunnerLedger) -> None:
    runner = runner_in(ledger, "local", NOTEBOOK)
    _, _, script = prepared(ledger, runner, server="http://127.0.0.1:8888/mlops", environment={})
    assert settings_in(script)["server"] == "http://127.0.0.1:8888/mlops"
    assert "mlops_nb.cli" in script, "nothing is installed where we are"


def test_a_host_behind_ssh_reaches_a_server_on_this_machine_by_its_tunnel(ledger: RunnerLedger) -> None:
    runner = runner_in(ledger, "ssh", NOTEBOOK)
    _, _, script = prepared(ledger, runner, server="http://127.0.0.1:8888/mlops")
    assert settings_in(script)["server"] == reachable("http://127.0.0.1:8888/mlops", runner.id) != "http://127.0.0.1:8888/mlops"


def test_a_server_without_encryption_is_refused_before_the_ticket_travels(ledger: RunnerLedger) -> None:
    with pytest.raises(InvalidInput, match="encryption"):
        prepared(ledger, runner_in(ledger, "ssh", NOTEBOOK), server="http://mlops.example.org")


def test_the_address_that_machines_see_can_be_another(ledger: RunnerLedger) -> None:
    environment = {**PACKAGE, "MLOPS_NB_SERVER_URL": "https://public.example.org/"}
    _, _, script = prepared(ledger, runner_in(ledger, "aws", GITLAB), server="http://127.0.0.1:1", environment=environment)
    assert settings_in(script)["server"] == "https://public.example.org"


def test_a_mailbox_is_read_by_its_signed_address_and_is_empty_afterwards(
    ledger: RunnerLedger, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # others of this process may have spoken to another server
    runner = runner_in(ledger, "aws", GITLAB)
    preparation, _, script = prepared(ledger, runner, mailbox=f"s3://{BUCKET}/letters")
    assert base64.b64encode(SECRET).decode() not in script
    address = settings_in(script)["mailbox"]
    assert requests.get(address, timeout=10).content == SECRET
    preparation.forget()
    assert s3.keys() == []
    assert requests.get(address, timeout=10).status_code == 404
    preparation.forget()


def test_a_mailbox_without_signed_addresses_is_refused(ledger: RunnerLedger, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="signed addresses"):
        prepared(ledger, runner_in(ledger, "aws", GITLAB), mailbox=f"file://{tmp_path}")


def test_in_ci_runners_belong_to_the_repository_and_not_to_the_store_of_a_job() -> None:
    ci = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/churn", "GITHUB_SERVER_URL": "https://github.com"}
    one, again, other, named = dict(ci), dict(ci), {**ci, "GITHUB_REPOSITORY": "acme/other"}, {**ci, "MLOPS_NB_INSTALLATION": "mine"}
    nowhere: dict[str, str] = {}
    for environment in (one, again, other, named, nowhere):
        name_installation(environment)
    assert one == again and re.fullmatch(r"[0-9a-f]{32}", one["MLOPS_NB_INSTALLATION"])
    assert other["MLOPS_NB_INSTALLATION"] != one["MLOPS_NB_INSTALLATION"]
    assert named["MLOPS_NB_INSTALLATION"] == "mine" and nowhere == {}
