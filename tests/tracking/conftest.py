"""A project of its own for each test."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

GROUP_BYTES = 200_000_000


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project folder that is the working directory; nothing of the user's settings reaches the test."""
    for variable in [v for v in os.environ if v.startswith(("MLOPS_NB_", "MLFLOW_", "JPY_"))]:
        monkeypatch.delenv(variable)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.chdir(folder)
    yield folder


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """The folder of a new control group that may hold 200 MB."""
    version_1 = Path("/sys/fs/cgroup/memory")
    folder = (version_1 if version_1.is_dir() else Path("/sys/fs/cgroup")) / f"mlops-nb-test-{os.getpid()}"
    limit = "memory.limit_in_bytes" if version_1.is_dir() else "memory.max"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(GROUP_BYTES))
        with contextlib.suppress(OSError):  # no swap is counted here
            (folder / ("memory.memsw.limit_in_bytes" if version_1.is_dir() else "memory.swap.max")).write_text(
                str(GROUP_BYTES) if version_1.is_dir() else "0"
            )
    except OSError:
        with contextlib.suppress(OSError):
            folder.rmdir()
        pytest.skip("this machine does not let tests make control groups")
    yield folder
    folder.rmdir()
