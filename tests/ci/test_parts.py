"""What `mlops-nb ci run` is made of, without running a notebook: environment, settings, baselines, origin."""

from __future__ import annotations

import io
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import mlops_nb
from mlops_nb.ci import baseline as baselines
from mlops_nb.ci.baseline import Baseline, Kind, NoBaseline, choice_of, find_baseline
from mlops_nb.ci.baseline_file import as_run, read_baselines, write_baselines
from mlops_nb.ci.environment import kernel_environment
from mlops_nb.ci.gate_file import GatesChanged, gates_against_base, read_gates
from mlops_nb.ci.judging import judge
from mlops_nb.ci.origin import Origin, default_branch, origin_of
from mlops_nb.ci.progress import Lines
from mlops_nb.ci.protocol import CellEnded, Ending
from mlops_nb.ci.result import CiResult, NotebookResult
from mlops_nb.ci.running import run_notebooks
from mlops_nb.ci.settings import parameters_of
from mlops_nb.ci.telling import annotate
from mlops_nb.ci.worktree import checked_out, commit_of_branch
from mlops_nb.core.comparison import Verdict
from mlops_nb.core.gates import Gate, GateResult, evaluate
from mlops_nb.core.records import TAG_CI, TAG_CI_DEFAULT_BRANCH, TAG_CI_GATES, TAG_NOTEBOOK, Metric, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, MlopsError, NotFound
from mlops_nb.store.base import TrackingStore
from mlops_nb.store.open import open_store
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.lookup import find_run
from mlops_nb.tracking.session import Session
from tests.ci.conftest import commit, git, notebook

ORIGIN = Origin(commit="c" * 40, branch="feature")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrackingStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    assert opened is not None
    yield opened
    opened.close()


@pytest.fixture
def session(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    own = Session()
    monkeypatch.setattr(sessions, "current", own)
    yield own
    own.close()


def a_run(store: TrackingStore, metrics: dict[str, float], status: RunStatus = RunStatus.FINISHED, **tags: str) -> Run:
    (experiment,) = store.list_experiments().items[:1]
    at = time.time_ns() // 1_000_000
    run = store.create_run(experiment.experiment_id, name="kept", start_time=at, tags={TAG_NOTEBOOK: "train.ipynb", **tags})
    store.log_batch(run.run_id, metrics=[msgspec.convert({"key": k, "value": v, "timestamp": at}, type=Metric) for k, v in metrics.items()])
    return store.update_run(run.run_id, status=status, end_time=at + 1)


# -- the environment of the kernel


def test_the_kernel_sees_no_token_of_a_forge_or_a_cloud() -> None:
    secrets = dict.fromkeys(
        (
            "GITHUB_TOKEN GH_TOKEN ACTIONS_RUNTIME_TOKEN ACTIONS_ID_TOKEN_REQUEST_TOKEN CI_JOB_TOKEN GITLAB_TOKEN REPO_TOKEN "
            "BITBUCKET_STEP_OIDC_TOKEN AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN GOOGLE_APPLICATION_CREDENTIALS "
            "AZURE_CLIENT_SECRET HF_TOKEN WANDB_API_KEY DOCKER_AUTH_CONFIG SSH_AUTH_SOCK PYTHON_KEYRING_PASSWORD JUPYTER_TOKEN "
            "CONDA_TOKEN GITHUB_ENV GITHUB_OUTPUT GIT_ASKPASS UNKNOWN"
        ).split(),
        "a-value-of-eight",
    )
    harmless = {"PATH": "/bin", "HOME": "/home/me", "LC_ALL": "C", "OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "0", "CI": "true"}
    reaching = {"MLOPS_NB_TRACKING_URI": "https://me:word@host/mlops", "MLOPS_NB_TRACKING_TOKEN": "the-stores-own"}
    assert kernel_environment({**secrets, **harmless, **reaching}) == {**harmless, **reaching}


def test_a_proxy_is_passed_unless_a_password_stands_in_it() -> None:
    assert kernel_environment({"HTTPS_PROXY": "http://proxy:3128"}) == {"HTTPS_PROXY": "http://proxy:3128"}
    assert kernel_environment({"HTTPS_PROXY": "http://me:word@proxy:3128"}) == {}


def test_what_is_asked_for_by_name_is_passed() -> None:
    environment = {"AWS_REGION": "eu", "AWS_SECRET_ACCESS_KEY": "s", "HF_TOKEN": "t"}
    assert kernel_environment(environment, ["AWS_*"]) == {"AWS_REGION": "eu", "AWS_SECRET_ACCESS_KEY": "s"}
    for wrong in ("", "*", "A=b", "-x"):
        with pytest.raises(InvalidInput, match="no name of an environment variable"):
            kernel_environment(environment, [wrong])


# -- where runs come from


def test_a_pull_request_is_not_the_default_branch_even_if_its_branch_is_called_so(repository: Path) -> None:
    notebook(repository, "1")
    head = commit(repository)
    event = repository / "event.json"
    hook = {"number": 7, "repository": {"default_branch": "main", "full_name": "me/it"}}
    head_of = {"sha": head, "ref": "main", "repo": {"full_name": "stranger/it", "fork": True}}
    hook["pull_request"] = {"number": 7, "head": head_of, "base": {"ref": "main", "repo": {"full_name": "me/it"}}}
    event.write_text(json.dumps(hook))
    environment = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_REPOSITORY": "me/it",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_REF": "refs/pull/7/merge",
        "GITHUB_SHA": head,
        "GITHUB_BASE_REF": "main",
        "GITHUB_HEAD_REF": "main",
        "GITHUB_EVENT_PATH": str(event),
    }
    origin = origin_of(environment, repository)
    assert (origin.pull_request, origin.is_default) == (7, False) and TAG_CI_DEFAULT_BRANCH not in origin.tags
    push = {"GITHUB_REPOSITORY": "me/it", "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main", "GITHUB_SHA": head}
    origin = origin_of(push, repository)
    assert origin.is_default and origin.tags[TAG_CI_DEFAULT_BRANCH] == "main" and origin.tags[TAG_CI] == "github"


def test_outside_of_a_ci_the_clean_tree_of_the_default_branch_counts(repository: Path) -> None:
    path = notebook(repository, "1")
    commit(repository)
    assert origin_of({}, repository).is_default
    path.write_text(path.read_text() + "\n")
    assert not origin_of({}, repository).is_default
    git(repository, "checkout", "--quiet", "-b", "feature")
    assert not origin_of({}, repository).is_default


def test_the_default_branch_is_what_the_ci_or_git_says(repository: Path) -> None:
    assert default_branch({}, repository) == "main"
    assert default_branch({"CI_DEFAULT_BRANCH": "trunk"}, repository) == "trunk"
    assert default_branch({"CI_DEFAULT_BRANCH": "-x --y"}, repository) == "main"


def test_a_commit_is_checked_out_beside_the_users_tree_which_stays_as_it_is(repository: Path) -> None:
    path = notebook(repository, "old = 1")
    first = commit(repository)
    git(repository, "checkout", "--quiet", "-b", "feature")
    notebook(repository, "new = 1")
    (repository / ".git" / "hooks" / "post-checkout").write_text("#!/bin/sh\ntouch hooked\n")
    (repository / ".git" / "hooks" / "post-checkout").chmod(0o755)
    before = path.read_bytes()
    with checked_out(repository, commit_of_branch(repository, "main", is_ci=False)) as tree:
        assert "old = 1" in (tree / "train.ipynb").read_text() and git(tree, "rev-parse", "HEAD") == first
        assert not (tree / "hooked").exists()
        (tree / "made").touch()
    assert not tree.exists() and path.read_bytes() == before
    assert git(repository, "worktree", "list").count("\n") == 0 and git(repository, "branch", "--show-current") == "feature"
    with pytest.raises(NotFound, match=r"'nowhere' is not in this clone\. Fetch it first"):
        commit_of_branch(repository, "nowhere", is_ci=True)


# -- baselines


def test_at_main_is_the_newest_run_of_the_default_branch_and_the_notebook_that_finished_and_passed(store: TrackingStore) -> None:
    a_run(store, {"auc": 0.1}, **{TAG_CI_DEFAULT_BRANCH: "main"})
    wanted = a_run(store, {"auc": 0.2}, **{TAG_CI_DEFAULT_BRANCH: "main", TAG_CI_GATES: "passed"})
    a_run(store, {"auc": 0.3}, RunStatus.FAILED, **{TAG_CI_DEFAULT_BRANCH: "main"})
    a_run(store, {"auc": 0.3}, **{TAG_CI_DEFAULT_BRANCH: "main", TAG_CI_GATES: "failed"})
    a_run(store, {"auc": 0.4}, **{TAG_CI: "github"})
    other = a_run(store, {"auc": 0.5}, **{TAG_CI_DEFAULT_BRANCH: "main", TAG_NOTEBOOK: "it's.ipynb"})
    assert find_run(store, "@main", notebook="train.ipynb").run_id == wanted.run_id
    assert find_run(store, "@main", notebook="it's.ipynb").run_id == other.run_id
    assert find_run(store, "@main").run_id == other.run_id
    with pytest.raises(NotFound, match=r"The default branch has no finished run of none\.ipynb here"):
        find_run(store, "@main", notebook="none.ipynb")
    found = find_baseline(choice_of(None, Path("nowhere.json")), store, "train.ipynb", ORIGIN)
    assert isinstance(found, Baseline) and found.run.run_id == wanted.run_id and found.words.startswith("run kept (")


def test_without_a_run_of_main_the_file_counts_and_without_it_nothing(store: TrackingStore, tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    choice = choice_of(None, file)
    missing = find_baseline(choice, store, "train.ipynb", ORIGIN)
    assert missing == NoBaseline(reason="main has no finished run of train.ipynb in this store that passed its gates")
    run = a_run(store, {"auc": 0.9, "nan": math.nan, "inf": -math.inf})
    write_baselines(file, store, {"train.ipynb": run})
    found = find_baseline(choice, store, "train.ipynb", ORIGIN)
    assert isinstance(found, Baseline) and found.is_stored and found.run.run_id == run.run_id
    assert isinstance(find_baseline(choice, store, "other.ipynb", ORIGIN), NoBaseline)
    assert find_baseline(choice_of("none", file), store, "train.ipynb", ORIGIN) == NoBaseline(reason="none was asked for")


def test_a_baseline_file_is_compared_with_where_its_run_is_gone(store: TrackingStore, tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    before = a_run(store, {"val_auc": 0.9, "loss": 0.3, "other_nan": math.nan})
    write_baselines(file, store, {"train.ipynb": before, "b.ipynb": before})
    text = file.read_text()
    write_baselines(file, store, {"b.ipynb": before})
    assert file.read_text() == text and json.loads(text)["notebooks"]["train.ipynb"]["metrics"]["other_nan"]["value"] == "NaN"
    empty = open_store(f"sqlite:///{tmp_path / 'empty.db'}", create=True)
    assert empty is not None
    this = a_run(empty, {"val_auc": 0.8, "loss": 0.2})
    found = find_baseline(choice_of(str(file), file), empty, "train.ipynb", ORIGIN)
    assert isinstance(found, Baseline) and not found.is_stored
    judged = judge(empty, this, found, [Gate(metric="val_auc", tolerance=0.01), Gate(metric="loss")])
    assert [(gate.metric, gate.is_failure) for gate in judged.gates] == [("val_auc", True), ("loss", False)]
    assert judged.result is not None and {row.key: row.changes[0].verdict for row in judged.result.metrics}["other_nan"] is Verdict.MISSING
    empty.close()


def test_metrics_of_other_rows_than_the_baseline_files_are_not_compared(store: TrackingStore, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    from mlops_nb.core.predictions import PredictionsInfo

    def with_predictions(digest: str) -> Run:
        target = numpy.array([0, 1, 0, 1] * 20)
        info = numpy.frombuffer(msgspec.json.encode(PredictionsInfo(name="v", total=80, digest=digest)), dtype=numpy.uint8)
        content = io.BytesIO()
        numpy.savez(content, target=target, prediction=target, info=info)
        run = a_run(store, {"val_accuracy": 1.0})
        store.write_artifact(run.run_id, "predictions/v.npz", io.BytesIO(content.getvalue()))
        return run

    file = tmp_path / "baseline.json"
    write_baselines(file, store, {"train.ipynb": with_predictions("aa" * 16)})
    kept = read_baselines(file)["train.ipynb"]
    assert kept.metrics["val_accuracy"].rows == "aa" * 16
    rows = {"val_accuracy": "aa" * 16}
    gone = Baseline(run=as_run("train.ipynb", kept), name="main", words="file", is_stored=False, rows=rows)
    same = judge(store, with_predictions("aa" * 16), gone, [Gate(metric="val_accuracy")])
    other = judge(store, with_predictions("bb" * 16), gone, [Gate(metric="val_accuracy")])
    assert same.gates[0].outcome.value == "pass" and other.gates[0].outcome.value == "not comparable"
    assert other.gates[0].reason == "'val_accuracy' cannot be compared: other evaluation rows."


@pytest.mark.parametrize(
    "content",
    [
        b"{}x",
        b"[]",
        b'{"version": 2, "notebooks": {}}',
        b'{"version": 1, "notebooks": {"a": {"metrics": {"m": {"value": "x"}}}}}',
        b'{"version": 1, "notebooks": {"a": {"run_id": "../../etc"}}}',
        b'{"version": 1, "notebooks": {"a": {"surprise": 1}}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_baseline_file_that_holds_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match="is no baseline file") as caught:
        choice_of(str(file), file)
    assert str(caught.value).isprintable()


def test_a_baseline_that_was_named_and_is_not_there_is_an_error(store: TrackingStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no baseline file"):
        choice_of("nowhere.json", tmp_path / "baseline.json")
    for there in (store, None):
        with pytest.raises(NotFound, match="There is no run 'misspelt'"):
            find_baseline(choice_of("misspelt", tmp_path / "x"), there, "train.ipynb", ORIGIN)
    assert choice_of("rerun", tmp_path).kind is Kind.RERUN
    assert baselines.choice_of("@last", tmp_path).selector == "@last"


# -- what is asked for


def test_what_cannot_be_right_is_said_before_anything_runs(repository: Path, session: Session) -> None:
    path = notebook(repository, "1")
    (repository / "text.ipynb").write_text("no notebook")
    (repository / "a.py").write_text("1")
    wrong: list[tuple[dict[str, object], str]] = [
        ({"notebooks": []}, "No notebook is named"),
        ({"notebooks": "nowhere.ipynb"}, "There is no notebook 'nowhere.ipynb'"),
        ({"notebooks": "a.py"}, "'a.py' is no notebook"),
        ({"notebooks": "text.ipynb"}, "cannot be read as a notebook"),
        ({"notebooks": [path, "./train.ipynb"]}, "is named twice"),
        ({"gates": "nowhere.yml"}, "There is no gate file"),
        ({"report": "report.txt"}, "Let its name end in .md"),
        ({"timeout": 0}, "timeout is 0 s"),
        ({"cell_timeout": math.nan}, "cell_timeout is 'nan'"),
        ({"cwd": "nowhere"}, "There is no folder nowhere"),
        ({"parameters": {"a": object()}}, "A parameter cannot be passed on"),
        ({"parameters": {"a b": 1}}, "'a b' is no name of a parameter"),
        ({"baseline": "no-such-run"}, "There is no run 'no-such-run'"),
        ({"pass_env": ["A B"]}, "no name of an environment variable"),
    ]
    for options, expected in wrong:
        with pytest.raises(MlopsError) as caught:
            run_notebooks(**{"notebooks": path, **options})  # type: ignore[arg-type]  # that is what is tested
        assert expected in str(caught.value), options
    assert not (repository / "report.md").exists() and not (repository / ".mlops" / "ci").exists()


def test_settings_of_the_project_file_are_checked(repository: Path, session: Session) -> None:
    path = notebook(repository, "1")
    for number, (text, expected) in enumerate(
        [
            ("gate = 'x'", "has no 'gate'. Did you mean 'gates'?"),
            ("pass_env = 'A'", "pass_env in .* is no list of names"),
            ("timeout = -1", "timeout is '-1'"),
            ("gates = 3", "gates in .* is no path"),
        ]
    ):
        (repository / "pyproject.toml").write_text(f"[tool.mlops_nb.ci]\n{text}\n")
        os.utime(repository / "pyproject.toml", (number + 1, number + 1))
        with pytest.raises(InvalidInput, match=expected):
            run_notebooks(path)


def test_parameters_are_read_as_papermill_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "p.yml"
    file.write_text("a: 1\nb: [1, 2]\nday: 2026-01-02\n")
    given = parameters_of([("a", "2"), ("c", "True"), ("d", "0.5"), ("e", "x")], raw=[("f", "1")], files=[str(file)], texts=["{b: 3}"])
    assert given == {"a": 2, "b": 3, "day": "2026-01-02", "c": True, "d": 0.5, "e": "x", "f": "1"}
    for texts, files, expected in ((["[1]"], [], "holds no parameters"), (["{"], [], "is no YAML"), ([], ["x.yml"], "no parameter file")):
        with pytest.raises(MlopsError, match=expected):
            parameters_of([], texts=texts, files=files)


def test_progress_lines_are_no_commands_to_a_ci_whatever_a_notebook_is_called() -> None:
    out = io.StringIO()
    lines = Lines(out, is_github=True)
    with lines.group("a.ipynb\n::add-mask::x%0A"):
        lines.say("::set-output name=x::y\n::error::z")
        lines.event("::stop-commands::t", CellEnded(2, 3, 0.5, False))
    shown = out.getvalue().splitlines()
    assert shown[0] == "::group::a.ipynb ::add-mask::x%250A" and shown[-1] == "::endgroup::"
    assert not any(line.lstrip().startswith("::") for line in shown[1:-1]) and "cell 2/3  500 ms" in shown[2]


TOKEN = "ghs_" + "0123456789abcdefghijklmnopqrstuvwxyz"


def result_of(path: Path, *, reason: str, gates: tuple[GateResult, ...] = ()) -> CiResult:
    part = NotebookResult(
        notebook="a,b.ipynb",
        path=path,
        ending=Ending.FAILED,
        reason=reason,
        cell=2,
        line=17,
        seconds=1.0,
        run_id="",
        verdict="failed",
        baseline="none",
        gates=gates,
        output=None,
    )
    return CiResult(exit_code=3, notebooks=(part,), files=(), gates_file=".mlops/gates.yml")


def test_github_is_told_the_line_of_the_failing_cell_and_of_the_gate_and_no_text_becomes_a_command(repository: Path) -> None:
    path = notebook(repository, "x = 1", "raise ValueError(x)", name="a,b.ipynb")
    made = Run(
        run_id="0" * 32,
        experiment_id="0",
        name="r",
        status=RunStatus.FINISHED,
        start_time=1,
        metrics={"auc": Metric(key="auc", value=0.5, timestamp=1)},
    )
    gate = evaluate([Gate(metric="auc", minimum=0.9, line=4)], made, None, None)
    result = result_of(path, reason=f"ValueError: 50%\n::error::no {TOKEN}", gates=gate)
    out = io.StringIO()
    annotate(result, {"GITHUB_TOKEN": TOKEN}, out)
    assert out.getvalue() == "", "that is no GitHub Actions"
    annotate(result, {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(repository), "GITHUB_TOKEN": TOKEN}, out)
    cell, limit = out.getvalue().splitlines()
    assert cell.startswith("::error file=a%2Cb.ipynb,line=17,title=a%2Cb.ipynb%3A cell 2::failed: ValueError: 50%25%0A::error::no ")
    assert TOKEN not in cell
    assert limit == "::error file=.mlops/gates.yml,line=4,title=a%2Cb.ipynb%3A auc::'auc' is 0.5000, below 0.9000."


def write_gate_file(folder: Path, tolerance: float) -> Path:
    path = folder / ".mlops" / "gates.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"gates:\n  - {{metric: val_auc, direction: maximize, tolerance: {tolerance}}}\n")
    return path


def test_a_branch_that_changes_its_gates_is_judged_by_those_of_main_and_the_change_is_told(repository: Path) -> None:
    path = write_gate_file(repository, 0.002)
    commit(repository)
    git(repository, "checkout", "--quiet", "-b", "feature")
    origin = Origin(branch="feature", default_branch="main", pull_request=7)
    same = gates_against_base(read_gates(path), [path], origin, by_base=True)
    assert same.changed_for("train.ipynb") == GatesChanged() and [gate.tolerance for gate in same.for_notebook("train.ipynb")] == [0.002]

    write_gate_file(repository, 0.5)
    found = gates_against_base(read_gates(path), [path], origin, by_base=True)
    assert [gate.tolerance for gate in found.for_notebook("train.ipynb")] == [0.002]
    changed = found.changed_for("train.ipynb")
    assert changed.changes == (("val_auc", "Δ ≥ −0.002", "Δ ≥ −0.5"),)
    assert changed.words == "this pull request changes them; judged by those of main"
    here = gates_against_base(read_gates(path), [path], origin, by_base=False)
    assert [gate.tolerance for gate in here.for_notebook("train.ipynb")] == [0.5]
    assert here.changed_for("train.ipynb").words.endswith("judged by the changed ones, not by those of main")

    path.unlink()
    gone = gates_against_base([], [path], origin, by_base=True)
    assert len(gone.for_notebook("train.ipynb")) == 1, "taking the file away is no way around it"
    assert gone.changed_for("train.ipynb").changes == (("val_auc", "Δ ≥ −0.002", None),)


def test_gates_that_cannot_be_held_against_main_say_so(repository: Path) -> None:
    (repository / "a").touch()
    commit(repository)
    git(repository, "checkout", "--quiet", "-b", "feature")
    path = write_gate_file(repository, 0.1)
    own = read_gates(path)
    origin = Origin(branch="feature", default_branch="main")
    assert gates_against_base(own, [path], origin, by_base=True).changed_for("a.ipynb").words == "this branch sets them; main has none"
    git(repository, "branch", "--quiet", "-D", "main")
    assert "not in this clone" in gates_against_base(own, [path], origin, by_base=True).changed_for("a.ipynb").words
    on_main = msgspec.structs.replace(origin, is_default=True)
    assert gates_against_base(own, [path], on_main, by_base=True).changed_for("a.ipynb") == GatesChanged()


def test_a_report_that_could_not_be_written_is_refused_before_anything_runs(repository: Path, session: Session) -> None:
    path = notebook(repository, "open('ran', 'w').close()")
    (repository / "file").touch()
    for options in ({"report": "file/report.md"}, {"output_dir": "file/out"}):
        with pytest.raises(InvalidInput, match=r"cannot be written to.*--(report|output-dir)"):
            mlops_nb.run_notebooks(path, **options)  # type: ignore[arg-type]  # that is what is tested
    assert not (repository / "ran").exists()
