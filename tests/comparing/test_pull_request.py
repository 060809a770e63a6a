"""Two runs as the data of a report: which cells are told of, and what of their outputs."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

from matplotlib.figure import Figure

from mlops_nb.comparing.pull_request import notebook_of
from mlops_nb.reports.pull_request.data import PullRequestReport, Verdict, read, to_json
from mlops_nb.reports.pull_request.markdown import to_markdown
from mlops_nb.reports.pull_request.pictures import Pictures
from mlops_nb.store.base import ServedStore
from tests.comparing.conftest import MakeRun, a_cell

Output = dict[str, Any]


def picture(height: float) -> Output:
    figure, stream = Figure(figsize=(2, 2)), io.BytesIO()
    figure.add_subplot().bar([0, 1], [1, height])
    figure.savefig(stream, format="png")
    return {"output_type": "display_data", "data": {"image/png": base64.b64encode(stream.getvalue()).decode()}, "metadata": {}}


def printed(text: str) -> Output:
    return {"output_type": "stream", "name": "stdout", "text": text}


def table(value: str) -> Output:
    html = f"<table><tr><th>plan</th><th>auc</th></tr><tr><td>free</td><td>{value}</td></tr></table>"
    return {"output_type": "execute_result", "data": {"text/html": html, "text/plain": "..."}, "metadata": {}, "execution_count": 1}


def notebook(*outputs: list[Output]) -> bytes:
    cells = [{"cell_type": "code", "id": f"c{n}", "source": "x", "metadata": {}, "outputs": each} for n, each in enumerate(outputs)]
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}).encode()


def test_only_cells_that_differ_beyond_noise_are_told_with_what_differs(store: ServedStore, make_run: MakeRun) -> None:
    sources = ["fit()", "print(auc)", "show(df)", "plot()", "slow()", "plot(same)"]
    cells = [a_cell(n, source, f"c{n}") for n, source in enumerate(sources)]
    before = [
        [],
        [printed("auc 0.90\n100%|███| 5/5 [00:01<00:00]\n")],
        [table("0.86")],
        [picture(2)],
        [printed("took 3.1 s at 0x7f00aa11bb22\n")],
        [picture(1)],
    ]
    now = [
        [],
        [printed("auc 0.93\n100%|███| 5/5 [00:09<00:00]\n")],
        [table("0.84")],
        [picture(5)],
        [printed("took 9.9 s at 0x7f99aa11bb77\n")],
        [picture(1)],
    ]
    base, this = (
        make_run(name, {"val_auc": auc}, cells=cells, files={"notebook/train.ipynb": notebook(*outputs)})
        for name, auc, outputs in (("base", 0.90, before), ("this", 0.93, now))
    )
    pictures = Pictures()
    found = notebook_of(store, this, base, pictures, key="train.ipynb")
    assert [cell.first_line for cell in found.cells] == ["print(auc)", "show(df)", "plot()"]
    assert found.cell_count == 6 and found.verdict is Verdict.IMPROVES
    text, rows, image = (cell.after[0] for cell in found.cells)
    assert text.text.startswith("auc 0.93") and "█" not in text.text
    assert rows.rows == [["plan", "auc"], ["free", "0.84"]]
    assert image.path in pictures.files and found.cells[2].before[0].path in pictures.files
    report = PullRequestReport(notebooks=[found])
    assert read(to_json(report)) == report
    shown = to_markdown(report)
    assert "- auc 0.90\n+ auc 0.93" in shown and "- free | 0.86\n+ free | 0.84" in shown
    assert "3 of 6 cells changed" in shown and "took" not in shown


def test_a_run_without_a_base_is_reported_alone(store: ServedStore, make_run: MakeRun) -> None:
    this = make_run("this", {"val_auc": 0.9, "system/cpu": 3.0}, params={"lr": "1"})
    found = notebook_of(store, this, None, Pictures())
    assert (found.verdict, found.params, found.cells) == (Verdict.NO_BASELINE, [], [])
    assert [(metric.key, metric.base, metric.this) for metric in found.metrics] == [("val_auc", None, 0.9)]
