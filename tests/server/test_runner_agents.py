"""What the machine of a runner may ask of a server: by its ticket once, by its agent's token what is its own, and nothing else."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from mlops_nb.api.gate import Access
from mlops_nb.api.operation import AgentScope, Permission
from mlops_nb.api.table import OPERATIONS
from mlops_nb.core.events import MetricLogged, RunStarted
from mlops_nb.core.runner_jobs import Job, JobState
from mlops_nb.core.runners import Heartbeat, Runner, RunnerState
from mlops_nb.errors import InvalidInput, PermissionDenied
from mlops_nb.store.rest import RestStore
from tests import team as teams
from tests.contract.runner_contract import event, new_job, new_runner

JUPYTERS_TOKEN = "the-servers-token"


class Machine:
    """A runner whose machine has exchanged its ticket, on a real server; `user` is who may everything there."""

    def __init__(self, server: Any, user: RestStore) -> None:
        self.server, self.user = server, user
        runner = user.runners.add(new_runner(user="launcher"), event())
        runner = user.runners.save(replace(runner, state=RunnerState.CREATING))
        self.runner: Runner = user.runners.save(replace(runner, state=RunnerState.BOOTING))
        self.ticket = user.runners.issue_ticket(self.runner.id, b"secret \xff")
        _, self.token, self.secret = RestStore(server.mount).runners.redeem(self.ticket)
        self.store = RestStore(server.mount, token=self.token)

    def job(self) -> Job:
        run = self.user.create_run("0")
        return self.user.runners.add_job(new_job(self.runner, run_id=run.run_id))

    def end(self) -> None:
        now = self.user.runners.get(self.runner.id)
        now = self.user.runners.save(replace(now, state=RunnerState.DESTROYING))
        self.user.runners.save(replace(now, state=RunnerState.GONE, ended=time.time()))


@pytest.fixture(params=["jupyter", "team"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def user(server: Any) -> Iterator[RestStore]:
    store = RestStore(server.mount, token=teams.TOKEN if isinstance(server, teams.TeamProcess) else JUPYTERS_TOKEN)
    yield store
    store.close()


@pytest.fixture
def machine(server: Any, user: RestStore) -> Machine:
    return Machine(server, user)


def test_a_machine_comes_in_with_its_ticket_alone_and_only_once(machine: Machine) -> None:
    assert machine.secret == b"secret \xff"
    assert machine.store.runners.agent(machine.token).id == machine.runner.id
    for ticket in (machine.ticket, "", "x", machine.token):
        answer = machine.server.request("POST", "/api/v1/runners/-/redeem", token=None, json={"ticket": ticket})
        assert answer.status_code == 403 and answer.json()["error_code"] == "PERMISSION_DENIED"
    [refused] = [one for one in machine.user.runners.events(machine.runner.id) if one.kind == "ticket refused"]
    assert "redeemed already" in refused.text


def test_an_agents_token_opens_no_operation_but_those_of_its_scopes(machine: Machine) -> None:
    other = Machine(machine.server, machine.user)
    foreign = {"runner_id": other.runner.id, "runner": other.runner.id, "job_id": other.job().id, "run_id": other.job().run_id}
    foreign["job"] = foreign["job_id"]
    body = {"run_ids": [foreign["run_id"]], "source": "s", "events": [], "beat": {"state": "idle"}, "offset": 0, "text": "x"}
    opened = []
    for operation in OPERATIONS:
        if operation.permission is Permission.TICKET or operation.agent in (AgentScope.ANY, AgentScope.NEW_RUN):
            continue
        for method, path in operation.routes:
            place = re.sub(r"\{(\w+)(?:\.\.\.)?\}", lambda match: foreign.get(match[1], "x"), path)
            answer = machine.server.request(method, place, token=machine.token, json=None if operation.upload else body)
            # A request that does not decode has reached nothing, and whether the server lives is told to everybody.
            if answer.status_code not in (400, 403) and path != "/health":
                opened.append((operation.name, answer.status_code, answer.text[:100]))
    assert opened == []


def test_an_agent_works_on_its_jobs_with_its_token_alone(machine: Machine) -> None:
    job, ledger = machine.job(), machine.store.runners
    assert ledger.heartbeat(machine.runner.id, Heartbeat(state="idle")).lease > 0
    assert ledger.append_log(machine.runner.id, 0, "ready\n") == 6
    taken = ledger.claim_job(machine.runner.id, claim="1")
    assert taken is not None and taken.id == job.id
    machine.store.ingest(job.run_id, f"journal of {job.run_id}", [MetricLogged(seq=1, ts=1, key="loss", value=0.5, step=1)])
    machine.store.write_artifact(job.run_id, "runner/executed.ipynb", io.BytesIO(b"{}"))
    assert b"".join(machine.store.read_artifact(job.run_id, "runner/executed.ipynb")) == b"{}"
    machine.store.heartbeat([job.run_id])
    ledger.save_job(replace(taken, state=JobState.DONE, cell=3))
    assert machine.user.runners.job(job.id).state is JobState.DONE
    assert machine.user.metric_history(job.run_id, "loss").items[0].value == 0.5
    assert machine.user.runners.log(machine.runner.id).text == "ready\n"


def test_an_agent_may_begin_runs_and_write_only_those(machine: Machine) -> None:
    theirs = machine.user.create_run("0").run_id
    begun = [RunStarted(seq=1, ts=1, experiment="Default", name="inner")]
    mine = machine.runner.id[::-1]
    machine.store.ingest(mine, f"journal of {mine}", begun)
    assert machine.store.get_run(mine).name == "inner"
    for refused in (
        lambda: machine.store.ingest(theirs, f"journal of {theirs}", begun),
        lambda: machine.store.write_artifact(theirs, "a.txt", io.BytesIO(b"x")),
        lambda: machine.store.read_artifact(theirs, "a.txt"),
        lambda: machine.store.heartbeat([theirs]),
        lambda: machine.store.get_run(theirs),
        lambda: machine.store.list_experiments(),
        lambda: machine.store.runners.list(),
        lambda: machine.store.runners.issue_ticket(machine.runner.id, b"x"),
        lambda: machine.store.runners.save(machine.user.runners.get(machine.runner.id)),
    ):
        with pytest.raises(PermissionDenied):
            refused()


def test_an_agent_gives_its_job_to_no_other_runner_and_takes_none_of_theirs(machine: Machine) -> None:
    other = Machine(machine.server, machine.user)
    mine, theirs = machine.job(), other.job()
    for job in (replace(mine, runner_id=other.runner.id), theirs, replace(theirs, runner_id=machine.runner.id)):
        with pytest.raises(PermissionDenied):
            machine.store.runners.save_job(job)
    with pytest.raises(PermissionDenied):
        machine.store.runners.claim_job(other.runner.id)
    assert machine.store.runners.save_job(replace(mine, state=JobState.INTERRUPTED, runner_id="")).runner_id == ""


def test_the_token_of_an_agent_whose_runner_is_gone_opens_nothing(machine: Machine) -> None:
    machine.end()
    for ask in (
        lambda: machine.store.runners.heartbeat(machine.runner.id, Heartbeat(state="idle")),
        lambda: machine.store.runners.agent(machine.token),
        machine.store.status,
    ):
        with pytest.raises(PermissionDenied):
            ask()


def test_a_farewell_ends_the_runner_at_once(machine: Machine) -> None:
    """What is hosted removes the machine when its agent says that it leaves; here there is none left to remove."""
    machine.store.runners.heartbeat(machine.runner.id, Heartbeat(state="idle"))
    machine.store.runners.heartbeat(machine.runner.id, Heartbeat(state="idle", leaving="idle for 5 min"))
    deadline = time.monotonic() + 20
    while (seen := machine.user.runners.get(machine.runner.id)).state is not RunnerState.GONE:
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)
    assert seen.reason == "idle for 5 min"


def test_a_user_of_the_server_has_no_agent(server: Any, user: RestStore) -> None:
    with pytest.raises(PermissionDenied, match="no runner"):
        user.runners.agent(user._token or "")


def test_a_page_cannot_send_an_endless_ticket(team: teams.TeamProcess) -> None:
    answer = team.request("POST", "/api/v1/runners/-/redeem", token=None, json={"ticket": "x" * 100_000})
    assert answer.status_code == 413
    answer = team.request("PUT", "/api/v1/runs/x/artifacts/files/a", token="mnba_" + "x" * 43, data=b"x" * 1_000_000)
    assert answer.status_code == 403


def test_a_readers_token_sees_runners_and_changes_none(team: teams.TeamProcess) -> None:
    assert team.request("GET", "/api/v1/runners", token=teams.READ_TOKEN).status_code == 200
    for operation in OPERATIONS:
        if operation.name.startswith(("runners.", "runnerJobs.", "machines.")) and operation.permission is Permission.WRITE:
            for method, path in operation.routes:
                assert team.request(method, re.sub(r"\{\w+\}", "x", path), token=teams.READ_TOKEN, json={}).status_code == 403


def test_a_teams_server_runs_nothing_on_its_own_machine(team: teams.TeamProcess) -> None:
    for cloud in ("local", "ssh"):
        answer = team.request("POST", "/api/v1/runners/-/launch", json={"request": {"name": "x", "cloud": cloud, "host": "h"}})
        assert answer.status_code == 501 and "launches no runners on" in answer.json()["message"]


def test_no_token_of_a_server_looks_like_an_agents() -> None:
    with pytest.raises(InvalidInput, match="mnba_"):
        Access(tokens=("mnba_x",)).check()
