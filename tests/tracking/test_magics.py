"""`%track` in a real IPython shell, against the embedded store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from mlops_nb.core.records import TAG_ATTEMPT, TAG_PARENT, TAG_SERIES
from mlops_nb.core.run_state import RunStatus
from mlops_nb.magics.completion import TrackCompleter
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.lookup import Runs
from mlops_nb.tracking.run import ActiveRun
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
    shell.run_cell("%unload_ext mlops_nb", store_history=True)


@pytest.fixture
def run_cell(shell: InteractiveShell) -> Execute:
    def execute(source: str) -> Any:
        with capture_output():
            result = shell.run_cell(source, store_history=True)
        result.raise_error()
        return result.result

    return execute


def error_of(shell: InteractiveShell, source: str) -> str:
    with capture_output() as captured:
        result = shell.run_cell(source, store_history=True)
    assert not result.success
    assert "Traceback" not in captured.stdout
    return str(result.error_in_exec or result.error_before_exec)


def test_a_run_over_several_cells(run_cell: Execute) -> None:
    run = run_cell("lr = 0.05\n%track start 'my run' -e demo -p lr=lr*2 -p kind='a b' -t baseline -t stage=dev -n 'a note'")
    assert isinstance(run, ActiveRun)
    run_cell("for i in range(3):\n    %track log loss=1 / (i + 1) acc=max(i, 0) --step i * 10")
    run_cell("%track stop")
    found = run_cell("%track show @last")
    assert (found.name, found.params, found.status) == ("my run", {"lr": "0.1", "kind": "a b"}, RunStatus.FINISHED)
    assert found.metrics["loss"].step == 20 and found.tags["baseline"] == "true" and found.tags["stage"] == "dev"
    ledger = sessions.current.store().cells(found.run_id)
    assert [cell.execution_count for cell in ledger] == [2, 3, 4]
    assert next(cell for cell in ledger if cell.index == found.metrics["loss"].cell).source.startswith("for i in range(3)")


def test_a_track_cell_is_native_python(shell: InteractiveShell, run_cell: Execute) -> None:
    value = run_cell("%%track tidy -p n=2\nimport asyncio\nawait asyncio.sleep(0)\n%track log m=1\nx = 41\nx + 1")
    assert value == 42
    with capture_output() as captured:
        result = shell.run_cell("%%track tidy\n\n\n1 / 0", store_history=True)
    assert isinstance(result.error_in_exec, ZeroDivisionError)
    assert captured.stdout.count("Traceback") == 1 and "line 4" in captured.stdout
    runs = run_cell("%track ls")
    assert [(run.name, run.status) for run in runs] == [("tidy #2", RunStatus.FAILED), ("tidy #1", RunStatus.FINISHED)]
    assert runs[0].tags[TAG_SERIES] == "tidy" and runs[0].tags[TAG_ATTEMPT] == "2"
    assert runs[0].reason == "ZeroDivisionError: division by zero in cell [3]"
    assert run_cell("%track show tidy").name == "tidy #2"


def test_a_track_cell_in_an_open_run_is_its_child(run_cell: Execute) -> None:
    outer = run_cell("%track start outer")
    run_cell("%%track inner\n%track log m=1")
    assert outer.is_open
    assert run_cell("%track show inner").tags[TAG_PARENT] == outer.run_id


def test_starting_again_stops_the_open_run(run_cell: Execute) -> None:
    first = run_cell("%track start one")
    run_cell("%track start two")
    assert not first.is_open and [run.name for run in sessions.current.runs] == ["two"]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("%track strt", "Did you mean `%track start`?"),
        ("%track start --expriment x", "--experiment"),
        ("%track stop", "no run is open"),
        ("%track log 5", "not KEY=EXPR"),
        ("%track log a=undefined_name", "NameError: name 'undefined_name' is not defined"),
        ("%track log a='text'", "not a number"),
        ("%track log", "required: KEY=EXPR"),
        ("%track show nothing-like-it", "There is no run 'nothing-like-it'"),
        ("%track show @best:auc", "No metric 'auc'"),
        ("%track show @lst", "is no run selector"),
        ("%track ls metrics.a >", "does not parse"),
        ("%track start -p token='abcdefgh'", "looks like a secret"),
        ("%track file missing.png", "There is no file 'missing.png'"),
        ("%mlops nothing", "no sub-command"),
    ],
)
def test_an_error_is_one_line_with_the_next_step(shell: InteractiveShell, run_cell: Execute, line: str, part: str) -> None:
    run_cell("%track start seed\n%track stop")
    message = error_of(shell, line)
    assert part in message and "\n" not in message


def test_lists_are_filtered_sorted_and_shown_as_text_and_html(shell: InteractiveShell, run_cell: Execute) -> None:
    for name, auc in [("a", 0.5), ("<b>", 0.9), ("c", 0.7)]:
        run_cell(f"%track start '{name}'\n%track log auc={auc}\n%track stop")
    runs = run_cell("%track ls metrics.auc > .6 --sort -auc")
    assert isinstance(runs, Runs) and [run.name for run in runs] == ["<b>", "c"]
    assert list(runs.df["metrics.auc"]) == [0.9, 0.7]
    assert [run.name for run in run_cell("%track ls --sort auc -n 1")] == ["a"]
    bundle, _ = shell.display_formatter.format(runs)
    assert "<b>" in bundle["text/plain"] and "&lt;b&gt;" in bundle["text/html"] and "<b>" not in bundle["text/html"]
    assert "<script" not in bundle["text/html"] and len(bundle["text/html"]) < 20_000


def test_figures_and_files_are_kept(run_cell: Execute, project: Path) -> None:
    (project / "data.csv").write_text("a,b\n")
    run_cell("from matplotlib.figure import Figure\nfig = Figure(); fig.add_subplot().plot([1, 2])")
    run_cell(
        "%track start files\n%track file fig\n%track file fig --as plots/roc.svg\n%track file data.csv\n%track file data.csv --as in/d.csv"
    )
    run = run_cell("%track stop")
    paths = [artifact.path for artifact in sessions.current.store().list_artifacts(run.run_id, recursive=True)]
    assert [path for path in paths if not path.startswith(("environment/", "data/"))] == [
        "data.csv",
        "fig.png",
        "in/d.csv",
        "plots/roc.svg",
    ]


def test_runs_are_tagged_noted_and_deleted(run_cell: Execute) -> None:
    run_cell("%track start r\n%track stop")
    run_cell("%track tag @last best=yes\n%track note @last 'so good'")
    run = run_cell("%track show tag:best=yes")
    assert run.tags["mlflow.note.content"] == "so good"
    run_cell("%track delete r")
    assert run_cell("%track ls") == []


def test_a_failing_store_does_not_fail_logging_cells(run_cell: Execute, project: Path) -> None:
    (project / ".mlops").mkdir()
    (project / ".mlops" / "store.db").write_bytes(b"garbage " * 500)
    run_cell("%track start r\n%track log m=1")
    run_cell("%track stop")
    (project / ".mlops" / "store.db").unlink()
    assert run_cell("%track show r").metrics["m"].value == 1.0


def test_hooks_that_fail_take_themselves_off_and_the_cells_go_on(shell: InteractiveShell, run_cell: Execute) -> None:
    ledger = shell._mlops_nb_extension.ledger  # type: ignore[attr-defined]
    ledger._redact = None  # a fault of ours
    run_cell("%track start r")
    for i in range(5):
        assert run_cell(f"{i}") == i
    assert ledger.faults == 3 and ledger._before not in shell.events.callbacks["pre_run_cell"]


def test_loading_twice_and_unloading_leaves_one_or_none(shell: InteractiveShell, run_cell: Execute) -> None:
    run_cell("%load_ext mlops_nb\n%reload_ext mlops_nb")
    run_cell("%track start once\n%track log m=1\n%track stop")
    found = run_cell("%track show once")
    assert len(sessions.current.store().metric_history(found.run_id, "m").items) == 1
    shell.run_cell("%unload_ext mlops_nb", store_history=True)
    with capture_output():
        assert not shell.run_cell("%track").success
    shell.run_cell("%load_ext mlops_nb", store_history=True)


def test_completion_knows_verbs_options_and_metrics(run_cell: Execute) -> None:
    run = run_cell("%track start r")
    run.log(val_loss=1.0)
    complete = TrackCompleter(sessions.current).complete
    assert complete("%track st", "st") == ["start", "stop"]
    assert complete("%track start --ex", "ex") == ["experiment"]
    assert complete("%track log va", "va") == ["val_loss="]
    assert "@best:" in complete("%track show @", "@")
    assert complete("x = 'st", "st") == []


def test_the_hooks_cost_less_than_two_milliseconds_a_cell(shell: InteractiveShell, run_cell: Execute) -> None:
    import time

    shell.user_ns.update({f"name_{i}": i for i in range(500)})
    run_cell("%track start r")
    ledger = shell._mlops_nb_extension.ledger  # type: ignore[attr-defined]
    info = type("Info", (), {"raw_cell": "x = 1\n" * 50, "store_history": True, "cell_id": "c", "cell_meta": {}})()
    result = type("Result", (), {"error_before_exec": None, "error_in_exec": None, "info": info, "execution_count": 1})()
    costs = []
    for _ in range(300):
        began = time.perf_counter()
        ledger._before(info)
        ledger._after(result)
        costs.append(time.perf_counter() - began)
    costs.sort()
    print({"test": "cell hooks", "n": 300, "p50_ms": round(costs[150] * 1000, 3), "p95_ms": round(costs[285] * 1000, 3)})
    assert ledger.faults == 0


def test_a_cell_that_runs_another_inside_is_one_cell(run_cell: Execute) -> None:
    run_cell("%%track outer\nget_ipython().run_cell('z = 1')\nget_ipython().run_cell_magic('capture', '', 'z = 2')\n%track log y=z")
    run = run_cell("%track show outer")
    assert run.metrics["y"].value == 2.0 and run.status is RunStatus.FINISHED
    assert [cell.outcome.value for cell in sessions.current.store().cells(run.run_id)] == ["ok"]
    assert sessions.current.runs == []


def test_a_start_that_goes_wrong_leaves_the_open_run_open(shell: InteractiveShell, run_cell: Execute) -> None:
    run = run_cell("%track start keep")
    for line in ("%track start --resume nosuch", "%track start -p 'bad;key'=1", "%track start --parent nosuch"):
        error_of(shell, line)
    assert run.is_open and sessions.current.runs == [run]


def test_asking_for_help_starts_no_run_and_blank_lines_do_not_matter(run_cell: Execute) -> None:
    run_cell("%%track?")
    assert run_cell("%track ls") == []
    assert run_cell("\n\n%%track spaced\n5") == 5
    assert [run.name for run in run_cell("%track ls")] == ["spaced #1"]
