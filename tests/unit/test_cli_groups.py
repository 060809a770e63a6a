"""The command groups: MLflow's spellings, JSON for programs, errors of one line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlops_nb.cli import commands
from mlops_nb.cli.gc import duration_ms
from mlops_nb.errors import MlopsError

Run = Callable[..., Any]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command in an empty project of its own."""
    for name in ("MLOPS_NB_TRACKING_URI", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(commands, [str(argument) for argument in arguments])


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
    ],
)
def test_errors_are_one_line_on_stderr_and_status_1(command: list[str], invoke: Callable[..., Result], tmp_path: Path) -> None:
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-m", "mlops_nb.cli", *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("✗ ")


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
            assert option.param_type_name == "argument" or option.help, (path, option.name)
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, [*path, name])

    for group in ("experiments", "runs", "artifacts", "gc", "db", "import", "export"):
        walk(commands.commands[group], [group])
