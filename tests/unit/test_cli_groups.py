"""The command groups: MLflow's spellings, JSON for programs, errors of one line."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from mlops_nb.cli import commands, main
from mlops_nb.cli.gc import duration_ms
from mlops_nb.cli.output import table
from mlops_nb.core.formatting import width
from mlops_nb.errors import MlopsError
from mlops_nb.store.sql.sqlite import sqlite_driver
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.session import Session

Run = Callable[..., Any]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Run a command in an empty project of its own."""
    for name in ("MLOPS_NB_TRACKING_URI", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sessions, "current", Session())
    yield lambda *arguments: CliRunner().invoke(commands, [str(argument) for argument in arguments])
    sessions.current.close()


@pytest.fixture
def ask(invoke: Callable[..., Result]) -> Run:
    """Run a command that must work, and return its JSON."""

    def run(*arguments: object) -> Any:
        result = invoke(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


def test_the_life_of_an_experiment(ask: Run, invoke: Callable[..., Result]) -> None:
    number = ask("experiments", "create", "-n", "first")["experiment_id"]
    assert ask("experiments", "get", "-x", number)["name"] == "first"
    assert ask("experiments", "get", "-n", "first")["experiment_id"] == number
    ask("experiments", "rename", "-x", number, "--new-name", "second")
    ask("experiments", "delete", "-x", number)
    assert [one["name"] for one in ask("experiments", "search", "-v", "deleted_only")] == ["second"]
    assert isinstance(invoke("experiments", "delete", "-x", number).exception, MlopsError)
    ask("experiments", "restore", "-x", number)
    assert {one["name"] for one in ask("experiments", "search")} == {"second", "Default"}
    assert len(ask("experiments", "search", "--max-results", 1)) == 1
    assert "second" in invoke("experiments", "search").output


def test_the_life_of_a_run(ask: Run, invoke: Callable[..., Result]) -> None:
    made = ask("runs", "create", "--experiment-name", "x", "--run-name", "r", "-t", "a=b=c", "--status", "failed", "--description", "why")
    run = ask("runs", "describe", "--run-id", made["run_id"])
    assert (run["status"], run["name"], run["tags"]["a"], run["tags"]["mlflow.note.content"]) == ("FAILED", "r", "b=c", "why")
    child = ask("runs", "create", "--experiment-id", made["experiment_id"], "--parent-run-id", made["run_id"])
    assert ask("runs", "describe", "--run-id", child["run_id"])["tags"]["mlflow.parentRunId"] == made["run_id"]
    ask("runs", "delete", "--run-id", made["run_id"])
    assert [r["run_id"] for r in ask("runs", "list", "--experiment-id", made["experiment_id"])] == [child["run_id"]]
    assert [r["run_id"] for r in ask("runs", "list", "--experiment-id", made["experiment_id"], "-v", "deleted_only")] == [made["run_id"]]
    ask("runs", "restore", "--run-id", made["run_id"])
    assert len(ask("runs", "list", "--experiment-id", made["experiment_id"], "--view", "all")) == 2
    assert "Date" in invoke("runs", "list", "--experiment-id", made["experiment_id"]).output


def test_artifacts_go_up_and_come_down(ask: Run, tmp_path: Path) -> None:
    run_id = ask("runs", "create", "--experiment-name", "x")["run_id"]
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "a.txt").write_text("a")
    (tmp_path / "data" / "deep" / "b.txt").write_text("b")
    assert ask("artifacts", "log-artifact", "-l", "data/a.txt", "-r", run_id, "-a", "one")["artifacts"] == ["one/a.txt"]
    assert ask("artifacts", "log-artifacts", "-l", "data", "-r", run_id)["artifacts"] == ["a.txt", "deep/b.txt"]
    assert [one["path"] for one in ask("artifacts", "list", "-r", run_id)] == ["a.txt", "deep", "one"]
    assert [one["path"] for one in ask("artifacts", "list", "-r", run_id, "-a", "deep")] == ["deep/b.txt"]
    whole = Path(ask("artifacts", "download", "-r", run_id, "-d", "down")["path"])
    assert sorted(p.relative_to(whole).as_posix() for p in whole.rglob("*") if p.is_file()) == ["a.txt", "deep/b.txt", "one/a.txt"]
    folder = Path(ask("artifacts", "download", "-r", run_id, "-a", "deep", "-d", "other")["path"])
    assert (folder.name, (folder / "b.txt").read_text()) == ("deep", "b")
    for uri in (f"runs:/{run_id}/one/a.txt", f"mlflow-artifacts:/1/{run_id}/artifacts/one/a.txt"):
        assert Path(ask("artifacts", "download", "-u", uri)["path"]).read_text() == "a"


def test_runs_come_as_csv(ask: Run, invoke: Callable[..., Result], tmp_path: Path) -> None:
    made = ask("runs", "create", "--experiment-name", "x", "-t", "note=a,b")
    number = made["experiment_id"]
    (row,) = csv.DictReader(io.StringIO(invoke("experiments", "csv", "-x", number).stdout))
    assert (row["run_id"], row["tags.note"]) == (made["run_id"], "a,b")
    assert ask("experiments", "csv", "-x", number, "-o", "runs.csv") == {"filename": "runs.csv", "runs": 1}
    assert next(csv.DictReader((tmp_path / "runs.csv").open()))["run_id"] == made["run_id"]


def test_gc_removes_what_is_deleted_and_old_enough(ask: Run) -> None:
    run_id = ask("runs", "create", "--experiment-name", "x")["run_id"]
    ask("runs", "delete", "--run-id", run_id)
    assert ask("gc", "--older-than", "1d")["runs"] == []
    assert ask("gc", "--run-ids", run_id)["runs"] == [run_id]


def test_a_dry_run_of_gc_says_what_would_go_and_removes_nothing(ask: Run, invoke: Callable[..., Result]) -> None:
    made = ask("runs", "create", "--experiment-name", "x")
    ask("runs", "delete", "--run-id", made["run_id"])
    assert ask("gc", "--dry-run")["runs"] == [made["run_id"]]
    ask("experiments", "delete", "-x", made["experiment_id"])
    assert "would be removed" in invoke("gc", "--dry-run").stdout
    foreseen, done = ask("gc", "--dry-run"), ask("gc")
    assert (foreseen["runs"], foreseen["experiments"]) == (done["runs"], done["experiments"]) == ([made["run_id"]], [made["experiment_id"]])


def test_export_and_import_give_the_same_runs(ask: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_id = ask("runs", "create", "--experiment-name", "x")["run_id"]
    assert ask("export", "mlflow", "out.db")["runs"] == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / "other")
    assert ask("import", "mlflow", "../out.db")["new_runs"] == 1
    assert ask("import", "mlflow", "../out.db")["new_runs"] == 0
    assert ask("runs", "describe", "--run-id", run_id)["status"] == "FINISHED"


def test_db_upgrade_says_the_schema(ask: Run) -> None:
    ask("experiments", "create", "-n", "x")
    assert ask("db", "upgrade")["experiments"] == 2
    assert ask("db", "upgrade", "sqlite:///.mlops/store.db")["runs"] == 0


def test_db_check_reads_the_store_and_says_what_is_wrong(ask: Run, invoke: Callable[..., Result]) -> None:
    ask("runs", "create", "--experiment-name", "x")
    assert ask("db", "check") == {"faults": []}
    with contextlib.closing(sqlite_driver().connect(".mlops/store.db")) as database, database:
        database.execute("INSERT INTO metric_keys VALUES (7, 'loss')")
        database.execute("INSERT INTO metric_points (run, key, step, timestamp, bits) VALUES (1, 7, 0, 0, 0)")
        database.execute("INSERT INTO tags VALUES (99, 'k', 'v')")
    result = invoke("db", "check")
    assert result.exit_code == 1
    assert "1 points belong to no metric" in result.output and "a row of tags belongs to nothing in runs" in result.output


def test_reading_makes_no_files(invoke: Callable[..., Result], tmp_path: Path) -> None:
    for command in (["experiments", "search"], ["runs", "list", "--experiment-id", "0"], ["gc"], ["export", "mlflow", "out.db"]):
        assert invoke(*command).exit_code == 0
    assert not (tmp_path / ".mlops").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["experiments", "get"], "Give either"),
        (["runs", "create"], "Give either"),
        (["runs", "create", "--experiment-name", "x", "-t", "novalue"], "key=value"),
        (["runs", "create", "--experiment-name", "x", "-t", "a=1", "-t", "a=2"], "twice"),
        (["runs", "list"], "--experiment-id"),
        (["artifacts", "download"], "Give either"),
        (["gc", "--older-than", "soon"], "7d|8h"),
        (["experiments", "search", "-v", "some"], "active_only"),
    ],
)
def test_wrong_usage_ends_with_status_2(invoke: Callable[..., Result], command: list[str], said: str) -> None:
    result = invoke(*command)
    assert result.exit_code == 2
    assert any(word in result.output for word in said.split("|"))


@pytest.mark.parametrize(
    "command",
    [
        ["runs", "describe", "--run-id", "nothing"],
        ["experiments", "delete", "-x", "77"],
        ["experiments", "delete", "-x", "0"],
        ["artifacts", "list", "-r", "nothing"],
        ["artifacts", "download", "-u", "s3://bucket/x"],
        ["gc", "--run-ids", "nothing"],
        ["gc", "--tracking-uri", "http://127.0.0.1:1"],
        ["db", "upgrade", "mysql://host/x"],
        ["import", "mlflow", "nothing.db"],
        ["import", "mlflow", "mysql+nodriver://host/x"],
        ["export", "mlflow", "/proc/x.db"],
        ["experiments", "csv", "-x", "0", "-o", "/proc/x/y.csv"],
        ["gc", "--backend-store-uri", "sqlite:///nothing.db"],
        ["gc", "--jobs"],
        ["gc", "--workspace", "w"],
        ["db", "upgrade", "sqlite:///nothing.db"],
        ["server", "--port", "0", "--backend-store-uri", "mysql://host/x"],
        ["server", "--port", "0", "--backend-store-uri", "./mlruns"],
        ["server", "--port", "0", "--allowed-hosts", ","],
        ["server", "--port", "0", "--cors-allowed-origins", "host"],
        ["server", "--port", "0", "--static-prefix", "a b"],
        ["server", "--port", "0", "--dev"],
        ["server", "--port", "0", "--app-name", "basic-auth"],
        ["server", "--port", "0", "--default-artifact-root", "s3://a", "--artifacts-destination", "s3://b"],
    ],
)
def test_errors_are_one_line_on_stderr_and_status_1(
    command: list[str], invoke: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["mlops-nb", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (1, "")
    assert len(said.err.splitlines()) == 1 and said.err.startswith("✗ ")


@pytest.mark.parametrize("command", [["db", "upgrade"], ["server", "--port", "0", "--backend-store-uri"]])
def test_no_error_shows_a_password(command: list[str], invoke: Callable[..., Result]) -> None:
    error = invoke(*command, "mysql://user:secret@host/x").exception
    assert isinstance(error, MlopsError) and "secret" not in str(error) and "host" in str(error)


def test_an_environment_that_names_no_store_is_refused(invoke: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    invoke("experiments", "create", "-n", "mine")
    monkeypatch.setenv("MLOPS_NB_TRACKING_URI", "garbage")
    for command in (["experiments", "delete", "-x", "1"], ["gc"]):
        assert "garbage" in str(invoke(*command).exception)


def test_what_is_not_there_comes_with_how_to_find_what_is(invoke: Callable[..., Result]) -> None:
    run_id = json.loads(invoke("runs", "create", "--experiment-name", "x").stdout)["run_id"]
    for command, remedy in (
        (["experiments", "get", "-x", "9"], "experiments search"),
        (["runs", "list", "--experiment-id", "9"], "experiments search"),
        (["runs", "describe", "--run-id", "9"], "track ls"),
        (["artifacts", "list", "-r", "9"], "track ls"),
        (["artifacts", "download", "-r", run_id, "-a", "x"], f"artifacts list -r {run_id}"),
    ):
        assert remedy in str(invoke(*command).exception), command


def test_mlflows_own_database_is_named_as_such_and_left_as_it_is(invoke: Callable[..., Result], tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num)")
        database.execute("INSERT INTO alembic_version VALUES ('dc11669786a5')")
    before = (tmp_path / "mlflow.db").read_bytes()
    assert "import mlflow" in str(invoke("server", "--port", "0", "--backend-store-uri", "sqlite:///mlflow.db").exception)
    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_servers_take_the_options_of_mlflows(invoke: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    from mlops_nb.api import processes

    asked: list[processes.Settings] = []
    monkeypatch.setattr(processes, "serve", lambda settings, ready: asked.append(settings))
    for options, files in (
        (["--default-artifact-root", "s3://a/b"], "s3://a/b"),
        (["--default-artifact-root", "mlflow-artifacts:/", "--artifacts-destination", "s3://a"], "s3://a"),
        (["--serve-artifacts", "--disable-workspaces"], None),
    ):
        result = invoke("server", "-h", "127.0.0.1", "-p", "0", "-w", "2", *options)
        assert result.exit_code == 0, result.output
        assert (asked[-1].host, asked[-1].workers, asked[-1].mount.served.artifact_root) == ("127.0.0.1", 2, files)


def test_tables_stay_aligned_and_give_a_terminal_no_commands(ask: Run, invoke: Callable[..., Result]) -> None:
    for name in ("plain", "実験 😀", "two\nlines \x1b[31mred\u202e"):
        ask("runs", "create", "--experiment-name", "x", "--run-name", name)
    lines = invoke("runs", "list", "--experiment-id", "1").stdout.splitlines()
    assert len(lines) == 5
    ends = {width(line) for line in lines[1:]}
    assert len(ends) == 1 and not any(ord(character) < 32 or character == "\u202e" for line in lines for character in line)
    assert len(invoke("track", "ls").stdout.splitlines()) == 4


def test_tables_fit_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    shown = table(("Date", "Name", "ID"), [("2026-11-21 16:12:39", "long 名 " * 20, "a" * 32)], flexible=1)
    assert [width(line) <= 80 for line in shown.splitlines()] == [True] * 3
    assert "a" * 32 in shown and "…" in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7d2h", 612_000_000), ("1.5h30m", 7_200_000), ("2m4s", 124_000), ("1.2d3h4m5s", 114_725_000), (".5s", 500)],
)
def test_times_read_as_in_mlflow(text: str, expected: int) -> None:
    assert duration_ms(text) == expected


def test_every_command_says_what_it_does() -> None:
    def walk(command: Any, path: list[str]) -> None:
        assert command.help, path
        for option in command.params:
            assert option.param_type_name == "argument" or option.help or option.hidden, (path, option.name)
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                walk(command.get_command(click.Context(command), name), [*path, name])

    for group in ("experiments", "runs", "artifacts", "gc", "db", "import", "export", "runner"):
        walk(commands.get_command(click.Context(commands), group), [group])
