"""A run's cells come back as a notebook inside the project's folder, and nowhere else, and over nothing."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import nbformat
import pytest

from mlops_nb.core.saved_notebook import hash_of

SOURCE = "lr = 0.1\nprint(lr)"


def make_run(jupyter: Any, name: str, notebook: str | None, *, sources: tuple[str, ...] = (SOURCE,), keep: bool = True) -> str:
    tags = {} if notebook is None else {"mlops.notebook": notebook}
    body = {"experiment_id": "0", "name": name, "start_time": 1000, "tags": tags}
    run_id: str = jupyter.request("POST", "/api/v1/runs", json=body).json()["run"]["run_id"]
    cells = [
        {
            "index": index,
            "cell_id": f"cell-{index}",
            "execution_count": index + 1,
            "source": source if keep else "",
            "source_hash": hash_of(source),
            "started": 1000 + index,
            "duration_ms": 5,
            "outcome": "ok",
        }
        for index, source in enumerate(sources)
    ]
    events = [{"t": "c", "seq": index + 1, "ts": 1000, "cell": cell} for index, cell in enumerate(cells)]
    answer = jupyter.request("POST", f"/api/v1/runs/{run_id}/events", json={"source": uuid.uuid4().hex, "events": events})
    assert answer.status_code == 200, answer.text
    return run_id


def restore(jupyter: Any, run_id: str, **body: str) -> Any:
    return jupyter.request("POST", f"/api/v1/runs/{run_id}/notebook", json=body)


def test_the_cells_come_back_beside_their_notebook_and_nothing_is_replaced(jupyter: Any) -> None:
    (jupyter.project / "work").mkdir()
    run_id = make_run(jupyter, "calm ibis/../7", "work/train.ipynb", sources=(SOURCE, "1 + 1"))
    first = restore(jupyter, run_id).json()["path"]
    second = restore(jupyter, run_id).json()["path"]
    assert (first, second) == ("work/train-calm-ibis-..-7.ipynb", "work/train-calm-ibis-..-7-2.ipynb")
    notebook = nbformat.read(jupyter.project / first, as_version=4)
    nbformat.validate(notebook)
    assert [cell.source for cell in notebook.cells if cell.cell_type == "code"] == [SOURCE, "1 + 1"]
    assert [cell.id for cell in notebook.cells[1:]] == ["cell-0", "cell-1"]


def test_a_source_that_was_not_kept_is_taken_from_the_notebook_where_it_still_is(jupyter: Any) -> None:
    saved = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SOURCE)])
    nbformat.write(saved, jupyter.project / "hashed.ipynb")
    run_id = make_run(jupyter, "hashed", "hashed.ipynb", sources=(SOURCE, "gone = 1"), keep=False)
    notebook = nbformat.read(jupyter.project / restore(jupyter, run_id).json()["path"], as_version=4)
    assert notebook.cells[1].source == SOURCE
    assert "was not kept" in notebook.cells[2].source


@pytest.mark.parametrize("notebook", ["../outside.ipynb", "/etc/outside.ipynb", ".mlops/x.ipynb", "gone/x.ipynb", "a\x00b.ipynb"])
def test_a_notebook_elsewhere_leads_to_the_projects_own_folder(jupyter: Any, notebook: str) -> None:
    answer = restore(jupyter, make_run(jupyter, "astray", notebook))
    assert answer.status_code == 200, answer.text
    assert "/" not in answer.json()["path"]
    assert (jupyter.project / answer.json()["path"]).is_file()


@pytest.mark.parametrize("folder", ["..", "../..", "/tmp", ".mlops", "a/../..", "nowhere", "%2e%2e", "x\\y"])
def test_no_folder_leads_out_of_the_project(jupyter: Any, folder: str) -> None:
    run_id = make_run(jupyter, "inside", None)
    before = sorted(jupyter.project.parent.rglob("*.ipynb"))
    answer = restore(jupyter, run_id, folder=folder)
    assert answer.status_code in (400, 404)
    assert answer.json()["hint"]
    assert sorted(jupyter.project.parent.rglob("*.ipynb")) == before


def test_links_are_not_followed(jupyter: Any, tmp_path: Path) -> None:
    (jupyter.project / "link").symlink_to(tmp_path)
    os.symlink(tmp_path / "target.ipynb", jupyter.project / "linked.ipynb")
    refused = restore(jupyter, make_run(jupyter, "inside", None), folder="link")
    assert refused.status_code == 404, refused.text
    answer = restore(jupyter, make_run(jupyter, "linked", None)).json()
    assert answer["path"] == "linked-2.ipynb"
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_cells_says_so(jupyter: Any) -> None:
    answer = restore(jupyter, make_run(jupyter, "script", None, sources=()))
    assert answer.status_code == 400
    assert "no cells" in answer.json()["message"]
