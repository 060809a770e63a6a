"""Genuine stores of MLflow's, made once."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_nb.store.sql.store import SqlStore
from tests.transfer.mlflow_client import fill


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that MLflow's own client has filled; its files are in `mlruns` beside it."""
    return _filled(tmp_path_factory.mktemp("mlflow-database"), "mlflow.db")


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `mlruns` as MLflow's own client has filled it."""
    return _filled(tmp_path_factory.mktemp("mlflow-folder"), "mlruns")


def _filled(folder: Path, name: str) -> Path:
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("MLflow is not installed.")
    place = folder / name
    fill(f"sqlite:///{place}" if name.endswith(".db") else place.as_uri(), folder)
    return place


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """An empty store."""
    store = SqlStore.in_file(tmp_path / "own" / "store.db", durability="normal")
    yield store
    store.close()
