"""The other verbs of `%track`: watching, archiving, sharing, privacy, help, twins, secrets; and completion."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import mlops_nb
from mlops_nb.core.records import TAG_ARCHIVED
from mlops_nb.core.run_state import RunStatus
from mlops_nb.magics.completion import TrackCompleter
from mlops_nb.magics.parsers import VERBS, parser_of
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking import watching
from mlops_nb.tracking.session import Session

Execute = Callable[[str], Any]


@pytest.fixture
def shell(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setattr(sessions, "current", Session())
    shell = InteractiveShell.instance()
    shell.reset()
    shell.run_cell("%load_ext mlops_nb", store_history=True)
    yield shell
    for run in reversed(list(sessions.current.runs)):
        run.stop()
    watching.watch()
    shell.run_cell("%unload_ext mlops_nb", store_history=True)


@pytest.fixture
def run_cell(shell: InteractiveShell) -> Execute:
    def execute(source: str) -> Any:
        with capture_output():
            result = shell.run_cell(source, store_history=True)
        result.raise_error()
        return result.result

    return execute


@pytest.fixture
def said(shell: InteractiveShell) -> Callable[[str], str]:
    """What a cell prints."""

    def execute(source: str) -> str:
        with capture_output() as captured:
            shell.run_cell(source, store_history=True).raise_error()
        return captured.stdout

    return execute


def error_of(shell: InteractiveShell, source: str) -> str:
    with capture_output():
        result = shell.run_cell(source, store_history=True)
    assert not result.success
    return str(result.error_in_exec or result.error_before_exec)


def test_watched_variables_are_logged_after_the_cells_that_change_them(run_cell: Execute, said: Callable[[str], str]) -> None:
    assert "loss, kind, table, api" in said("%track watch loss kind table api")
    run_cell("loss = 1.0")  # before any run
    run = run_cell("import numpy as np\nrun = %track start watched\nrun")
    run_cell("kind = 'adam'; table = np.zeros((3, 4))")
    run_cell("loss = np.float32(0.5)")
    run_cell("unrelated = 1")
    run_cell("loss = np.array(0.25); kind = 'sgd'")
    run_cell("%track watch --off\nloss = 9.0")
    run_cell("%track stop")
    store = sessions.current.store()
    points = store.metric_history(run.run_id, "loss").items
    assert [(p.step, p.value) for p in points] == [(0, 1.0), (1, 0.5), (2, 0.25)]
    found = store.get_run(run.run_id)
    assert (found.params["kind"], found.params["table"], found.tags["kind"]) == ("adam", "ndarray 3 × 4", "sgd")
    assert "api" not in found.params
    cells = {cell.index: cell.source for cell in store.cells(run.run_id)}
    assert cells[points[1].cell or 0].startswith("loss = np.float32")


def test_a_new_run_is_told_all_that_is_watched_and_a_cell_run_too(run_cell: Execute) -> None:
    run_cell("%track watch depth\ndepth = 3")
    run_cell("%%track cell-run\ndepth = 4")
    assert run_cell("%track show cell-run").metrics["depth"].value == 4.0
    run_cell("%track start other")
    assert run_cell("%track stop").latest["depth"][0] == 4.0


def test_a_secret_is_not_watched_nor_taken_from_a_line(shell: InteractiveShell, run_cell: Execute) -> None:
    assert "looks like a secret" in error_of(shell, "%track watch api_key")
    for line in (
        "%track start -p token='abcdefgh'",
        "%track start -t api_key=abcdef12345",
        "%track tag @last password=hunter22",
        "%track start x -n 'ghp_0123456789abcdefghijklmnopqrstuvwxyz'",
        "%track log --step 1 a=1 -n https://me:secretpass@host/",
    ):
        message = error_of(shell, line)
        assert "secret" in message and "getpass" in message and "\n" not in message, line
    assert run_cell("%track ls") == []
    run_cell("%track start -p max_tokens=5 -t tokenizer=bpe")


def test_archived_runs_are_hidden_until_asked_for(run_cell: Execute, said: Callable[[str], str]) -> None:
    for name in ("old", "new"):
        run_cell(f"%track start {name}\n%track stop")
    assert "--undo" in said("%track archive old")
    assert [run.name for run in run_cell("%track ls")] == ["new"]
    assert [run.name for run in run_cell("%track ls --archived")] == ["new", "old"]
    assert [run.name for run in run_cell(f"%track ls tags.`{TAG_ARCHIVED}` = 'true'")] == ["old"]
    assert [run.name for run in run_cell("%track ls -n 1")] == ["new"]
    assert len(mlops_nb.search_runs(experiment_names=["Default"])) == 2  # MLflow knows no archive
    run_cell("%track archive old --undo")
    assert [run.name for run in run_cell("%track ls")] == ["new", "old"]


def test_deleted_runs_come_back(run_cell: Execute, said: Callable[[str], str]) -> None:
    run = run_cell("%track start gone")
    run_cell("%track stop\n%track start stays\n%track stop")
    undo = re.search(r"%track delete \w+ --undo", said("%track delete gone"))
    assert undo is not None and [each.name for each in run_cell("%track ls")] == ["stays"]
    run_cell(undo[0])
    assert {each.run_id for each in run_cell("%track ls")} > {run.run_id}


def test_a_run_is_shared_as_one_page_without_script_and_secrets(run_cell: Execute, project: Path) -> None:
    run_cell("from matplotlib.figure import Figure\nfig = Figure(); fig.add_subplot().plot([1, 2]); token = 'sesame-open-sesame'")
    run_cell("%%track shared -p lr=0.1 -t team=a\nfor i in range(50):\n    %track log loss=1 / (i + 1)\n%track file fig\nmarker = '<b>'")
    run_cell("%track share shared --static out/page.html")
    page = (project / "out" / "page.html").read_text()
    assert len(page) < 5_000_000 and "<script" not in page.lower() and "sesame-open-sesame" not in page
    assert page.count("data:image/png;base64,") >= 2  # the curve, and the figure
    assert "marker = &#39;&lt;b&gt;&#39;" in page or "marker = '&lt;b&gt;'" in page
    for part in ("Cells", "lr", "0.1", "shared #1", "fig.png"):
        assert part in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)


def test_pictures_that_would_make_the_page_too_large_are_left_out(run_cell: Execute, project: Path) -> None:
    from PIL import Image

    for number in range(6):
        Image.frombytes("RGB", (550, 550), os.urandom(550 * 550 * 3)).save(project / f"noise{number}.png")
    run_cell("%%track noisy\nfor i in range(6):\n    mlops_nb = __import__('mlops_nb'); mlops_nb.log_artifact(f'noise{i}.png')")
    path = mlops_nb.share_run("noisy", project / "noisy.html")
    assert 1_000_000 < path.stat().st_size < 5_000_000


def test_privacy_says_what_is_captured_and_switches_this_kernel(
    run_cell: Execute, shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLOPS_NB_CAPTURE", raising=False)
    before = run_cell("%track privacy")
    assert before.level == "source" and "journal" in str(before) and "skip-track" in str(before)
    run_cell("password = 'abcdefghij'")
    assert sum(run_cell("%track privacy").redactions.values()) > sum(before.redactions.values())
    try:
        run_cell("%track privacy --level hash")
        run_cell("%%track hidden\nx = 41")
        run = run_cell("%track show hidden")
        assert [cell.source for cell in sessions.current.store().cells(run.run_id)][-1] == ""
        assert "cannot be" in error_of(shell, "%track privacy --level everything")
    finally:
        os.environ.pop("MLOPS_NB_CAPTURE", None)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_examples_that_parse(verb: str, said: Callable[[str], str]) -> None:
    from mlops_nb.magics.arguments import joined, split_words
    from mlops_nb.magics.track import _EXPRESSIONS

    for line in (f"%track {verb} --help", f"%track {verb}?"):
        text = said(line)
        assert text.startswith(f"%track {verb}: ") and "Examples:" in text
    for example in parser_of(verb).examples:
        words = split_words(example.partition("%track ")[2], _EXPRESSIONS)
        assert words[0] == verb
        parser_of(verb).parse_args(joined(words[1:], ("--sort", "-s")))


def test_the_docstring_names_every_verb_and_the_cell_form_has_help(shell: InteractiveShell, said: Callable[[str], str]) -> None:
    text = shell.magics_manager.magics["line"]["track"].__doc__ or ""
    assert all(re.search(rf"\b{verb}\b", text) for verb in VERBS) and text.count("%track") > 15
    assert said("%%track?").startswith("%%track: ") and "--series" in said("%%track?")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%track start x -p lr=x*2 -t a=1 -n hi --code", "run = mlops_nb.start_run('x', params={'lr': x*2}, tags={'a': '1'}, note='hi')"),
        ("%%track sweep --code\n1", "with mlops_nb.start_run('sweep #1', tags={'mlops.series': 'sweep', 'mlops.attempt': '1'}) as run:"),
        ("%track log acc=x / 2 --step x --code", "mlops_nb.log(acc=x / 2, step=x)"),
        ("%track log v/a=x --ctx subset=val --code", "mlops_nb.log({'val/v/a': x})"),
        ("%track stop --status failed --code", "mlops_nb.stop_run('FAILED')"),
        ("%track ls acc > .5 --sort -acc -n 3 --code", "mlops_nb.search_runs('acc > .5', order_by=['metrics.`acc` desc'], max_results=3)"),
        ("%track show @best:acc --code", "mlops_nb.get_run('@best:acc')"),
        ("%track share @last --static a.html --code", "mlops_nb.share_run('@last', 'a.html')"),
        ("%track reproduce @last --tol acc=1e-3 --code", "mlops_nb.reproduce('@last', tolerance={'acc': 1e-3})"),
        ("%track archive a b --undo --code", "mlops_nb.archive_run('b', undo=True)"),
        ("%track watch x --code", "mlops_nb.watch('x')"),
        ("%track data x --as train --code", "mlops_nb.log_data(x, 'train')"),
        ("%track on --code", "mlops_nb.autolog()"),
    ],
)
def test_the_python_twin_is_printed_and_nothing_is_done(said: Callable[[str], str], run_cell: Execute, line: str, expected: str) -> None:
    run_cell("x = 2")
    printed = said(line)
    assert expected in printed
    compile(printed, "twin", "exec")
    assert sessions.current.runs == [] and watching.current.names == []


def test_a_twin_does_what_the_line_does(said: Callable[[str], str], shell: InteractiveShell, run_cell: Execute) -> None:
    run_cell("x = 0.5")
    run_cell(said("%track start twin -e demo -p lr=x*2 -t a=1 -n 'hi there' --code"))
    run_cell(said("%track log acc=x --step 4 --code"))
    run_cell(said("%track stop --code"))
    run = run_cell("%track show twin")
    assert (run.params, run.metrics["acc"].step, run.tags["mlflow.note.content"]) == ({"lr": "1.0"}, 4, "hi there")


def test_models_data_and_seeds(run_cell: Execute, project: Path, said: Callable[[str], str]) -> None:
    (project / "d.csv").write_text("a,b\n1,2\n")
    run_cell("import numpy as np, random\nfrom sklearn.linear_model import LinearRegression\nX = np.arange(10.0).reshape(5, 2)")
    run_cell("model = LinearRegression().fit(X, X[:, 0])")
    run_cell("%track start parts --seed 3 --data d.csv --no-autolog\na = random.random(), float(np.random.rand())")
    assert "train" in said("%track data X --as train --for training")
    run_cell("%track model model --name linear --example X[:2]")
    run_cell("%track stop")
    run_cell("%track start again --seed 3\nb = random.random(), float(np.random.rand())\n%track stop")
    assert run_cell("a == b")
    run = run_cell("%track show parts")
    assert run.params["seed"] == "3" and len(run.outputs) == 1
    assert {(each.dataset.name, each.context) for each in run.inputs.datasets} == {("d.csv", None), ("train", "training")}
    for tab in ("data", "model", "files", "env", "cells", "params", "metrics", "system"):
        shown = run_cell(f"%track show parts --tab {tab}")
        assert str(shown).startswith("parts: ") and len(shown._repr_mimebundle_()["text/html"]) < 40_000
    assert "train" in str(run_cell("%track show parts --tab data"))
    assert "python" in str(run_cell("%track show parts --tab env")) and "d.csv" not in str(run_cell("%track show parts --tab files"))


def test_on_and_off_switch_autolog_and_the_ledger(run_cell: Execute, shell: InteractiveShell) -> None:
    from mlops_nb.tracking.autolog import enabled

    ledger = shell._mlops_nb_extension.ledger  # type: ignore[attr-defined]
    run_cell("%track off")
    assert not ledger.is_installed and not enabled
    run_cell("%track on")
    assert ledger.is_installed and "sklearn" in enabled
    run_cell("import numpy as np\nfrom sklearn.linear_model import Ridge\nRidge().fit(np.eye(3), [1, 2, 3])")
    run_cell("%track off")
    assert [run.status for run in run_cell("%track ls")] == [RunStatus.FINISHED]
    run_cell("%track on\n%track off")


def test_the_cell_form_appends_to_a_run(run_cell: Execute) -> None:
    run_cell("%%track first\n%track log m=1")
    run_cell("%%track --append first\n%track log m=2")
    assert len(run_cell("%track ls")) == 1
    assert [p.value for p in sessions.current.store().metric_history(run_cell("%track show first").run_id, "m").items] == [1.0, 2.0]


def test_the_notebook_is_checked_and_its_cells_restored(run_cell: Execute, project: Path) -> None:
    run_cell("%%track kept\nvalue = 3\n%track log m=value")
    assert run_cell("%track check").ok
    run_cell("%track restore kept --as old.ipynb")
    assert "value = 3" in (project / "old.ipynb").read_text()
    assert run_cell("%track check old.ipynb").cells >= 1


# -- completion


def settled(completer: TrackCompleter, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < deadline
        completer.known.refresh()
        time.sleep(0.02)


def test_completion_knows_runs_metrics_experiments_and_variables(run_cell: Execute, shell: InteractiveShell, project: Path) -> None:
    run_cell("%track start churn-base -e growth\n%track log val_auc=1 val_loss=2\n%track stop")
    run_cell("best = %track show churn-base\nframe = 1")
    (project / "other.ipynb").write_text("{}")
    completer = TrackCompleter(sessions.current)
    settled(completer, lambda: bool(completer.known.experiments))
    run_id = next(iter(completer.known.runs))
    complete = completer.complete
    assert complete("%track show chu", "chu") == ["churn-base"]
    assert complete("run = %track show chu", "chu") == ["churn-base"]
    assert complete("%mlops track show chu", "chu") == ["churn-base"]
    assert complete(f"%track show {run_id[:3]}", run_id[:3]) == [run_id[:8]]
    assert complete("%track show @best:val", "val") == ["val_auc", "val_loss"]
    assert complete("%track show b", "b") == ["best"]
    assert complete("%track ls -e gro", "gro") == ["growth"]
    assert complete("%track ls --sort -val_a", "val_a") == ["val_auc"]
    assert complete("%track ls val_l", "val_l") == ["val_loss"]
    assert complete("%track stop --status k", "k") == ["killed"]
    assert complete("%track show x --tab c", "c") == ["cells"]
    assert complete("%track archive churn-base --u", "u") == ["undo"]
    assert complete("%track watch fra", "fra") == ["frame"]
    assert complete("%track check oth", "oth") == ["other.ipynb"]
    assert complete("%%track x --series s --app", "app") == ["append"]
    assert complete("%track start --resume churn", "churn") == ["churn-base"]
    assert complete("%track priv", "priv") == ["privacy"]
    loaded = shell._mlops_nb_extension.completer  # type: ignore[attr-defined]
    settled(loaded, lambda: "churn-base" in loaded.known.runs.values())
    assert shell.complete("chu", "%track show chu", len("%track show chu"))[1] == ["churn-base"]


def test_completion_follows_the_store(run_cell: Execute, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlops_nb.magics import knowledge

    monkeypatch.setattr(knowledge, "_FRESH_SECONDS", 0.0)
    run_cell("%track start one\n%track stop")
    completer = TrackCompleter(sessions.current)
    settled(completer, lambda: "one" in completer.known.runs.values())
    run_cell("%track start two\n%track log fresh=1\n%track stop")
    settled(completer, lambda: "two" in completer.known.runs.values() and "fresh" in completer.known.metrics)
    assert list(completer.known.runs.values())[:2] == ["two", "one"]


def test_completion_in_a_store_of_ten_thousand_runs_is_quick(
    project: Path, monkeypatch: pytest.MonkeyPatch, shell: InteractiveShell
) -> None:
    from mlops_nb.core.records import Metric

    store = sessions.current.store()
    with store.group():
        for i in range(10_000):
            run = store.create_run("0", name=f"run-{i}")
            store.log_batch(run.run_id, metrics=[Metric(key=f"metric_{i % 20}", value=1.0, timestamp=1)])
    completer = TrackCompleter(sessions.current)
    costs = []
    deadline = time.monotonic() + 60
    while len(completer.known.runs) < 10_000 or len(costs) < 200:  # while it is read, and after
        assert time.monotonic() < deadline
        began = time.perf_counter()
        completer.complete("%track show run-99", "run-99")
        costs.append((time.perf_counter() - began) * 1000)
        time.sleep(0.005)
    later = sorted(costs[1:])
    print(
        {"test": "completion", "runs": 10_000, "n": len(costs), "first_ms": round(costs[0], 2), "p50_ms": round(later[len(later) // 2], 2)}
    )
    print({"p95_ms": round(later[int(len(later) * 0.95)], 2), "max_ms": round(later[-1], 2)})
    assert len(completer.complete("%track show run-99", "run-99")) == 100
    assert later[len(later) // 2] < 30


def test_completion_never_waits_for_a_store_that_does_not_answer(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket() as silent:  # takes connections and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("MLOPS_NB_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}/mlops")
        session = Session()
        completer = TrackCompleter(session)
        began = time.perf_counter()
        assert "@last" in completer.complete("%track show @l", "@l")
        assert "@main" in completer.complete("%report --vs @m", "@m")
        assert completer.complete("%track sta", "sta") == ["start"]
        assert time.perf_counter() - began < 1.0
        session.close()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%track share @last --live", "links that follow a run are not in this version"),
        ("%track share @last --ttl 7d", "links that follow a run are not in this version"),
        ("%track reproduce @last --on gpu", "%runner run NOTEBOOK --on gpu"),
        ("%track strt", "Did you mean `%track start`?   (%track? for help)"),
    ],
)
def test_what_is_not_there_is_said_plainly(shell: InteractiveShell, line: str, said: str) -> None:
    with capture_output():
        result = shell.run_cell(line, store_history=True)
    assert said in str(result.error_in_exec)


def test_logs_and_traces_have_their_tabs(run_cell: Execute, shell: InteractiveShell) -> None:
    run_cell("%track start noisy")
    with capture_output():
        shell.run_cell("1 / 0", store_history=True)
    run_cell("%track stop")
    assert "ZeroDivisionError" in str(run_cell("%track show noisy --tab logs"))
    assert "nothing" in str(run_cell("%track show noisy --tab traces"))
