"""Recording runs from Python, against the embedded store, without any server."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_nb.core.records import TAG_GIT_BRANCH, TAG_GIT_COMMIT, TAG_PARENT, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.open import open_store
from mlops_nb.tracking.lookup import find_run
from mlops_nb.tracking.session import Session


@pytest.fixture
def session(project: Path) -> Iterator[Session]:
    session = Session()
    yield session
    for run in reversed(list(session.runs)):
        run.stop()


def stored(project: Path, selector: str = "@last") -> Run:
    store = open_store(f"sqlite:///{project}/.mlops/store.db", create=False)
    assert store is not None
    try:
        return find_run(store, selector)
    finally:
        store.close()


def test_a_run_is_in_the_store_with_all_that_was_logged(session: Session, project: Path) -> None:
    with session.start("first", experiment="churn", params={"lr": 0.1}, tags={"stage": "dev"}, note="why") as run:
        for i in range(100):
            run.log({"val/loss": 1 / (i + 1)}, step=i)
        run.log(acc=0.5)
        run.log_dict({"a": 1}, "conf/a.json")
        run.log_text("hello", "a.txt")
    found = stored(project)
    assert (found.name, found.status, found.params, found.metrics["val/loss"].step) == ("first", RunStatus.FINISHED, {"lr": "0.1"}, 99)
    assert found.tags["stage"] == "dev" and found.tags["mlflow.note.content"] == "why"
    store = open_store(f"sqlite:///{project}/.mlops/store.db")
    assert store is not None
    assert store.get_experiment(found.experiment_id).name == "churn"
    assert len(store.metric_history(found.run_id, "val/loss").items) == 100
    assert json.loads(b"".join(store.read_artifact(found.run_id, "conf/a.json"))) == {"a": 1}
    store.close()
    assert list((project / ".mlops" / "journal").iterdir()) == []
    assert (project / ".mlops" / ".gitignore").read_text() == "*\n!/gates.yml\n!/baseline.json\n"


def test_awkward_floats_are_kept_exactly(session: Session) -> None:
    values = [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan, 3, True]
    with session.start() as run:
        for value in values:
            run.log(m=value)
    points = session.store().metric_history(run.run_id, "m").items
    assert [p.value.hex() for p in points] == [float(v).hex() for v in values]
    assert [p.step for p in points] == list(range(len(values)))


@pytest.mark.parametrize("value", ["text", None, [1, 2], object()])
def test_a_metric_that_is_no_number_is_refused_by_name(session: Session, value: object) -> None:
    with session.start() as run, pytest.raises(InvalidInput, match=r"'m' is .*not a number"):
        run.log(m=value)


@pytest.mark.parametrize("name", ["a 'quoted' \"name\"", "🚀 emoji", "<script>alert(1)</script>", "../../etc", "x" * 1000, "two\nlines\0"])
def test_any_run_name_is_taken_as_text(session: Session, project: Path, name: str) -> None:
    with session.start(name, experiment=name[:400]):
        pass
    assert stored(project).name == " ".join(name.replace("\0", " ").split())[:250]


def test_a_param_is_written_once_and_a_second_value_warns(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    with session.start(params={"lr": 1}) as run, caplog.at_level(logging.WARNING):
        run.log_param("lr", 2)
    assert run.record().params == {"lr": "1"} and "written once" in caplog.text


def test_an_exception_fails_the_run_with_its_reason_and_goes_on(session: Session, project: Path) -> None:
    with pytest.raises(ZeroDivisionError), session.start():
        1 / 0  # noqa: B018
    assert (stored(project).status, stored(project).reason) == (RunStatus.FAILED, "ZeroDivisionError: division by zero")


def test_an_interrupt_kills_the_run(session: Session, project: Path) -> None:
    with pytest.raises(KeyboardInterrupt), session.start():
        raise KeyboardInterrupt
    assert (stored(project).status, stored(project).reason) == (RunStatus.KILLED, "interrupted")


def test_a_second_run_needs_to_be_nested_and_becomes_a_child(session: Session) -> None:
    with session.start("outer", experiment="e") as outer:
        with pytest.raises(InvalidInput, match="still open"):
            session.start("another")
        with session.start("inner", nested=True) as inner:
            pass
    found = session.store().get_run(inner.run_id)
    assert found.tags[TAG_PARENT] == outer.run_id and found.experiment_id == session.store().get_run(outer.run_id).experiment_id


def test_stopping_an_outer_run_stops_the_inner_ones(session: Session) -> None:
    outer = session.start()
    inner = session.start(nested=True)
    outer.stop("FAILED", "why not")
    assert session.runs == [] and inner.record().status is RunStatus.FAILED


def test_a_resumed_run_goes_on(session: Session) -> None:
    with session.start("r", params={"a": 1}) as run:
        run.log(m=1.0)
    with session.start(resume=run.record()) as again:
        again.log(m=2.0, step=1)
    found = again.record()
    assert (found.run_id, found.name, found.status) == (run.run_id, "r", RunStatus.FINISHED)
    assert found.metrics["m"].value == 2.0 and found.params == {"a": "1"}


def test_what_comes_after_the_end_is_refused(session: Session) -> None:
    with session.start() as run:
        pass
    run.stop()
    with pytest.raises(InvalidInput, match="has ended"):
        run.log(m=1.0)


def test_files_folders_and_figures_are_kept_as_they_are_now(session: Session, project: Path) -> None:
    from matplotlib.figure import Figure

    (project / "d" / "e").mkdir(parents=True)
    (project / "d" / "e" / "f.txt").write_text("old")
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    with session.start() as run:
        run.log_artifact("d")
        run.log_artifact(project / "d" / "e" / "f.txt", "sub")
        run.log_figure(figure, "plots/p.png")
        (project / "d" / "e" / "f.txt").write_text("new")
        with pytest.raises(NotFound, match=r"nothing\.txt"):
            run.log_artifact("nothing.txt")
        with pytest.raises(InvalidInput):
            run.log_text("x", "../up.txt")
    store = session.store()
    kept = [a.path for a in store.list_artifacts(run.run_id, recursive=True) if not a.path.startswith(("environment/", "data/"))]
    assert kept == ["d/e/f.txt", "plots/p.png", "sub/f.txt"]
    assert b"".join(store.read_artifact(run.run_id, "sub/f.txt")) == b"old"
    assert b"".join(store.read_artifact(run.run_id, "plots/p.png")).startswith(b"\x89PNG")


def test_threads_log_to_one_run_without_loss(session: Session) -> None:
    with session.start() as run:
        threads = [threading.Thread(target=lambda n=n: [run.log_metric(f"m{n}", i, i) for i in range(500)]) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [len(session.store().metric_history(run.run_id, f"m{n}").items) for n in range(8)] == [500] * 8


def test_the_commit_and_branch_are_known_even_of_a_short_run(session: Session, project: Path) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(project)]
    for command in (["init", "-q", "-b", "trunk"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    with session.start() as run:
        pass
    tags = run.record().tags
    assert len(tags[TAG_GIT_COMMIT]) == 40 and tags[TAG_GIT_BRANCH] == "trunk" and tags["mlops.git.dirty"] == "false"


def test_a_store_that_is_no_database_costs_no_error_and_loses_nothing(
    session: Session, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = project / ".mlops"
    state.mkdir()
    (state / "store.db").write_bytes(b"this is not a database " * 100)
    with caplog.at_level(logging.WARNING), session.start("kept") as run:
        run.log(m=1.0)
        run.log_text("x", "a.txt")
    assert "not a tracking store" in caplog.text or "safe in" in caplog.text
    (state / "store.db").rename(state / "store.db.broken")
    done = subprocess.run([sys.executable, "-m", "mlops_nb.cli", "sync"], capture_output=True, text=True, check=True)
    assert "1 journals delivered" in done.stdout
    found = stored(project)
    assert (found.name, found.status, found.metrics["m"].value) == ("kept", RunStatus.FINISHED, 1.0)
    store = open_store(f"sqlite:///{state}/store.db")
    assert store is not None and b"".join(store.read_artifact(run.run_id, "a.txt")) == b"x"
    store.close()


def test_a_store_that_was_taken_away_gets_the_whole_run_again(session: Session, project: Path) -> None:
    run = session.start("again")
    run.log(m=1.0, step=0)
    assert session.flush()
    for file in (project / ".mlops").glob("store.db*"):
        file.unlink()
    run.log(m=2.0, step=1)
    run.stop()
    store = open_store(f"sqlite:///{project}/.mlops/store.db")
    assert store is not None and [p.value for p in store.metric_history(run.run_id, "m").items] == [1.0, 2.0]
    store.close()


def test_an_unreachable_server_never_raises_and_the_end_does_not_wait_long(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_NB_TRACKING_URI", "http://127.0.0.1:9/mlops")
    session = Session()
    run = session.start("offline")
    run.log(m=1.0)
    run.stop(timeout=5)
    (journal,) = (project / ".mlops" / "journal").glob("*.jsonl")
    assert b'"key":"m"' in journal.read_bytes()


_FORK = """
import os, sys
import mlops_nb
run = mlops_nb.start_run("parent")
run.log(m=0.0, step=0)
children = []
for n in range(4):
    pid = os.fork()
    if pid == 0:
        for i in range(50):
            mlops_nb.log({f"child{n}": i}, step=i)
        (os._exit if n % 2 else sys.exit)(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
run.log(m=1.0, step=1)
run.stop()
mlops_nb.get_run(run)
print(run.run_id)
"""


def test_forked_children_add_to_the_run_and_do_not_end_it(project: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _FORK], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = stored(project)
    assert found.status is RunStatus.FINISHED and found.metrics["m"].step == 1
    store = open_store(f"sqlite:///{project}/.mlops/store.db")
    assert store is not None
    assert [len(store.metric_history(found.run_id, f"child{n}").items) for n in range(4)] == [50] * 4
    store.close()


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        ("", RunStatus.FINISHED, None),
        ("raise ValueError('no good')", RunStatus.FAILED, "ValueError: no good"),
        ("raise KeyboardInterrupt", RunStatus.KILLED, "interrupted"),
        ("import os; os._exit(3)", RunStatus.KILLED, "ended without closing the run"),
        ("import os; os.kill(os.getpid(), 9)", RunStatus.KILLED, "ended without closing the run"),
    ],
)
def test_however_a_program_ends_its_run_says_so(project: Path, end: str, status: RunStatus, reason: str | None) -> None:
    code = f"import mlops_nb\nmlops_nb.start_run('r').log(m=1.0)\n{end}\n"
    subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    done = subprocess.run([sys.executable, "-m", "mlops_nb.cli", "track", "show", "--json"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["status"] == status.value and found["metrics"][0]["value"] == 1.0
    assert found["reason"] is None if reason is None else reason in found["reason"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting read-only needs root")
def test_a_read_only_project_keeps_its_runs_in_the_users_state_folder(project: Path, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(mount)], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let tests mount a file system")
    try:
        code = "import mlops_nb\nwith mlops_nb.start_run('ro') as run: run.log(m=1.0)\nprint(mlops_nb.get_run('@last').name)"
        environment = {**os.environ, "HOME": str(tmp_path / "home")}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=mount, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout.strip() == "ro", done.stderr
        assert "cannot be written; its runs are kept in" in done.stderr
        assert list((tmp_path / "home" / ".local" / "state" / "mlops_nb" / "projects").glob("mount-*/store.db"))
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.parametrize("name", ["with blank", "100%", "what?", "a#b", "a%20b", "ünï 🚀"])
def test_a_project_folder_may_have_any_name(project: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project / name
    (folder / ".git").mkdir(parents=True)
    monkeypatch.chdir(folder)
    session = Session()
    with session.start("here") as run:
        run.log(m=1.0)
    assert run.record().metrics["m"].value == 1.0
    assert sorted(p.name for p in (folder / ".mlops").iterdir() if "store.db" not in p.name) == [".gitignore", "artifacts", "journal"]
    assert (folder / ".mlops" / "store.db").exists()
