"""What went wrong once, or nearly did: interrupts, signals, forks, poison, resumes, moved folders."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.core.events import ArtifactAdded, MetricLogged, RunStarted
from mlops_nb.core.redaction import Redactor
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.store.open import open_store
from mlops_nb.tracking.journal import Journal
from mlops_nb.tracking.recovery import recover
from mlops_nb.tracking.session import Session


@pytest.fixture
def session(project: Path) -> Iterator[Session]:
    session = Session()
    yield session
    for run in reversed(list(session.runs)):
        run.stop()
    session.close()


def store_of(project: Path) -> TrackingStore:
    store = open_store(f"sqlite:///{project}/.mlops/store.db")
    assert store is not None
    return store


def program(code: str, timeout: float = 90) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_interrupt_at_any_moment_of_a_logging_loop_loses_nothing(session: Session) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for trial in range(30):
            run = session.start(f"trial-{trial}")
            step = 0
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.002 + trial * 0.0007)  # on a busy machine it fires at once
                while True:
                    run.log_metric("m", 1.0, step)
                    step += 1
            except KeyboardInterrupt:
                run.log_metric("last", 1.0)
            run.stop("KILLED", "interrupted", timeout=60)  # the first one waits until the store has been made
            found = session.store().get_run(run.run_id)
            assert found.status is RunStatus.KILLED and "last" in found.metrics
            assert len(session.store().metric_history(run.run_id, "m").items) >= step
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_may_log_while_the_program_logs(session: Session) -> None:
    run = session.start()
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        run.log_metric("from_handler", handled, handled)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        deadline = time.monotonic() + 1.5
        count = 0
        while time.monotonic() < deadline:
            run.log_metric("main", 1.0, count)
            count += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    run.stop()
    totals = {series.key: series.total for series in session.store().series(run.run_id)}
    assert totals == {"main": count, "from_handler": handled} and handled > 50


def test_a_start_that_is_refused_opens_nothing(session: Session, project: Path) -> None:
    for wrong in ({"params": {"bad;key": 1}}, {"tags": {"x" * 300: 1}}, {"params": {"p": "v" * 7000}}, {"experiment": " "}):
        with pytest.raises(InvalidInput):
            session.start("r", **wrong)  # type: ignore[arg-type]
    assert session.runs == [] and not list((project / ".mlops" / "journal").glob("*"))


@pytest.mark.parametrize("step", [2**63, -(2**63) - 1, 10**30])
def test_a_step_beyond_64_bits_is_refused_at_once(session: Session, step: int) -> None:
    with session.start() as run, pytest.raises(InvalidInput, match="not a whole number"):
        run.log_metric("m", 1.0, step)


def test_an_event_that_no_store_takes_is_set_aside_and_the_rest_goes_on(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = project / ".mlops" / "journal"
    uri = f"sqlite:///{project}/.mlops/store.db"
    journal = Journal(folder, "a" * 32, uri, on_fault=lambda error: None)
    journal.append(RunStarted(ts=1, experiment="e", name="poisoned"))
    journal.append(MetricLogged(ts=1, key="m", value=1.0, step=10**25))
    journal.append(ArtifactAdded(path="a", spool=journal.spool(lambda to: to.write_text("file"))))
    journal.append(ArtifactAdded(path="a/b", spool=journal.spool(lambda to: to.write_text("below a file"))))
    journal.append(MetricLogged(ts=1, key="m", value=2.0, step=1))
    journal.close(remove=False)
    store = store_of(project)
    with caplog.at_level(logging.ERROR):
        assert recover(folder, store, uri) == ["a" * 32]
    assert caplog.text.count("refuses an event") == 2
    assert [p.value for p in store.metric_history("a" * 32, "m").items] == [2.0]
    assert b"".join(store.read_artifact("a" * 32, "a")) == b"file"
    assert [p.suffix for p in folder.iterdir()] == [".refused"]
    store.close()


def test_what_nobody_could_read_back_is_refused_where_it_is_logged(session: Session) -> None:
    run = session.start("typed")
    for wrong in (["a", "b"], ("a", "b"), b"a", 5, None):
        with pytest.raises(InvalidInput, match="path is a text"):
            run.log_text("x", wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="cannot be recorded"):
        run.tell(ArtifactAdded(path=["a"]))  # type: ignore[arg-type]
    run.log_text("x", Path("folder/a.txt"))  # type: ignore[arg-type]
    run.stop("FAILED", ValueError("the loss is not finite"), timeout=60)
    found = session.store().get_run(run.run_id)
    assert (found.status, found.reason) == (RunStatus.FAILED, "the loss is not finite")
    assert [file.path for file in session.store().list_artifacts(run.run_id, "folder")] == ["folder/a.txt"]


def test_a_line_that_cannot_be_read_holds_up_nothing(session: Session, project: Path, caplog: pytest.LogCaptureFixture) -> None:
    unreadable = b'"t":"a","ts":1,"path":["a","b"]}'
    run = session.start("living")
    run.log_metric("m", 1.0, 0)
    with caplog.at_level(logging.ERROR):
        run._journal.append_body(unreadable)
        run.log_metric("m", 2.0, 1)
        for _ in range(2):  # as when the store is away, and all is tried again
            run._journal.next_batch()
        run.stop(timeout=60)
        folder = project / ".mlops" / "journal"
        uri = f"sqlite:///{project}/.mlops/store.db"
        journal = Journal(folder, "d" * 32, uri, on_fault=lambda error: None)
        journal.append(RunStarted(ts=1, experiment="e", name="dead"))
        journal.append_body(unreadable)
        journal.append(MetricLogged(ts=1, key="m", value=2.0, step=1))
        journal.close(remove=False)
        assert recover(folder, session.store(), uri) == ["d" * 32]
    assert [p.value for p in session.store().metric_history(run.run_id, "m").items] == [1.0, 2.0]
    assert [p.value for p in session.store().metric_history("d" * 32, "m").items] == [2.0]
    assert session.store().get_run(run.run_id).status is RunStatus.FINISHED
    assert [b'["a","b"]' in path.read_bytes() for path in folder.iterdir()] == [True, True]
    assert caplog.text.count("cannot be read") == 2 and "cannot be reached" not in caplog.text


def test_whoever_recovers_waits_for_what_another_thread_delivers_just_now(session: Session, project: Path) -> None:
    folder, uri = project / ".mlops" / "journal", f"sqlite:///{project}/.mlops/store.db"
    journal = Journal(folder, "d" * 32, uri, on_fault=lambda error: None)
    journal.append(RunStarted(ts=1, experiment="e", name="dead"))
    journal.close(remove=False)
    store = store_of(project)
    delivering, ingest = threading.Event(), store.ingest

    def slowly(*arguments: Any) -> int:
        delivering.set()
        time.sleep(0.3)
        return ingest(*arguments)

    store.ingest = slowly  # type: ignore[method-assign]
    other = threading.Thread(target=recover, args=(folder, store, uri))
    other.start()
    assert delivering.wait(10)
    recover(folder, store, uri)
    assert store.get_run("d" * 32).name == "dead"
    other.join()
    store.close()


def test_text_that_is_half_a_character_is_written_out(session: Session) -> None:
    with session.start("n\udce9", tags={"t": "\udce9"}) as run:
        run.log_param("p", "caf\udce9")
        run.log_text("x\udce9", "a.txt")
    assert session.store().get_run(run.run_id).params == {"p": "caf\\udce9"}


_FORK_AT_ONCE = """
import os, signal, sys, time
import mlops_nb
run = mlops_nb.start_run("forker")
time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else DELAY)
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    import sqlalchemy, requests, email.mime.text
    run.log(child=1.0)
    os._exit(0)
status = os.waitpid(pid, 0)[1]
run.log(parent=1.0)
run.stop()
found = mlops_nb.get_run(run)
print(status, found.status.value, sorted(found.metrics))
"""


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.2, 0.5])
def test_a_fork_at_any_moment_leaves_the_child_free_to_work(project: Path, delay: float) -> None:
    assert program(_FORK_AT_ONCE.replace("DELAY", str(delay))).strip() == "0 FINISHED ['child', 'parent']"


def test_a_resumed_run_goes_on_with_steps_cells_and_experiment(session: Session) -> None:
    with session.start("r", experiment="exp-a") as run:
        run.log(loss=5.0)
        run.log(loss=4.0)
    with session.start(resume=session.store().get_run(run.run_id)) as again:
        again.log(loss=3.0)
        with session.start("child", nested=True) as child:
            pass
    store = session.store()
    assert [(p.step, p.value) for p in store.metric_history(run.run_id, "loss").items] == [(0, 5.0), (1, 4.0), (2, 3.0)]
    assert again.experiment == "exp-a" and store.get_run(child.run_id).experiment_id == store.get_run(run.run_id).experiment_id


def test_the_death_of_a_second_process_does_not_end_the_run_of_the_first(session: Session, project: Path) -> None:
    run = session.start("shared")
    run.log(m=1.0)
    assert session.flush()
    program(f"import mlops_nb, os\nr = mlops_nb.start_run(resume='{run.run_id}')\nr.log(other=1.0)\nmlops_nb.get_run(r)\nos._exit(0)")
    found = session.fresh_store().get_run(run.run_id)
    assert found.status is RunStatus.RUNNING and "other" in found.metrics
    run.stop()
    assert session.store().get_run(run.run_id).status is RunStatus.FINISHED


def test_a_project_that_was_moved_keeps_what_was_not_delivered(project: Path, tmp_path: Path) -> None:
    (project / ".mlops").mkdir()
    program("import mlops_nb, os\nmlops_nb.start_run('moved').log(m=1.0)\nos._exit(0)")
    moved = tmp_path / "elsewhere"
    project.rename(moved)
    uri = f"sqlite:///{moved}/.mlops/store.db"
    store = open_store(uri)
    assert store is not None
    recover(moved / ".mlops" / "journal", store, uri)
    (run,) = store.search_runs(RunQuery()).items
    assert run.status is RunStatus.KILLED and run.metrics["m"].value == 1.0
    store.close()
    project.mkdir()


def test_more_leftovers_than_open_files_are_all_delivered(project: Path) -> None:
    code = """
import resource
from pathlib import Path
from mlops_nb.core.events import RunStarted
from mlops_nb.store.base import RunQuery
from mlops_nb.store.open import open_store
from mlops_nb.tracking.journal import Journal
from mlops_nb.tracking.recovery import recover
folder, uri = Path(".mlops/journal"), "sqlite:///.mlops/store.db?durability=normal"
for i in range(200):
    journal = Journal(folder, f"{i:032x}", uri, on_fault=print)
    journal.append(RunStarted(ts=1, experiment="e", name="n"))
    journal.close(remove=False)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
store = open_store(uri)
assert len(recover(folder, store, uri)) == 200
assert len(store.search_runs(RunQuery()).items) == 200 and not list(folder.iterdir())
"""
    program(code)


def test_mlflows_own_database_is_left_alone(project: Path) -> None:
    code = """
import os
os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///mlflow.db"
import mlops_nb
with mlops_nb.start_run("r") as run: run.log(m=1.0)
print(mlops_nb.get_run("r").status.value, os.path.exists("mlflow.db"))
"""
    assert program(code).strip() == "FINISHED False"


def test_redacting_takes_time_in_proportion_to_the_text() -> None:
    redact = Redactor(os.environ)
    for text in (
        "A" * 100_000,
        "a.b-" * 25_000,
        "x = '" + "eyJ" * 30_000,
        "://" * 30_000,
        "password" * 12_000,
        "[" * 50_000 + "]" * 50_000,
    ):
        began = time.monotonic()
        redact(text)
        assert time.monotonic() - began < 5


def test_asking_in_a_new_project_makes_no_files(project: Path) -> None:
    code = """
import mlops_nb
assert list(mlops_nb.search_runs()) == []
try: mlops_nb.get_run("@last")
except mlops_nb.MlopsError as error: print(error)
"""
    assert "Nothing has been recorded in this project yet." in program(code)
    for command in (["track", "ls"], ["sync"], ["doctor"], ["report"]):
        subprocess.run([sys.executable, "-m", "mlops_nb.cli", *command], capture_output=True, check=False)
    assert [path.name for path in project.iterdir()] == ["pyproject.toml"]


_ON_A_FULL_DISK = """
import os, time, warnings
import mlops_nb
run = mlops_nb.start_run("full")
run.log(m=0.0, step=0)
from mlops_nb.tracking import session
assert session.current.flush()
with open("filler", "wb", buffering=0) as filler:
    try:
        while True: filler.write(b"x" * 4096)
    except OSError: pass
for step in range(1, 2001):
    run.log_metric("m", float(step), step)
run.log_text("x" * 100_000, "big.txt")
time.sleep(1.5)
os.remove("filler")
run.log_metric("m", -1.0, 2001)
deadline = time.monotonic() + 30
while not session.current.flush(1) and time.monotonic() < deadline: pass
run.stop()
found = mlops_nb.get_run("full")
print(found.status.value, len(session.current.store().metric_history(run.run_id, "m").items))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_training_goes_on_over_a_full_disk_and_nothing_that_was_logged_is_lost(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = project / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mount)], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let tests mount a file system")
    try:
        (mount / "pyproject.toml").touch()
        monkeypatch.chdir(mount)
        assert program(_ON_A_FULL_DISK).strip() == "FINISHED 2002"
    finally:
        monkeypatch.chdir(project)
        subprocess.run(["umount", "-l", str(mount)], check=True)
