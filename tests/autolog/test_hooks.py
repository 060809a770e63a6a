"""The hooks: what is not imported costs nothing, and what is wrong stays on our side."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mlops_nb
from mlops_nb.errors import InvalidInput
from mlops_nb.tracking.autolog import FRAMEWORKS, _guard, _options
from mlops_nb.tracking.autolog._hooks import when_imported
from tests.conftest import ROOT

HEAVY = {
    "sklearn",
    "numpy",
    "pandas",
    "xgboost",
    "lightgbm",
    "torch",
    "keras",
    "statsmodels",
    "optuna",
    "transformers",
    "matplotlib",
    "skops",
}


def run_in_a_process(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_autolog_loads_no_framework() -> None:
    told = run_in_a_process("import sys, mlops_nb; mlops_nb.autolog(); print(*sorted({name.split('.')[0] for name in sys.modules}))")
    assert HEAVY & set(told.split()) == set()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that nobody has imported yet."""
    (tmp_path / "brandnew").mkdir()
    (tmp_path / "brandnew" / "__init__.py").write_text("from importlib import resources\nvalue = 1\n")
    (tmp_path / "brandnew" / "part.py").write_text("import brandnew\nvalue = brandnew.value + 1\n")
    (tmp_path / "brandnew" / "data.txt").write_text("hello")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "brandnew"  # type: ignore[misc]
    for name in [name for name in sys.modules if name.partition(".")[0] == "brandnew"]:
        del sys.modules[name]


def test_a_hook_runs_once_after_the_module_which_stays_as_it_is(package: str) -> None:
    import importlib
    from importlib import resources

    seen: list[object] = []
    when_imported("brandnew", lambda module: seen.append(module.value))
    when_imported("brandnew.part", lambda module: seen.append(module.value))
    part = importlib.import_module("brandnew.part")
    assert seen == [1, 2]
    module = sys.modules["brandnew"]
    assert resources.files(module).joinpath("data.txt").read_text() == "hello"
    assert type(module.__loader__).__name__ == "SourceFileLoader" and "exec_module" not in vars(module.__loader__)
    importlib.reload(part)
    when_imported("brandnew", lambda module: seen.append("at once"))
    assert seen == [1, 2, "at once"]


def test_a_hook_that_fails_does_not_keep_the_module_from_being_imported(package: str, caplog: pytest.LogCaptureFixture) -> None:
    import importlib

    def broken(_: object) -> None:
        raise LookupError("ours")

    when_imported("brandnew", broken)
    with caplog.at_level("WARNING", logger="mlops_nb"):
        assert importlib.import_module("brandnew").value == 1
    assert "brandnew cannot be tracked (LookupError: ours)" in caplog.text


def test_a_version_outside_the_tested_range_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    _guard._warned.clear()
    with caplog.at_level("WARNING", logger="mlops_nb"):
        for version in ("1.4", "1.9.9", "1.10.0rc1", "2.0", "1.3.9"):
            _guard.check_version("example", version, ("1.4", "1.10"))
    assert [record.getMessage() for record in caplog.records] == [
        "autolog example: tested with versions from 1.4 to below 1.10; 1.10.0rc1 may log less."
    ]
    _guard._warned.clear()


def test_the_tested_versions_are_those_of_the_extra() -> None:
    import importlib

    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["autolog"]
    for files in FRAMEWORKS.values():
        for file in files.values():
            module = importlib.import_module(f"mlops_nb.tracking.autolog.{file}")
            package = {"sklearn": "scikit-learn", "pytorch": "torch"}.get(file, file)
            below = next(entry for entry in told if entry.startswith(f"{package}>=")).partition("<")[2]
            assert module.TESTED[1] == below, f"{file}: {module.TESTED} is not what the extra says"


def test_unknown_frameworks_and_options_are_refused_with_a_guess() -> None:
    before = dict(_options.enabled)
    with pytest.raises(InvalidInput, match="Did you mean 'sklearn'"):
        mlops_nb.autolog(frameworks=["sklear"])
    with pytest.raises(InvalidInput, match="Did you mean 'max_tuning_runs'"):
        mlops_nb.autolog(max_tuning_run=3)
    assert _options.enabled == before


def test_options_that_only_mlflow_has_are_taken_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    _guard._warned.clear()
    with caplog.at_level("WARNING", logger="mlops_nb"):
        for _ in range(2):
            mlops_nb.sklearn.autolog(checkpoint=True, log_traces=False)
    mlops_nb.autolog(disable=True)
    _guard._warned.clear()
    assert len(caplog.records) == 1 and "checkpoint" in caplog.text
