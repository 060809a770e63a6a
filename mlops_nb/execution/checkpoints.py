"""Checkpoints of an execution: made behind its cells, and gone on from.

After a cell the variables of the kernel are kept in a file (`kernel_state`), and with the executed notebook that is a checkpoint:
another kernel takes the variables and goes on behind that cell. A checkpoint is made only where nothing that a later cell
reads was left out of it, and so seldom that it costs at most a tenth of the time.
"""

from __future__ import annotations

import ast
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import nbformat

from mlops_nb.execution.course import Checkpoint, Course, Saved
from mlops_nb.execution.sources import Sources

logger = logging.getLogger("mlops_nb")

AGAIN_TAG = "run-on-resume"
"""Of cells that are executed again when an execution goes on: they set what no file keeps, such as options of a library."""
STATE = "state-{:04d}.pkl"
NOTEBOOK = "notebook-{:04d}.ipynb"
_SHARE = 0.1
_CHEAP = 0.25
_LONGEST = 600.0

Silently = Callable[[str, float], dict[str, Any]]


class Progress:
    """What an execution has done of its course.

    Args:
        course: The course.
        notebook: Being executed; its outputs have been cleared.
        execution_id: The tag of its runs.
        made: Told of each checkpoint.
    """

    def __init__(self, course: Course, notebook: Any, execution_id: str, made: Callable[[Checkpoint], None]) -> None:
        self.course = course
        self._notebook = notebook
        self._execution_id = execution_id
        self._made = made
        self._sources = Sources()
        self._kept: dict[str, Any] = {}
        self._done: set[str] = set()
        self._cost = 0.0
        self._since = time.monotonic()
        self._blocked: list[str] = []
        if course.resume:
            self._read(Path(course.folder) / NOTEBOOK.format(course.resume))

    def _read(self, path: Path) -> None:
        found = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # nbformat has types in part
        code = [cell for cell in found.cells if is_code(cell)]
        self._done = {cell.id for cell in code[: self.course.resume] if AGAIN_TAG not in cell.metadata.get("tags", [])}
        self._kept = {cell.id: cell for cell in found.cells}

    def begin(self, silently: Silently) -> None:
        """Give the kernel what it goes on with."""
        course = self.course
        state = Path(course.folder) / STATE.format(course.resume) if course.folder else None
        if state is not None and state.is_file():
            self._ask(silently, f"k.restore(get_ipython(), Path({str(state)!r}))")
        elif course.folder:
            self._ask(silently, "k.prepare()")  # what is loaded for the first checkpoint is not what one costs
        if course.is_again:
            self._ask(silently, f"k.go_on_with_runs({self._execution_id!r}, {course.run_id!r})", is_needed=False)

    def is_skipped(self, cell: Any) -> bool:
        """Return whether a cell is not executed; then it has the outputs of the execution that this one goes on from."""
        if cell.id in self.course.skip:
            return True
        if cell.id not in self._done:
            return False
        before = self._kept[cell.id]
        cell.outputs, cell.execution_count = before.get("outputs", []), before.get("execution_count")
        return True

    def cell_done(self, number: int, count: int, silently: Silently) -> None:
        """Make a checkpoint behind a cell, if one is due."""
        course = self.course
        if not course.folder or number <= course.resume or number >= count or not self._is_due():
            return
        began = time.monotonic()
        path = Path(course.folder) / STATE.format(number)
        try:
            answer = self._ask(silently, f"k.save(get_ipython(), Path({str(path)!r}), limit={course.largest})")
            saved = msgspec.json.decode(answer, type=Saved)
        except Exception as error:  # noqa: BLE001  # no checkpoint is no reason for the notebook to fail
            logger.warning("No checkpoint after cell %d: %s", number, error)
            self._cost = max(self._cost, time.monotonic() - began)
            self._since = time.monotonic()
            return
        self._cost = time.monotonic() - began
        self._since = time.monotonic()
        missing = sorted(saved.left_out.keys() & self._read_later(number))
        if missing:
            path.unlink(missing_ok=True)
            if missing != self._blocked:
                logger.warning("No checkpoint after cell %d: %s cannot be pickled, and a later cell reads it.", number, ", ".join(missing))
            self._blocked = missing
            return
        copy = Path(course.folder) / NOTEBOOK.format(number)
        partial = copy.with_suffix(".partial")
        partial.write_text(nbformat.writes(self._notebook), encoding="utf-8")  # type: ignore[no-untyped-call]
        partial.replace(copy)
        made = Checkpoint(number=number, count=count, state=path.name, notebook=copy.name, size=saved.size, sha256=saved.sha256)
        self._made(made)

    def _is_due(self) -> bool:
        return self._cost < _CHEAP or time.monotonic() - self._since >= self._cost / _SHARE

    def _read_later(self, number: int) -> set[str]:
        """Return the names that the cells behind one read; all that there are if one of them cannot be told."""
        later = [cell for cell in self._notebook.cells if is_code(cell)][number:]
        found: set[str] = set()
        for cell in later:
            if cell.id not in self.course.skip:
                names = self._sources(cell.source)
                found |= names.reads | names.words | names.changes | names.touches
        return found

    def finish(self, silently: Silently) -> None:
        """Write the variables that are wanted back."""
        if self.course.returns:
            folder = Path(self.course.folder) / "values"
            names = list(self.course.returns)
            answer = self._ask(
                silently, f"k.save_values(get_ipython().user_ns, {names!r}, Path({str(folder)!r}), limit={self.course.largest})"
            )
            (folder / "values.json").write_bytes(answer)

    def _ask(self, silently: Silently, call: str, *, is_needed: bool = True) -> bytes:
        """Run a call of `kernel_state` in the kernel and return its answer as JSON.

        Raises:
            RuntimeError: With what the kernel says, if it fails.
        """
        # Within a function, so that no name of it is left among the notebook's.
        code = f"(lambda k, Path, m: m.json.encode({call}).decode())({_MODULES})"
        content = silently(code, _LONGEST)
        answer = content.get("user_expressions", {}).get("answer", {})
        if content.get("status") == "ok" and answer.get("status") == "ok":
            return str(ast.literal_eval(answer["data"]["text/plain"])).encode()
        failed = answer if answer.get("status") == "error" else content
        text = f"{failed.get('ename', 'error')}: {failed.get('evalue', '')}"
        if is_needed:
            raise RuntimeError(text)
        logger.warning("%s", text)
        return b"null"


_MODULES = (
    "__import__('mlops_nb.execution.kernel_state', fromlist=['save']), __import__('pathlib').Path, __import__('msgspec', fromlist=['json'])"
)


def is_code(cell: Any) -> bool:
    """Return whether a cell is one that can be executed."""
    return cell.cell_type == "code" and bool(cell.source.strip())
