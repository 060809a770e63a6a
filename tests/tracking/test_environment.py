"""What a run keeps of its code and its surroundings."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from mlops_nb.core.redaction import Redactor
from mlops_nb.tracking import capture, environment
from mlops_nb.tracking import run as runs
from mlops_nb.tracking.session import Session


@pytest.fixture
def session(project: Path) -> Iterator[Session]:
    session = Session()
    yield session
    for run in reversed(list(session.runs)):
        run.stop()


def git(*arguments: str) -> str:
    settings = ["-c", "user.name=me", "-c", "user.email=me@example.com", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *settings, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(project: Path) -> Path:
    git("init", "-q", "-b", "main")
    (project / "src").mkdir()
    (project / "src" / "train.py").write_text("lr = 0.1\n")
    (project / ".gitignore").write_text(".mlops\nignored.py\n")
    git("add", ".")
    git("commit", "-qm", "first")
    return project


def kept(session: Session, run: Any) -> dict[str, bytes]:
    store = session.store()
    files = store.list_artifacts(run.run_id, recursive=True)
    return {file.path: b"".join(store.read_artifact(run.run_id, file.path)) for file in files}


def test_a_run_keeps_packages_and_machine(session: Session) -> None:
    with session.start() as run:
        pass
    files = kept(session, run)
    packages = dict(line.split("==") for line in files["environment/requirements.txt"].decode().splitlines())
    assert packages["msgspec"] == importlib.metadata.version("msgspec") and packages["jupyter-server"]
    facts = json.loads(files["environment/environment.json"])
    assert facts["python"] == "{}.{}.{}".format(*sys.version_info[:3]) and facts["memory"] > 2**28 and facts["processors"] >= 1
    tags = run.record().tags
    assert tags["mlops.python"] == facts["python"] and len(tags["mlops.environment"]) == 16
    with session.start() as second:
        pass
    assert second.record().tags["mlops.environment"] == tags["mlops.environment"]
    assert all(product.name not in files for cell in session.store().cells(run.run_id) for product in cell.products)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_run_that_ends_before_its_surroundings_are_known_ends_in_peace(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(environment, "requirements", lambda: ended.wait(10) and b"late==1")
    monkeypatch.setattr(runs, "_CAPTURE_SECONDS", 0.01)
    run = session.start("hasty")
    capturing = run._capturing
    assert capturing is not None
    run.stop()
    ended.set()
    capturing.join(10)
    assert not capturing.is_alive() and not caplog.records


def test_every_installed_package_is_listed_as_pip_lists_it() -> None:
    listed = {line.split("==")[0] for line in environment.requirements().decode().splitlines()}
    installed = {d.metadata["Name"].replace("_", "-").replace(".", "-").lower() for d in importlib.metadata.distributions()}
    assert not {name for name in installed if name not in {one.replace(".", "-") for one in listed}}


def test_what_is_not_committed_in_the_whole_repository_can_be_applied_again(session: Session, repository: Path) -> None:
    (repository / "src" / "train.py").write_text("lr = 0.2\n")
    (repository / "src" / "new.py").write_text("one\ntwo")
    (repository / "src" / "empty.py").write_text("")
    (repository / "ünï.py").write_text("x = 1\n")
    (repository / "ignored.py").write_text("x")
    (repository / "data.bin").write_bytes(b"\0\1")
    below = repository / "src"
    os.chdir(below)
    with session.start() as run:
        pass
    os.chdir(repository)
    patch = kept(session, run)["code/changes.diff"]
    tags = run.record().tags
    assert tags["mlops.git.dirty"] == "true" and tags["mlflow.source.git.branch"] == "main" and len(tags["mlops.git.changes"]) == 16
    wanted = {p: p.read_text() for p in (below / "train.py", below / "new.py", below / "empty.py", repository / "ünï.py")}
    git("stash", "-q", "-u")
    (repository / "p.diff").write_bytes(patch)
    git("apply", "p.diff")
    assert {p: p.read_text() for p in wanted} == wanted
    assert b"ignored.py" not in patch and b"data.bin" not in patch


def test_a_clean_repository_has_no_changes_and_one_without_a_commit_only_changes(session: Session, repository: Path) -> None:
    with session.start() as run:
        pass
    assert "code/changes.diff" not in kept(session, run) and run.record().tags["mlops.git.dirty"] == "false"


def test_changes_before_the_first_commit_are_kept(session: Session, project: Path) -> None:
    git("init", "-q")
    (project / "a.py").write_text("x = 1\n")
    with session.start() as run:
        pass
    assert b"+x = 1" in kept(session, run)["code/changes.diff"]


def test_secrets_in_changes_and_in_the_address_of_the_repository_are_taken_out(session: Session, repository: Path) -> None:
    git("remote", "add", "origin", "https://me:ghp_abcdefghijklmnopqrstuvwxyz0123456789@example.com/a/b.git")
    (repository / "src" / "train.py").write_text('api_key = "sk-aaaaaaaaaaaaaaaaaaaaaaaaaaaa"\n')
    (repository / "src" / "new.py").write_text('password = "hunter2hunter2"\n')
    with session.start() as run:
        pass
    assert run.record().tags["mlflow.source.git.repoURL"] == "https://example.com/a/b.git"
    patch = kept(session, run)["code/changes.diff"]
    assert b"sk-aaaa" not in patch and b"hunter2" not in patch and b"[redacted:" in patch


@pytest.mark.parametrize("level", ["hash", "off"])
def test_less_is_kept_when_less_is_to_be_captured(session: Session, repository: Path, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("MLOPS_NB_CAPTURE", level)
    (repository / "src" / "train.py").write_text("lr = 0.2\n")
    with session.start() as run:
        pass
    tags = run.record().tags
    assert tags["mlops.git.dirty"] == "true" and ("mlops.git.changes" in tags) == (level == "hash")
    assert set(kept(session, run)) == (set() if level == "off" else {"environment/requirements.txt", "environment/environment.json"})


def test_very_many_changes_are_cut_and_say_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "MAX_CHANGES", 10_000)
    (repository / "src" / "train.py").write_text("x = 1\n" * 20_000)
    text = capture.changes(repository)
    assert len(text) < 10_200 and text.endswith("the rest is left out\n")


def test_outside_a_repository_and_without_git_nothing_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (capture.git_tags(project), capture.changes(project), capture.repository(project)) == ({}, "", None)
    monkeypatch.setenv("PATH", "")
    assert (capture.git_tags(project), capture.changes(project), capture.repository(project)) == ({}, "", None)


def test_a_git_that_hangs_does_not_keep_the_run_from_ending(
    session: Session, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    hanging = tmp_path / "bin" / "git"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    began = time.monotonic()
    with session.start() as run:
        assert time.monotonic() - began < 2
    assert time.monotonic() - began < 10 and run.record().status == "FINISHED"


def test_a_long_text_is_redacted_in_pieces_as_it_is_whole() -> None:
    redact = Redactor({"MY_TOKEN": "abcdefgh12345678"})
    text = "\ndiff --git ".join(f'a\n+token = "abcdefgh12345678" {i}' for i in range(50))
    assert "abcdefgh12345678" not in environment.redacted(text, redact) and environment.redacted(text, redact) == redact(text)


def test_a_private_key_is_taken_out_also_where_two_pieces_meet() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\n" + "\n".join("a" * 64 for _ in range(20)) + "\n-----END RSA PRIVATE KEY-----\n"
    for fill in range(31_000, 33_000, 97):
        text = "x\n" * (fill // 2) + key + "rest\n" * 10_000
        found = environment.redacted(text, Redactor({}))
        assert "aaaa" not in found and found.endswith("rest\n")
    assert "aaaa" not in environment.redacted("x\n" * 16_000 + key[:600], Redactor({}))


def test_the_server_names_the_notebook_of_a_kernel(
    start_jupyter: Callable[..., Any], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_jupyter()
    headers = {"Authorization": "token the-servers-token"}
    wanted = {"path": "deep/train.ipynb", "type": "notebook", "name": "", "kernel": {"name": "python3"}}
    session = requests.post(f"{server.url}api/sessions", json=wanted, headers=headers, timeout=60).json()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(server.home / "runtime"))
    (server.home / "runtime" / "jpserver-1.json").write_text("no record at all")
    assert capture.notebook_of_kernel(session["kernel"]["id"]) == (server.project / "deep" / "train.ipynb").resolve()
    assert capture.notebook_of_kernel("another") is None and capture.notebook_of_server() is None
