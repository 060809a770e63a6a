"""What the ledger of cells says of each execution, in a real IPython shell with the embedded store."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from mlops_nb.core.records import TAG_HYGIENE, CellExecution, CellOutcome, ProductKind
from mlops_nb.errors import AlreadyExists, InvalidInput, NotFound
from mlops_nb.execution.checking import check_notebook, restore_notebook
from mlops_nb.execution.run_cells import RunCells, write_executed
from mlops_nb.store.base import RunQuery
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.history import MAX_KEPT, CellHistory
from tests.tracking.live_notebook import LiveNotebook

PIXEL = b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
Open = Callable[..., LiveNotebook]


@pytest.fixture
def notebook(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    opened: list[LiveNotebook] = []

    def open_notebook(*sources: str) -> LiveNotebook:
        live = LiveNotebook(InteractiveShell.instance(), project / "work.ipynb", list(sources))
        live.shell.user_ns["start"] = live.session.start
        opened.append(live)
        return live

    yield open_notebook
    for live in opened:
        assert live.ledger.faults == 0
        live.close()


def stored(live: LiveNotebook) -> dict[str, list[CellExecution]]:
    """Return the ledger of each run by its name."""
    store = live.session.fresh_store()
    return {run.name: store.cells(run.run_id) for run in store.search_runs(RunQuery()).items}


def seen(live: LiveNotebook) -> dict[str, tuple[list[str], list[str]]]:
    """Return what the last execution of each cell read and wrote."""
    return {execution.cell_id or "": (execution.reads, execution.writes) for execution in live.session.history.executions}


def test_names_are_those_of_the_source_and_of_what_the_code_behind_it_uses(notebook: Open) -> None:
    live = notebook(
        "import math\nrate = 2",
        "def inner(x):\n    return x * rate",
        "def outer(x):\n    return math.floor(inner(x))",
        "class Model:\n    def predict(self, x):\n        return outer(x)\nmodel = Model()",
        "result = model.predict(3.5)\nprint(result)",
        "rows = []\ndef add(n):\n    rows.append(n)\n    global last\n    last = n",
        "add(4)",
        "exec('hidden = 1')",
    )
    live.run_all()
    names = seen(live)
    assert names["c0"] == ([], ["math", "rate"])
    assert names["c1"] == ([], ["inner"])  # it is only defined
    assert names["c3"][1] == ["Model", "model"]
    assert names["c4"] == (["inner", "math", "model", "outer", "rate"], ["result"])
    assert names["c6"] == (["add", "rows"], ["last", "rows"])
    assert "hidden" in names["c7"][1]


def test_changes_in_place_count_for_data_and_settings_but_not_for_modules(notebook: Open) -> None:
    live = notebook(
        "import numpy as np\nimport pandas as pd\nimport random",
        "df = pd.DataFrame({'a': [1, 2, None]})\nitems = [3, 1, 2]\nrng = np.random.default_rng(1)",
        "df['b'] = 1",
        "np.sqrt(4)\npd.concat([df, df])\ndf.head()\nprint(len(items))",
        "def drop(frame):\n    frame.dropna(inplace=True)",
        "drop(df)",
        "random.shuffle(items)",
        "noise = rng.normal()",
        "np.random.seed(3)",
        "drawn = np.random.rand()",
    )
    live.run_all()
    writes = {cell: wrote for cell, (_, wrote) in seen(live).items()}
    assert writes["c2"] == ["df"] and writes["c3"] == []
    assert writes["c5"] == ["df"] and "items" in writes["c6"]
    assert writes["c7"] == ["noise", "rng"]
    assert "np" in writes["c8"] and "numpy.random" in writes["c8"]
    assert "numpy.random" in seen(live)["c9"][0] and writes["c9"] == ["drawn", "numpy.random"]


def test_of_a_cell_that_failed_only_what_it_did_counts(notebook: Open) -> None:
    live = notebook("x, y, rows = 1, 2, []", "x = 5\nraise KeyError('no')\ny = 7\nrows.append(1)", "rows.append(1)\n1 / 0", "x = = 1")
    live.run("c0")
    for cell in ("c1", "c2", "c3"):
        live.run(cell, fails=True)
    assert {cell: wrote for cell, (_, wrote) in seen(live).items()} == {"c0": ["rows", "x", "y"], "c1": ["x"], "c2": ["rows"], "c3": []}


def test_a_run_that_starts_late_says_which_earlier_cells_it_needs(notebook: Open) -> None:
    live = notebook(
        "import math",
        "lr = 0.1",
        "def f(x):\n    return math.sqrt(x) * lr",
        "scratch = 5",
        "run = start('late')\nrun.log(m=f(4))",
        "run.log(n=lr)\nrun.stop()",
    )
    live.run_all()
    ledger = stored(live)["late"]
    assert [(cell.index, cell.cell_id) for cell in ledger] == [(0, "c0"), (1, "c1"), (2, "c2"), (4, "c4"), (5, "c5")]
    assert all(cell.outcome is CellOutcome.OK and cell.duration_ms > 0 and cell.source for cell in ledger)
    assert all(cell.peak_memory and cell.peak_memory > 1_000_000 for cell in ledger)
    run = live.session.fresh_store().search_runs(RunQuery()).items[0]
    assert (run.metrics["m"].cell, run.metrics["n"].cell) == (4, 5)


def test_a_run_within_one_cell_has_the_names_of_that_cell(notebook: Open) -> None:
    live = notebook("base = 3", "with start('inside') as run:\n    out = base * 2\n    run.log(m=out)\nlater = 1")
    live.run_all()
    first, second = stored(live)["inside"]
    assert (first.cell_id, first.writes) == ("c0", ["base"])
    assert second.reads == ["base", "start"] or second.reads == ["base"]
    assert "out" in second.writes and second.outcome is CellOutcome.OK and second.peak_memory


def test_peak_memory_is_what_the_cell_held_at_most(notebook: Open) -> None:
    live = notebook("x = 1", "import time\nblock = bytearray(150_000_000)\ntime.sleep(0.25)\ndel block", "y = 2")
    live.run_all()
    small, large, after = (execution.peak_memory or 0 for execution in live.session.history.executions)
    assert large - small > 140_000_000 and after < large - 100_000_000


def test_cells_that_ran_before_the_extension_was_loaded_are_needed_too(project: Path) -> None:
    live = LiveNotebook(InteractiveShell.instance(), project / "late.ipynb", ["rate = 0.5", "%load_ext mlops_nb"])
    live.ledger.uninstall()
    fresh = sessions.Session()
    from mlops_nb.execution.ledger import CellLedger

    live.run("c0")
    live.ledger = CellLedger(live.shell, fresh)
    live.session = fresh
    live.shell.user_ns.update(ledger=live.ledger, start=fresh.start)
    live.cells[1] = ("c1", "ledger.install()")
    live.cells.append(("c2", "run = start('r')\nrun.log(m=rate)\nrun.stop()"))
    live.run("c1", "c2")
    ledger = stored(live)["r"]
    assert [(cell.cell_id, cell.source) for cell in ledger if cell.cell_id != "c1"] == [("c0", "rate = 0.5"), ("c2", live.cells[2][1])]
    live.close()


def test_figures_that_a_cell_shows_or_leaves_open_are_kept(notebook: Open) -> None:
    live = notebook(
        "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\nrun = start('plots')",
        "plt.plot([1, 2])\nplt.figure()\nplt.plot([2, 1])",
        "fig, ax = plt.subplots()\nplt.close(fig)",
        "from IPython.display import Image, SVG, display, clear_output\npng = Image(data=open('p.png', 'rb').read())",
        "display(png)\ndisplay(SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'))",
        "for _ in range(30):\n    clear_output(wait=True)\n    display(png)",
        "for _ in range(30):\n    display(png)",
        "run.stop()",
    )
    (live.path.parent / "p.png").write_bytes(base64.b64decode(PIXEL))
    for cell, _ in live.cells:  # without a capture of outputs, which would take the displays away
        assert live.shell.run_cell(dict(live.cells)[cell], store_history=True, cell_id=cell).success
    store = live.session.fresh_store()
    (run,) = store.search_runs(RunQuery()).items
    files = [file.path for file in store.list_artifacts(run.run_id, recursive=True)]
    of_cell = {number: [file for file in files if file.startswith(f"cells/{number}/figure-")] for number in range(8)}
    assert of_cell[1] == ["cells/1/figure-1.png", "cells/1/figure-2.png"] and of_cell[2] == []
    assert of_cell[4] == ["cells/4/figure-1.png", "cells/4/figure-2.svg"]
    assert len(of_cell[5]) == 1 and len(of_cell[6]) == 20
    assert b"".join(store.read_artifact(run.run_id, "cells/1/figure-1.png")).startswith(b"\x89PNG")
    products = {product.name for cell in store.cells(run.run_id) if cell.index == 4 for product in cell.products}
    assert products == {*of_cell[4]}
    # What plotting gives back is text of the cell as well, in the order in which it was shown.
    shown = json.loads(b"".join(store.read_artifact(run.run_id, "cells/1/outputs.json")))
    assert [output.get("output_type") for output in shown] == ["execute_result"] and "Line2D" in shown[0]["data"]["text/plain"]
    assert "cells/4/outputs.json" not in files
    import matplotlib.pyplot as plt

    plt.close("all")


def test_what_a_cell_prints_and_shows_is_kept_in_order_without_secrets(notebook: Open) -> None:
    token = "ghp_" + "a1B2" * 9
    live = notebook(
        "run = start('texts')",
        "from IPython.display import HTML, clear_output, display\n"
        f"print('auc', 0.5)\nprint('{token}')\ndisplay(HTML('<table/>'))\nprint('done')",
        "print('gone')\nclear_output()\nprint('stays')",
        "for i in range(100_000):\n    print(i)",
        "x = 1",
        "run.stop()",
    )
    for cell, source in live.cells:
        assert live.shell.run_cell(source, store_history=True, cell_id=cell).success
    store = live.session.fresh_store()
    (run,) = store.search_runs(RunQuery()).items
    shown = {number: json.loads(b"".join(store.read_artifact(run.run_id, f"cells/{number}/outputs.json"))) for number in (1, 2, 3)}
    first, table, last = shown[1]
    assert "".join(first["text"]).startswith("auc 0.5\n") and token not in str(shown[1])
    assert table["data"]["text/html"] == "<table/>" and "".join(last["text"]) == "done\n"
    assert ["".join(output["text"]) for output in shown[2]] == ["stays\n"]
    assert len("".join(shown[3][0]["text"])) == 20_000
    assert [file.path for file in store.list_artifacts(run.run_id, "cells/4", recursive=True)] == []


@pytest.mark.parametrize("level", ["hash", "off"])
def test_less_is_kept_where_less_is_asked_for(notebook: Open, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("MLOPS_NB_CAPTURE", level)
    live = notebook(
        "password = 'a secret of mine'",
        "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt",
        "run = start('quiet')\nplt.plot([1])\nused = password",
        "run.stop()",
    )
    live.run_all()
    ledger = stored(live)["quiet"]
    if level == "off":
        assert ledger == []
    else:
        assert [cell.cell_id for cell in ledger] == ["c0", "c1", "c2", "c3"]
        assert all(cell.source == "" and len(cell.source_hash) == 64 for cell in ledger)
        assert ledger[2].writes == ["run", "used"] and "password" in ledger[2].reads
    store = live.session.store()
    (run,) = store.search_runs(RunQuery()).items
    assert not [file for file in store.list_artifacts(run.run_id, recursive=True) if file.path.startswith("cells/")]
    import matplotlib.pyplot as plt

    plt.close("all")


def test_a_skipped_cell_leaves_no_trace(notebook: Open) -> None:
    live = notebook("# mlops: skip\nhidden = 'x'", "run = start('r')\nprint(hidden)\nrun.stop()")
    live.run_all()
    assert [cell.cell_id for cell in stored(live)["r"]] == ["c1"]


def test_a_resumed_run_goes_on_with_its_numbers(notebook: Open) -> None:
    live = notebook("a = 1", "run = start('r')\nrun.log(m=a)\nrun.stop()", "b = 2", "run = start(resume=again)\nrun.log(m=b)\nrun.stop()")
    live.run("c0", "c1", "c2")
    store = live.session.fresh_store()
    live.shell.user_ns["again"] = store.search_runs(RunQuery()).items[0]
    live.run("c3")
    assert [(cell.index, cell.cell_id) for cell in stored(live)["r"]] == [(0, "c0"), (1, "c1"), (2, "c2"), (3, "c3")]
    other = notebook("z = 5", "run = start(resume=again)\nrun.log(m=z)\nrun.stop()")
    other.shell.user_ns["again"] = other.session.fresh_store().search_runs(RunQuery()).items[0]
    other.run_all()
    assert [(cell.index, cell.source[:5]) for cell in stored(other)["r"]][4:] == [(4, "z = 5"), (5, "run =")]


@pytest.mark.parametrize(
    ("steps", "grade"),
    [
        (["c0", "c1", "c2"], "linear"),
        (["c0", "c3", "c1", "c2"], "reordered"),
        (["c0", "edit", "c2"], "unsaved"),
        (["c0", "c1", "c1", "c2"], "linear"),
        (["c0", "c4", "c4", "c2"], "reordered"),
    ],
)
def test_a_run_is_graded_when_it_ends(notebook: Open, steps: list[str], grade: str) -> None:
    live = notebook("a = 1\nb = 0", "b = a + 1", "run = start('graded')\nrun.log(m=b)\nrun.stop()", "a = 7", "b += 1")
    for step in steps:
        if step == "edit":
            live.edit("c1", "b = a + 100")
            live.run("c1")
            live.edit("c1", "b = a + 1")
            live.save()
        else:
            live.run(step)
    (run,) = live.session.fresh_store().search_runs(RunQuery()).items
    assert run.tags[TAG_HYGIENE] == grade


def test_a_run_can_be_checked_after_the_notebook_has_gone_on(notebook: Open) -> None:
    live = notebook("a = 1", "b = a + 1", "run = start('r')\nrun.log(m=b)\nrun.stop()")
    live.run_all()
    assert check_notebook("@last", session=live.session).ok
    live.edit("c0", "a = 2")
    live.save()
    found = check_notebook("@last", session=live.session)
    assert [(finding.kind.value, finding.cell_id, finding.names) for finding in found.findings] == [("changed", "c0", ["a"])]
    assert "cell [1] was changed after it ran" in str(found) and "<table>" in found._repr_html_()


def test_a_check_shows_what_people_wrote_escaped(notebook: Open) -> None:
    live = notebook("print(nowhere)")
    live.path = live.path.rename(live.path.with_name("<b>.ipynb"))
    check = check_notebook(path=live.path, session=live.session)
    assert not check.ok and "<b>.ipynb" not in check._repr_html_() and "&lt;b&gt;.ipynb" in check._repr_html_()


def test_there_may_be_nothing_to_check(notebook: Open) -> None:
    live = notebook()
    live.shell.user_ns.pop("__vsc_ipynb_file__")
    with pytest.raises(InvalidInput, match="nothing to check"):
        check_notebook(session=live.session)


def test_restored_cells_are_a_new_notebook_and_replace_nothing(notebook: Open) -> None:
    live = notebook("a = 1", "unrelated = 2", "run = start('my run', params={'p': 3})\nrun.log(m=a)\nrun.stop()")
    live.run_all()
    first, second = restore_notebook(session=live.session), restore_notebook(session=live.session)
    assert (first.name, second.name) == ("work-my-run.ipynb", "work-my-run-2.ipynb") and first.parent == live.path.parent
    document = nbformat.read(first, as_version=4)
    nbformat.validate(document)
    assert [cell.source for cell in document.cells if cell.cell_type == "code"] == [live.cells[0][1], live.cells[2][1]]
    assert "my run" in document.cells[0].source and "`p` = `3`" in document.cells[0].source
    before = live.path.read_bytes()
    with pytest.raises(AlreadyExists, match="nothing is replaced"):
        restore_notebook(path=live.path, session=live.session)
    assert live.path.read_bytes() == before


def test_an_executed_notebook_is_put_beside_the_others_and_replaces_nothing(notebook: Open, project: Path) -> None:
    live = notebook("x = 1")
    with live.session.start("headless") as run, live.session.start("bare", nested=True) as bare:
        run.log_artifact(project / "work.ipynb", "notebook")
    store = live.session.fresh_store()
    places = [write_executed(store, run.run_id) for _ in range(2)]
    assert [place.name for place in places] == ["work-2.ipynb", "work-3.ipynb"]
    assert nbformat.read(places[1], as_version=4).cells[0].source == "x = 1"
    with pytest.raises(NotFound, match="kept no executed notebook"):
        write_executed(store, bare.run_id)


def test_what_was_not_kept_comes_from_the_notebook_if_it_is_still_there(notebook: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_NB_CAPTURE", "hash")
    live = notebook("a = 1", "run = start('r')\nrun.log(m=a)\nrun.stop()")
    live.run_all()
    live.edit("c1", "pass")
    live.save()
    document = nbformat.read(restore_notebook(session=live.session), as_version=4)
    first, second = (cell.source for cell in document.cells if cell.cell_type == "code")
    assert first == "a = 1" and second.startswith("# The source of this cell was not kept")


def test_the_history_is_bounded_and_keeps_what_is_still_needed() -> None:
    history = CellHistory()

    def ran(reads: list[str], writes: list[str]) -> CellExecution:
        execution = CellExecution(index=history.number(), source="", source_hash="", started=0, reads=reads, writes=writes)
        history.put(execution)
        return execution

    ran([], ["a"])
    ran(["a"], ["b"])
    for _ in range(2 * MAX_KEPT):
        ran([], ["c"])
    assert len(history.executions) <= MAX_KEPT + 1
    assert [execution.writes for execution in history.needed_by(ran(["b"], []), set())] == [["a"], ["b"]]
    for _ in range(2 * MAX_KEPT):
        ran(["c"], ["c"])
    assert len(history.executions) <= MAX_KEPT + 1


def test_the_products_of_a_cell_are_its_targets(notebook: Open) -> None:
    live = notebook("a = 1", "run = start('r')", "other = a", "run.log_param('p', a)", "run.stop()")
    live.run_all()
    store = live.session.fresh_store()
    (run,) = store.search_runs(RunQuery()).items
    cells = RunCells(store, run, None)
    assert [product.kind for cell in cells.executions for product in cell.products] == [ProductKind.PARAM]
    assert [cell.cell_id for cell in cells.closure] == ["c0", "c1", "c3"]
