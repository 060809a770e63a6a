"""Machines, forges and jobs that mean ill: what they say is shown and used without harm, and no secret is told."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from mlops_nb.cli import commands
from mlops_nb.core.formatting import log_text
from mlops_nb.core.redaction import Redactor
from mlops_nb.errors import InvalidInput, PermissionDenied
from mlops_nb.execution.course import Value
from mlops_nb.runners.agents.binaries import install
from mlops_nb.runners.agents.enrolment import Binary, Enrolment
from mlops_nb.runners.jobs.delivering import VALUES
from mlops_nb.runners.jobs.handle import JobFailed, RemoteJob
from mlops_nb.runners.machine.log import MachineLog
from mlops_nb.runners.machine.settings import AgentSettings
from mlops_nb.store.rest import RestStore
from tests.contract.runner_contract import new_job
from tests.runners.jobs.conftest import World, world
from tests.runners.jobs.machines import new_runner
from tests.team import TOKEN, TeamProcess

__all__ = ["world"]
HOSTILE = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\r::add-mask::x\n ::error::y\n##[command]z\x9b31m\nplain é"
CANARY = "CANARY-9f27c1-SECRET"


def test_a_log_gives_no_commands_to_a_terminal_or_to_a_ci(world: World) -> None:
    runner = new_runner(world.ledger)
    world.ledger.append_log(runner.id, 0, HOSTILE)
    done = CliRunner().invoke(commands, ["runner", "logs", runner.id])
    console = io.StringIO()
    MachineLog(console, {}).write(HOSTILE)
    for text in (done.output, console.getvalue()):
        assert not set("\x1b\x07\r\x9b") & set(text)
        assert not any(line.lstrip().startswith("::") or "##[" in line for line in text.split("\n"))
        assert "red" in text and "plain é" in text and "31mred" not in text and "title" not in text
    assert log_text("a\n\nb\n") == "a\n\nb\n"


def test_a_job_that_is_named_by_an_enemy_is_one_plain_line(world: World) -> None:
    job = world.ledger.add_job(new_job(None, name="n\x1b[2J\n::x", reason="r\x1b]0;t\x07\n::error::"))
    seen = RemoteJob(world.ledger, world.store, job)
    for text in (seen.status_line(), repr(seen), str(JobFailed(job))):
        assert "\x1b" not in text and "\n" not in text.partition("mlops-nb runner attach")[0].rstrip().rstrip("→ ")


def test_a_machine_gives_back_no_names_but_those_that_were_asked_for(world: World) -> None:
    run = world.store.create_run("0")
    job = world.ledger.add_job(new_job(None, run_id=run.run_id, returns=["wanted"]))
    pickle = b"cos\nsystem\n(S'touch owned'\ntR."
    import hashlib

    values = {"print": Value(file="v.pkl", sha256=hashlib.sha256(pickle).hexdigest(), kind="int")}
    world.store.write_artifact(run.run_id, "runner/results/v.pkl", io.BytesIO(pickle))
    world.store.write_artifact(run.run_id, VALUES, io.BytesIO(msgspec.json.encode(values)))
    assert RemoteJob(world.ledger, world.store, job).values() == {}
    assert not (world.folder / "owned").exists()


@pytest.mark.parametrize("version", ["../../../x", "a/b", "", "..", "\x1b[2J"])
def test_a_forge_cannot_choose_where_its_agent_is_unpacked(tmp_path: Path, version: str) -> None:
    with pytest.raises(InvalidInput, match="calls its agent"):
        install(Binary(version=version, url="https://127.0.0.1:1/x.tar.gz", sha256="0" * 64), tmp_path / "cache", print)
    with pytest.raises(InvalidInput):
        install(Binary(version="1", url="https://127.0.0.1:1/x", sha256="../../" + "0" * 58), tmp_path / "cache", print)
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_a_notebook_prints_is_not_in_the_machines_log() -> None:
    console = io.StringIO()
    MachineLog(console, {}).write(f"environ({{'MLOPS_NB_TRACKING_TOKEN': 'mnba_{'x' * 43}'}})\nTOKEN mnba_{'y' * 43}")
    assert "mnba_" not in console.getvalue()
    assert Redactor({})("mnba_x is how they begin") == "mnba_x is how they begin"


def test_what_holds_a_secret_does_not_show_it() -> None:
    settings = AgentSettings(runner_id="r", name="n", cloud="aws", max_seconds=1, ticket=CANARY, mailbox=CANARY, secret=CANARY)
    enrolment = Enrolment(kind="github", server_url="https://x", place="p", id="1", name="n", secret=CANARY, facts={"oauth": CANARY})
    assert CANARY not in f"{settings!r}{settings}{enrolment!r}{enrolment}{settings.without_secrets()!r}"
    with pytest.raises(InvalidInput) as caught:
        Enrolment.decode(b'{"kind": "' + CANARY.encode() + b'"}')
    assert CANARY not in str(caught.value)


def test_a_secret_is_in_no_answer_event_log_or_file_but_that_of_its_ticket(team: TeamProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    user, stranger = RestStore(team.url, TOKEN), RestStore(team.url)
    runner = new_runner(user.runners)
    ticket = user.runners.issue_ticket(runner.id, CANARY.encode())
    kept = _database(team.folder)
    assert CANARY.encode() not in kept and ticket.encode() not in kept
    _, token, secret = stranger.runners.redeem(ticket)
    assert secret == CANARY.encode()
    for wrong in (ticket, *(f"{number:043d}" for number in range(50))):
        with pytest.raises(PermissionDenied) as refused:
            stranger.runners.redeem(wrong)
        assert wrong not in str(refused.value)
    assert user.runners.get(runner.id).state == runner.state  # guesses change nothing
    pages = [user.runners.get(runner.id), user.runners.list(), list(user.runners.events(runner.id)), user.runners.log(runner.id)]
    told = json.dumps([msgspec.to_builtins(page) for page in pages]) + repr(pages) + caplog.text + repr(user.__dict__.get("runners"))
    said = (team.folder / "log").read_text() + (team.folder / "output").read_text()
    everything = told.encode() + said.encode() + _database(team.folder)
    for one in (CANARY, ticket, token):
        assert one.encode() not in everything
    open_to_others = [
        path for path in team.folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o077 and b"PRIVATE" in path.read_bytes()
    ]
    keys = [path for path in team.folder.rglob("*") if path.is_file() and ("secret" in path.name or "key" in path.name)]
    assert open_to_others == [] and all(path.stat().st_mode & 0o077 == 0 for path in keys)


def _database(folder: Path) -> bytes:
    """Return all bytes of the databases of a server, after what waits in their journals was written."""
    found = [path for path in folder.rglob("*.db") if path.is_file()]
    assert found
    for path in found:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(FULL)")
    return b"".join(path.read_bytes() for path in folder.rglob("*.db*") if path.is_file())
