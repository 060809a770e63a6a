"""Registering models where runs are recorded: from Python, from a cell, with MLflow's words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from sklearn.linear_model import LinearRegression

import mlops_nb
from mlops_nb.core.registry import RegistryQuery
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.models import load_model as load_folder
from mlops_nb.store.base import ServedStore
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.session import Session


@pytest.fixture(autouse=True)
def session(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(sessions, "current", Session())
    yield sessions.current
    for run in reversed(list(sessions.current.runs)):
        run.stop()
    sessions.current.close()


@pytest.fixture
def model() -> LinearRegression:
    return LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])


def served() -> ServedStore:
    store = sessions.current.fresh_store()
    assert isinstance(store, ServedStore)
    return store


def test_each_registration_is_the_next_version_and_an_alias_moves_on(model: Any) -> None:
    with mlops_nb.start_run() as run:
        info = mlops_nb.log_model(model, name="clf")
        first = mlops_nb.register_model(info.model_uri, "churn", alias="challenger", tags={"stage": 1})
        second = mlops_nb.register_model(info.model_uri, "churn", alias="challenger")
    assert (first.version, first.aliases, first.tags) == (1, ["challenger"], {"stage": "1"})
    assert (second.version, second.model_id, second.run_id) == (2, info.model_id, run.run_id)
    assert served().registry.version_of_alias("churn", "challenger").version == 2


def test_mlflows_word_for_registering_is_not_lost(model: Any) -> None:
    with mlops_nb.start_run():
        info = mlops_nb.sklearn.log_model(sk_model=model, name="clf", registered_model_name="churn")
    (version,) = served().registry.search_versions(RegistryQuery()).items
    assert (version.name, version.version, version.model_id) == ("churn", 1, info.model_id)


def test_a_name_that_cannot_be_is_refused_before_anything_is_kept(model: Any) -> None:
    with mlops_nb.start_run() as run:
        with pytest.raises(InvalidInput, match="a/b"):
            mlops_nb.log_model(model, registered_model_name="a/b")
        with pytest.raises(InvalidInput, match="v 1"):
            mlops_nb.register_model("models:/m-" + "0" * 32, "churn", alias="v 1")
    assert mlops_nb.get_run(run.run_id).outputs == []
    with pytest.raises(NotFound):
        served().registry.get_model("churn")


def test_a_cell_registers_a_model(model: Any) -> None:
    shell = InteractiveShell.instance()
    shell.reset()
    with capture_output() as captured:
        shell.run_cell("%load_ext mlops_nb", store_history=True).raise_error()
        shell.user_ns["model"] = model
        shell.run_cell("%track model model --name churn --alias champion", store_history=True).raise_error()
        twin = shell.run_cell("%track model model --name churn --register --alias champion --code", store_history=True)
        shell.run_cell("%unload_ext mlops_nb", store_history=True)
    assert "churn v1 @champion" in captured.stdout and twin.success
    namespace = {"model": model}
    exec(captured.stdout[captured.stdout.index("import mlops_nb") :], namespace)
    assert served().registry.version_of_alias("churn", "champion").version == 2


def test_a_version_tells_its_run_its_cell_and_its_data(model: Any) -> None:
    import pandas as pd

    shell = InteractiveShell.instance()
    shell.reset()
    shell.user_ns |= {"model": model, "rows": pd.DataFrame({"a": [1.0, 2.0]})}
    with capture_output():
        shell.run_cell("%load_ext mlops_nb", store_history=True).raise_error()
        shell.run_cell("import mlops_nb\nrun = mlops_nb.start_run()\n_ = mlops_nb.log_data(rows, name='train')", store_history=True)
        shell.run_cell("# keep it\n%track model model --name churn --register --alias champion", store_history=True).raise_error()
        shell.run_cell("run.set_tag('mlops.hygiene', 'reordered')\nrun.end()", store_history=True)
        shell.run_cell("%unload_ext mlops_nb", store_history=True)
    run_id = shell.user_ns["run"].run_id
    found = mlops_nb.model_lineage("churn@champion")
    assert (found.uri, found.run_id, found.aliases) == ("models:/churn/1", run_id, ["champion"])
    assert found.cell is not None and (found.cell.execution_count, found.cell.line) == (3, "# keep it")
    assert [one.name for one in found.data] == ["train"] and found.model_id and found.endpoints is None
    assert found == mlops_nb.model_lineage("models:/churn/1") == mlops_nb.model_lineage("churn")
    text = str(found)
    assert f"({run_id})" in text and "[3] # keep it" in text and "Endpoints:    no Jupyter server runs here" in text
    assert mlops_nb.get_run("models:/churn@champion").run_id == run_id
    assert list(mlops_nb.load_model("models:/churn@champion").predict([[3.0]])) == pytest.approx(list(model.predict([[3.0]])))
    with pytest.raises(InvalidInput, match=r"mlops_nb\.load_model\('models:/churn@champion'\)"):
        load_folder("models:/churn@champion")
    from mlops_nb.models.card import draft
    from mlops_nb.models.sources import fetch_model

    card = draft(fetch_model("models:/churn@champion", served()).folder, served())
    assert card.startswith("# Model card: churn\n")
    assert "- Reproducibility: reordered: its cells give it again in the order in which they ran" in card and found.hygiene == "reordered"
    assert f"mlops-nb track reproduce {run_id}" in card
    for none in ("churn@nobody", "churn/7", "nosuch"):
        with pytest.raises((NotFound, InvalidInput), match=r"not found|no version"):
            mlops_nb.model_lineage(none)
    with pytest.raises(InvalidInput, match="no version of a registered model"):
        mlops_nb.model_lineage("models:/m-" + "0" * 32)


def test_data_sets_with_mlflows_names() -> None:
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame({"a": [1, 2], "b": [3.0, 4.0]})
    Path("data.csv").write_text("a,b\n1,3\n2,4\n")
    with mlops_nb.start_run() as run:
        mlops_nb.log_input(mlops_nb.data.from_pandas(frame, source="data.csv", name="table", targets="b"), context="training")
        mlops_nb.log_input(mlops_nb.data.from_numpy(np.arange(4.0), targets=np.arange(4), source="somewhere", name="arrays"))
    first, second = mlops_nb.get_run(run.run_id).inputs.datasets
    assert (first.dataset.name, first.context, first.dataset.source_type) == ("table", "training", "local")
    assert (second.dataset.name, second.dataset.source) == ("arrays", "somewhere")


def test_names_of_mlflow_that_are_not_here_say_what_to_use_instead() -> None:
    for ask in (lambda: mlops_nb.sklearn.load_model, lambda: mlops_nb.MlflowClient, lambda: mlops_nb.pyfunc):
        with pytest.raises(AttributeError, match=r"(?i)mlflow"):
            ask()
