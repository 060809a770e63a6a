"""A model is found by each of its URIs, in the embedded store and behind a server, and its folder here is whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mlops_nb
from mlops_nb.errors import InvalidInput, MlopsError, NotFound, NotSupported
from mlops_nb.models import load_model
from mlops_nb.models.registering import Registry
from mlops_nb.models.sources import fetch_model
from mlops_nb.store.base import TrackingStore
from mlops_nb.store.open import open_store
from mlops_nb.store.rest import RestStore
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.session import Session
from tests.conftest import TOKEN
from tests.tracking.conftest import project  # noqa: F401 - a fixture

numpy = pytest.importorskip("numpy", reason="numpy is not installed")
linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")


@pytest.fixture
def logged(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:  # noqa: F811 - the fixture
    """A run that logged a model."""
    monkeypatch.setattr(sessions, "current", Session())
    model = linear.LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    with mlops_nb.start_run(name="fit"):
        info = mlops_nb.sklearn.log_model(model, name="line", input_example=numpy.array([[0.0], [1.0]]))
    sessions.current.fresh_store()
    yield info
    sessions.current.close()


@pytest.fixture(params=["embedded", "server"])
def store(request: pytest.FixtureRequest, logged: Any, project: Path) -> Iterator[TrackingStore]:  # noqa: F811 - the fixture
    if request.param == "embedded":
        opened = open_store(f"sqlite:///{project}/.mlops/store.db", create=False)
    else:
        start: Callable[..., Any] = request.getfixturevalue("start_jupyter")
        server = start(project)
        opened = RestStore(server.mount, TOKEN)
    assert opened is not None
    yield opened
    opened.close()


def test_every_uri_leads_to_the_model(store: TrackingStore, logged: Any, tmp_path: Path) -> None:
    registry = Registry(store)
    assert registry.register(f"models:/{logged.model_id}", "churn", description="first") == 1
    assert registry.register(f"runs:/{logged.run_id}/line", "churn") == 2
    registry.set_alias("churn", "prod", 1)
    cache = tmp_path / "cache"
    uris = [f"models:/{logged.model_id}", "models:/churn/1", "models:/churn@prod", f"runs:/{logged.run_id}/line"]
    for uri in uris:
        found = fetch_model(uri, store, cache=cache)
        assert (found.folder / "MLmodel").is_file() and found.uri == f"models:/{logged.model_id}"
        loaded = load_model(found.folder)
        assert loaded.verdict.is_known and loaded.predict(loaded.input_example()).tolist() == pytest.approx([1.0, 3.0])
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1  # one folder for all of them
    assert [one["name"] for one in registry.models()] == ["churn"] and registry.models()[0]["aliases"] == {"prod": 1}
    assert registry.versions("churn")[-1]["aliases"] == ["prod"]
    registry.delete_alias("churn", "prod")
    with pytest.raises((NotFound, InvalidInput)):
        fetch_model("models:/churn@prod", store, cache=cache)


def test_what_is_not_there_or_no_model_says_so(store: TrackingStore, logged: Any, tmp_path: Path) -> None:
    for uri in (
        "models:/nothing/1",
        "models:/nothing@prod",
        f"models:/m-{'0' * 32}",
        f"runs:/{'0' * 32}/model",
        f"runs:/{logged.run_id}/nothing",
    ):
        with pytest.raises((NotFound, InvalidInput)):
            fetch_model(uri, store, cache=tmp_path / "cache")
    with pytest.raises(InvalidInput):
        fetch_model("models:/../../etc", store)
    with pytest.raises(NotFound, match="no model at"):
        fetch_model(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="no store is given"):
        fetch_model(f"models:/{logged.model_id}")
    with pytest.raises(InvalidInput, match="no model of a run"):
        Registry(store).register(str(tmp_path), "x")
    assert not (tmp_path / "cache").exists() or not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".part")]


def test_a_kept_folder_that_was_changed_is_fetched_anew(logged: Any, project: Path, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    store = open_store(f"sqlite:///{project}/.mlops/store.db", create=False)
    assert store is not None
    uri, cache = f"models:/{logged.model_id}", tmp_path / "cache"
    folder = fetch_model(uri, store, cache=cache).folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "model.skops").write_bytes(b"changed")
    (folder / "more.pkl").write_bytes(b"more")
    assert fetch_model(uri, store, cache=cache).folder == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "MLmodel").unlink()
    assert fetch_model(uri, store, cache=cache).folder == folder and (folder / "MLmodel").is_file()
    store.close()


FETCH = """
import sys
from pathlib import Path
from mlops_nb.models.sources import fetch_model
from mlops_nb.store.open import open_store
uri, database, cache = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
print(fetch_model(uri, open_store(database, create=False), cache=Path(cache)).folder)
"""


def test_processes_at_once_get_one_whole_folder(logged: Any, project: Path, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    command = [sys.executable, "-c", FETCH, f"models:/{logged.model_id}", f"sqlite:///{project}/.mlops/store.db", str(tmp_path / "cache")]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    folders = {process.communicate("go\n", timeout=100)[0] for process in started[::-1]}
    assert [process.returncode for process in started] == [0, 0, 0]
    (folder,) = (Path(told.strip()) for told in folders)
    assert {path.name for path in folder.iterdir()} == set(json.loads(Path(f"{folder}.sums").read_text()))
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {folder.name, f"{folder.name}.sums"}


def test_a_broken_download_leaves_nothing(logged: Any, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    store = open_store(f"sqlite:///{project}/.mlops/store.db", create=False)
    assert store is not None
    read = type(store.files).read  # type: ignore[attr-defined]

    def cut(self: Any, owner: Any, path: str) -> Any:
        whole = b"".join(read(self, owner, path))
        return iter([whole] if path == "MLmodel" else [whole[:10]])

    monkeypatch.setattr(type(store.files), "read", cut)  # type: ignore[attr-defined]
    with pytest.raises(MlopsError, match="10 of"):
        fetch_model(f"models:/{logged.model_id}", store, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(NotSupported, match="not in the store"):
        _cloud(store)
    store.close()


def _cloud(store: TrackingStore) -> None:
    registry = Registry(store)
    store.registry.create_model("cloudy")  # type: ignore[attr-defined]
    store.registry.create_version("cloudy", "s3://bucket/model")  # type: ignore[attr-defined]
    assert registry.versions("cloudy")
    fetch_model("models:/cloudy/1", store)
