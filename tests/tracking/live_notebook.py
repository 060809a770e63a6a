"""A notebook that somebody has open: cells that are edited, run, moved and deleted, and a file that is saved now and then."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from mlops_nb.execution.ledger import CellLedger
from mlops_nb.tracking.session import Session


def empty(shell: InteractiveShell) -> None:
    """Make a shell as new; its own `reset` collects garbage for a third of a second."""
    for name in [name for name in shell.user_ns if name[:2] != "__" and (name not in shell.user_ns_hidden or name[:2] == "_i")]:
        del shell.user_ns[name]
    history = shell.history_manager
    assert history is not None
    history.enabled = False
    history.input_hist_parsed[:], history.input_hist_raw[:] = [""], [""]
    shell.execution_count = 1


class LiveNotebook:
    """Drives a shell as a front end does: every request names the cell. `session` is told by the ledger's hooks."""

    def __init__(self, shell: InteractiveShell, path: Path, sources: list[str]) -> None:
        self.shell = shell
        self.path = path
        self.cells: list[tuple[str, str]] = [(f"c{number}", source) for number, source in enumerate(sources)]
        self._ids = len(sources)
        empty(shell)
        shell.user_ns["__vsc_ipynb_file__"] = str(path)
        self.session = Session()
        self.ledger = CellLedger(shell, self.session)
        self.ledger.install()
        self.save()

    def close(self) -> None:
        self.ledger.uninstall()
        for run in reversed(list(self.session.runs)):
            run.stop()
        self.session.close()
        empty(self.shell)

    def run(self, *ids: str, fails: bool = False) -> Any:
        """Run cells; return the last one's value."""
        value = None
        for cell_id in ids:
            source = dict(self.cells)[cell_id]
            with capture_output():
                result = self.shell.run_cell(source, store_history=True, cell_id=cell_id)
            assert result.success is not fails, f"{source}\n{result.error_before_exec or result.error_in_exec}"
            value = result.result
        return value

    def run_all(self) -> None:
        self.run(*(cell_id for cell_id, _ in self.cells))

    def edit(self, cell_id: str, source: str) -> None:
        self.cells = [(each, source if each == cell_id else text) for each, text in self.cells]

    def insert(self, source: str, before: str | None = None) -> str:
        cell_id = f"c{self._ids}"
        self._ids += 1
        at = len(self.cells) if before is None else [each for each, _ in self.cells].index(before)
        self.cells.insert(at, (cell_id, source))
        return cell_id

    def delete(self, cell_id: str) -> None:
        self.cells = [cell for cell in self.cells if cell[0] != cell_id]

    def move_to_end(self, cell_id: str) -> None:
        moved = (cell_id, dict(self.cells)[cell_id])
        self.delete(cell_id)
        self.cells.append(moved)

    def after(self, cell_id: str) -> list[str]:
        ids = [each for each, _ in self.cells]
        return ids[ids.index(cell_id) + 1 :]

    def save(self) -> None:
        document = nbformat.v4.new_notebook()
        document.cells = [nbformat.v4.new_code_cell(source, id=cell_id) for cell_id, source in self.cells]
        nbformat.write(document, self.path)
        now = time.time_ns()
        os.utime(self.path, ns=(now, now))  # the file system's own clock may be some milliseconds late
        while time.time_ns() // 1_000_000 <= now // 1_000_000:
            pass
