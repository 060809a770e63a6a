"""Machines that reach a team's server alone, by their agent's token: what they may do is enough for a job, and not more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlops_nb.core.run_state import RunStatus
from mlops_nb.core.runner_jobs import JobState
from mlops_nb.core.runners import CloudName
from mlops_nb.errors import PermissionDenied
from mlops_nb.runners.jobs.handle import RemoteJob
from mlops_nb.runners.jobs.preflight import preflight, read_notebook
from mlops_nb.runners.jobs.submitting import Order, submit
from mlops_nb.runners.jobs.work import NotebookWork, work_at
from mlops_nb.runners.machine.site import Site
from mlops_nb.store.base import RunQuery
from mlops_nb.store.rest import RestStore
from tests.runners.jobs.conftest import wait_for, write_notebook
from tests.runners.jobs.machines import new_runner
from tests.team import TOKEN, TeamProcess

CELLS = (
    "import mlops_nb, os, time",
    "run = mlops_nb.start_run('training', experiment='on runners')\nrun.log(early=1)\nrun.log_param('lr', 0.1)",
    "for step in range(10):\n    run.log_metric('loss', step, step)\n    time.sleep(0 if os.path.exists(FLAG) else 0.3)",
    "mlops_nb.stop_run(); print('done')",
)


def machine(user: RestStore, url: str, folder: Path, lines: list[str], cloud: CloudName = "kubernetes") -> tuple[NotebookWork, RestStore]:
    """Return the work of a new machine that has exchanged its ticket, and its store."""
    runner = new_runner(user.runners, cloud=cloud)
    _, token, _ = RestStore(url).runners.redeem(user.runners.issue_ticket(runner.id, b""))
    store = RestStore(url, token)
    site = Site(
        runner_id=runner.id, name=runner.name, agent=runner.request.agent, secret=b"", store=store, folder=folder / runner.name,
        user="", log=lines.append, environment={**os.environ, "FORGE_TOKEN": "ghp_not_for_jobs"},
    )  # fmt: skip
    return work_at(site), store


def test_a_machine_executes_a_job_and_another_goes_on_with_it_by_their_own_tokens(
    team: TeamProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    user = RestStore(team.url, TOKEN)
    quick = tmp_path / "quick"
    notebook = write_notebook(tmp_path / "train.ipynb", f"FLAG = {str(quick)!r}", *CELLS, "import os\nprint(os.environ.get('FORGE_TOKEN'))")
    document = read_notebook(notebook)
    job = submit(user, user.runners, preflight(notebook, document), document, Order(name="train"))
    lines: list[str] = []
    works = []
    try:
        first, store = machine(user, team.url, tmp_path, lines)
        works.append(first)
        first.start()
        mine = RunQuery(filter=f"tags.`mlops.execution` = '{job.id[:16]}'")

        def training() -> list[object]:
            return [run for run in user.search_runs(mine).items if run.name == "training" and run.metrics.get("loss")]

        wait_for(training, "the loop is under way")
        for refused in (RunQuery(), RunQuery(filter="tags.`mlops.execution` = '0123456789abcdef'")):
            with pytest.raises(PermissionDenied):
                store.search_runs(refused)
        first.interrupt("spot", 120)
        wait_for(lambda: user.runners.job(job.id).state is JobState.INTERRUPTED, "the job is interrupted")
        with pytest.raises(PermissionDenied):  # it is not this machine's any more
            store.write_artifact(user.create_run("0").run_id, "x", notebook.open("rb"))
        quick.touch()
        second, _ = machine(user, team.url, tmp_path, lines)
        works.append(second)
        second.start()
        found = RemoteJob(user.runners, user, job).wait(90, check=False)
        assert found.state is JobState.DONE, "\n".join(lines)
        (run,) = training()
        assert run.status is RunStatus.FINISHED and run.parent_id == job.run_id and run.params == {"lr": "0.1"}
        assert user.get_experiment(run.experiment_id).name == "on runners"
        points = {(point.step, point.value) for point in user.metric_history(run.run_id, "loss").items}
        assert points == {(step, float(step)) for step in range(10)}
        assert [cell.text for cell in found.outputs() if "text" in cell][-1] == "None\n"  # no token of a forge in the job's environment
    finally:
        for work in works:
            work.stop(20)
    assert not list(tmp_path.rglob("bundle*"))


MODELS = (
    "import mlops_nb, os, numpy as np\nfrom sklearn.linear_model import LinearRegression\n"
    "clf = LinearRegression().fit(np.array([[0.0], [1.0]]), np.array([0.0, 2.0]))",
    "with mlops_nb.start_run('ours') as run:\n    mlops_nb.log_model(clf, name='ours', registered_model_name='ours')",
    "%load_ext mlops_nb\n%track start by-magic\n%track model clf --name magic\n%track stop",
    "import mlflow, mlflow.sklearn\nwith mlflow.start_run(run_name='theirs'):\n    mlflow.log_metric('loss', 0.5)\n"
    "    info = mlflow.sklearn.log_model(clf, name='theirs', registered_model_name='theirs')\n"
    "    mlflow.log_metric('rmse', 0.1, model_id=info.model_id)\n"
    "    print(mlflow.sklearn.load_model(info.model_uri).predict(np.array([[3.0]])))",
)


@pytest.mark.slow
def test_a_notebook_on_a_runner_logs_and_registers_its_models_by_our_client_and_by_mlflows(
    team: TeamProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    user = RestStore(team.url, TOKEN)
    notebook = write_notebook(tmp_path / "models.ipynb", *MODELS)
    document = read_notebook(notebook)
    job = submit(user, user.runners, preflight(notebook, document), document, Order(name="models"))
    lines: list[str] = []
    work, _ = machine(user, team.url, tmp_path, lines)  # where the server cannot look whether it is there
    try:
        work.start()
        found = RemoteJob(user.runners, user, job).wait(100, check=False)
        assert found.state is JobState.DONE, found.job.reason + "\n".join(lines)
        assert "[6.]" in "".join(output.get("text", "") for output in found.outputs())
        for name in ("ours", "theirs"):
            version = user.ask_mlflow("GET", "/model-versions/get", query={"name": name, "version": "1"})["model_version"]
            model = user.ask_mlflow("GET", f"/logged-models/{version['model_id']}")["model"]
            assert model["info"]["status"] == "LOGGED_MODEL_READY" and model["info"]["source_run_id"] == version["run_id"]
            assert b"flavors" in b"".join(user.read_model_file(version["model_id"], "MLmodel"))
        assert "rmse" in {metric["key"] for metric in model["data"]["metrics"]}
        magic = next(run for run in found.runs() if run.name == "by-magic")
        assert len(magic.outputs) == 1
    finally:
        work.stop(20)
