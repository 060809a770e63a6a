"""The papermill engine `mlops_nb`: `papermill --engine mlops_nb train.ipynb out.ipynb`.

It does what papermill's own engine does, and besides: the kernel learns the id and the tags of each cell, so that
what is logged is linked to the cell; a notebook that tracks nothing itself becomes a run all the same; every run of
the notebook gets what its cells showed and the executed notebook.
"""

from __future__ import annotations

import ast
import functools
import io
import logging
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
import nbformat
from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine
from papermill.log import logger as papermill_logger
from papermill.utils import merge_kwargs, remove_args

from mlops_nb.core.events import AnyEvent, CellRan, ParamLogged
from mlops_nb.core.names import MAX_PARAM_VALUE
from mlops_nb.core.records import (
    TAG_EXECUTION,
    TAG_NOTEBOOK,
    TAG_PARENT,
    TAG_SOURCE_NAME,
    TAG_SOURCE_TYPE,
    TAG_USER,
    CellExecution,
    CellOutcome,
)
from mlops_nb.core.redaction import Redactor
from mlops_nb.core.run_state import RunStatus
from mlops_nb.execution.checkpoints import Progress, Silently, is_code
from mlops_nb.execution.client import NotebookClient
from mlops_nb.execution.course import Checkpoint, Course
from mlops_nb.execution.run_cells import OWN_TRACKING
from mlops_nb.execution.sources import Sources
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.tracking.capture import ENV_EXECUTION, ENV_NOTEBOOK, ENV_PARENT, notebook_tags
from mlops_nb.tracking.recovery import recover
from mlops_nb.tracking.run import ActiveRun
from mlops_nb.tracking.saved import hash_of
from mlops_nb.tracking.session import Session

logger = logging.getLogger("mlops_nb")

MAX_OUTPUT_TEXT = 4000
MAX_SOURCE = 100_000
# Whoever made the run that an execution is knows better than this process.
_FROM_ELSEWHERE = (TAG_USER, TAG_NOTEBOOK, TAG_SOURCE_NAME, TAG_SOURCE_TYPE, TAG_PARENT)


class Watcher(Protocol):
    """Is told how an execution goes. Cells are the code cells that are not empty, numbered from 1: what `In [n]` shows."""

    def kernel_started(self, pid: int | None) -> None:
        """Note the process of the kernel; None where it is not known."""

    def cell_started(self, number: int, count: int) -> None:
        """Note that a cell of so many begins."""

    def cell_ended(self, number: int, count: int, seconds: float, is_failed: bool) -> None:
        """Note that it ended, and whether the notebook ends with it."""

    def printed(self, text: str) -> None:
        """Note what a cell has printed, without secrets."""

    def checkpointed(self, checkpoint: Checkpoint) -> None:
        """Note that the execution can go on from here elsewhere."""


def _guarded(step: Callable[..., None]) -> Callable[..., None]:
    """Keep a fault of the tracking away from the execution: it is logged, and the notebook goes on."""

    @functools.wraps(step)
    def safe(*args: Any) -> None:
        try:
            step(*args)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is ours, and the notebook must not fail for it
            logger.warning("The tracking of this notebook is not complete: %s", error)

    return safe


class TrackingEngine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
    """Executes a notebook and sees to it that what happened is in the tracking store."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        log_output: bool = False,
        stdout_file: Any = None,
        stderr_file: Any = None,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Execute the notebook; papermill calls this. The arguments are those of papermill's own engine, and three of ours.

        `execution_id` is the id that all runs of this execution get as a tag; `watcher` is told how it goes; `course` says which
        part of the notebook is executed.
        """
        execution_id, watcher, course = (kwargs.pop(name, None) for name in ("execution_id", "watcher", "course"))
        input_path = str(kwargs.get("input_path") or nb_man.nb.metadata.get("papermill", {}).get("input_path") or "")
        client = NotebookClient(
            nb_man,
            **merge_kwargs(
                remove_args(["timeout", "startup_timeout", "input_path"], **kwargs),
                timeout=execution_timeout or kwargs.get("timeout"),
                startup_timeout=start_timeout,
                kernel_name=kernel_name,
                log=papermill_logger,
                log_output=log_output,
                stdout_file=stdout_file,
                stderr_file=stderr_file,
            ),
        )
        execution = _Execution(nb_man.nb, input_path, execution_id, watcher, course)
        client.execution = execution
        execution.begin()
        try:
            result = client.execute(env=execution.environment)
        except BaseException as error:
            execution.error = error
            raise
        finally:
            execution.end()
        return result


class _Execution:
    """One execution of one notebook, as the tracking sees it."""

    def __init__(
        self,
        notebook: Any,
        input_path: str,
        execution_id: str | None = None,
        watcher: Watcher | None = None,
        course: Course | None = None,
    ) -> None:
        self.notebook = notebook
        self.watcher = watcher
        self._count = sum(is_code(cell) for cell in notebook.cells)
        self._number = 0
        self.is_failed = False
        source = urlsplit(input_path).path if "://" in input_path else input_path
        self.name = Path(source).name if Path(source).suffix else "notebook.ipynb"
        self.id = execution_id or secrets.token_hex(8)
        self.cell: Any = None
        self.error: BaseException | None = None
        self.environment = {**os.environ, ENV_EXECUTION: self.id}
        # papermill may itself run in a kernel; that kernel's notebook is not this one.
        self.environment.pop("JPY_SESSION_NAME", None)
        self.path = _found(input_path)
        if self.path is not None:
            self.environment[ENV_NOTEBOOK] = str(self.path)
        self.course = course or Course()
        self.progress = Progress(self.course, notebook, self.id, self._checkpointed)
        if self.course.run_id:
            self.environment[ENV_PARENT] = self.course.run_id
        self._session = Session()
        self._run: ActiveRun | None = None
        self._started = 0.0
        self._execution: CellExecution | None = None
        self._seen: list[CellExecution] = []
        self._sources = Sources()
        self._bound: set[str] = set()
        self._modules: set[str] = set()
        self._redact = Redactor(os.environ)

    @_guarded
    def begin(self) -> None:
        """Open the run that the execution is; without one, a run for a notebook that has no tracking of its own."""
        if self.course.run_id:
            known = self._session.store().get_run(self.course.run_id)
            tags = {**{key: known.tags[key] for key in _FROM_ELSEWHERE if key in known.tags}, TAG_EXECUTION: self.id}
            self._run = self._session.start(known.name, params=self._parameters(), tags=tags, resume=known)
            return
        code = "\n".join(cell.source for cell in self.notebook.cells if cell.cell_type == "code")
        if any(mark in code for mark in OWN_TRACKING):
            return
        project = self._session.shipper().target.project
        tags = {TAG_EXECUTION: self.id, **(notebook_tags(self.path, project) if self.path else {})}
        self._run = self._session.start(Path(self.name).stem, params=self._parameters(), tags=tags)

    def _parameters(self) -> dict[str, str]:
        """Return the values of the parameters cell, overridden by those that papermill injected."""
        found: dict[str, str] = {}
        for cell in self.notebook.cells:
            if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
                found |= _literals(cell.source)
        given = self.notebook.metadata.get("papermill", {}).get("parameters", {})
        found |= {key: str(value) for key, value in given.items()}
        return {key: self._redact(value)[:MAX_PARAM_VALUE] for key, value in found.items() if not key.startswith("_")}

    @_guarded
    def kernel_started(self, pid: int | None) -> None:
        """Pass on that the kernel runs."""
        if self.watcher is not None:
            self.watcher.kernel_started(pid)

    @_guarded
    def printed(self, text: str) -> None:
        """Pass on what a cell has printed."""
        if self.watcher is not None:
            self.watcher.printed(self._redact(text))

    def passes_over(self, cell: Any) -> bool:
        """Return whether a cell is not executed; it counts all the same."""
        is_passed = is_code(cell) and self.progress.is_skipped(cell)
        self._number += is_passed
        return is_passed

    @_guarded
    def keep_checkpoint(self, cell: Any, silently: Silently) -> None:
        """Make a checkpoint behind a cell, if one is due."""
        if is_code(cell):
            self.progress.cell_done(self._number, self._count, silently)

    def _checkpointed(self, checkpoint: Checkpoint) -> None:
        if self.watcher is not None:
            self.watcher.checkpointed(checkpoint)

    @_guarded
    def cell_begins(self, cell: Any) -> None:
        """Note that a cell begins."""
        if not is_code(cell):
            self.cell = None
            return
        self.cell, self._started = cell, time.perf_counter()
        self._number += 1
        if self.watcher is not None:
            self.watcher.cell_started(self._number, self._count)
        names = self._sources(cell.source)
        self._execution = CellExecution(
            index=self._session.history.number(),
            cell_id=cell.get("id"),
            source=self._redact(cell.source[:MAX_SOURCE]),
            source_hash=hash_of(cell.source),
            started=time.time_ns() // 1_000_000,
            outcome=CellOutcome.RUNNING,
            reads=sorted((names.reads | names.words) & self._bound),
            writes=sorted(names.binds | names.state | (names.changes | names.touches) & self._bound - self._modules),
        )
        self._bound |= names.binds
        self._modules |= names.modules
        if self._run is not None:
            self._run.begin_cell(self._execution)

    @_guarded
    def cell_ended(self, cell: Any, is_failed: bool) -> None:
        """Note that a cell ended, and whether the notebook ends with it."""
        if self.cell is None:
            return
        seconds = time.perf_counter() - self._started
        self.is_failed = is_failed
        failure = next((output for output in cell.outputs if output.output_type == "error"), None)
        if self.watcher is not None:
            self.watcher.cell_ended(self._number, self._count, seconds, is_failed)
        if self._execution is None:
            return
        ended = msgspec.structs.replace(
            self._execution,
            execution_count=cell.execution_count,
            duration_ms=round(seconds * 1000, 3),
            outcome=CellOutcome.OK if failure is None else CellOutcome.ERROR,
            error=None if failure is None else self._redact(f"{failure.ename}: {failure.evalue}")[:500],
            outputs=self._shown(cell),
        )
        self._session.history.put(ended)
        self._seen.append(ended)
        if self._run is not None:
            self._run.end_cell(ended)
        self._execution = None

    @_guarded
    def end(self) -> None:
        """Close the notebook's runs and attach what only the executor has."""
        try:
            if self._run is not None:
                self._run.stop(*self._ending())
            shipper = self._session.shipper()
            store = shipper.store()
            recover(shipper.target.journal_dir, store, shipper.target.store_uri, explain=lambda _pid: self._death())
            self._attach(store)
        finally:
            self._session.close()

    def _ending(self) -> tuple[RunStatus, str | None]:
        if self.error is not None:
            killed = isinstance(self.error, (KeyboardInterrupt, DeadKernelError))
            text = str(self.error).strip().splitlines()
            return (RunStatus.KILLED if killed else RunStatus.FAILED), self._redact(text[0] if text else type(self.error).__name__)[:500]
        for cell in self.notebook.cells:
            for output in cell.get("outputs", []):
                if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
                    reason = f"{output.ename}: {output.evalue} in cell [{cell.execution_count}]"
                    return RunStatus.FAILED, self._redact(reason)[:500]
        return RunStatus.FINISHED, None

    def _death(self) -> str | None:
        if self.error is None:
            return None
        if isinstance(self.error, DeadKernelError):
            return "died under papermill"
        text = str(self.error).strip().splitlines()
        return self._redact(f"was ended by papermill ({text[0]})"[:300]) if text else None

    def _attach(self, store: TrackingStore) -> None:
        query = RunQuery(filter=f"tags.`{TAG_EXECUTION}` = '{self.id}'", lifecycle_stage=None)
        content = nbformat.writes(self.notebook).encode()  # type: ignore[no-untyped-call]  # nbformat has types in part
        for run in store.search_runs(query).items:
            if self._run is None:
                shown = {cell.get("id"): self._shown(cell) for cell in self.notebook.cells if cell.cell_type == "code"}
                ledger = store.cells(run.run_id)
                rows = [msgspec.structs.replace(c, outputs=shown[c.cell_id]) for c in ledger if shown.get(c.cell_id)]
                if not ledger and os.environ.get("MLOPS_NB_CAPTURE", "source") == "source":
                    # The notebook tracks by calls alone: nothing in its kernel knows of cells.
                    rows = self._seen
                # The kernel cannot know the tags of cells that ran before the extension was loaded.
                params = {key: value for key, value in self._parameters().items() if key not in run.params and value not in ("", run.name)}
                happened: list[AnyEvent] = [*(CellRan(cell=row) for row in rows), *(ParamLogged(key=k, value=v) for k, v in params.items())]
                events = [msgspec.structs.replace(event, seq=number) for number, event in enumerate(happened, start=1)]
                store.ingest(run.run_id, f"{self.id}-{run.run_id[:16]}", events)
            store.write_artifact(run.run_id, f"notebook/{self.name}", io.BytesIO(content))

    def _shown(self, cell: Any) -> str | None:
        """Return what a cell showed as short text, with the kinds of what is not text."""
        parts = []
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                parts.append("".join(output.text))
            elif output.output_type == "error":
                parts.append(f"{output.ename}: {output.evalue}")
            else:
                data = output.get("data", {})
                parts += [f"[{kind}]" for kind in data if kind.startswith("image/")] or ["".join(data.get("text/plain", ""))]
        text = "\n".join(part.rstrip() for part in parts if part)
        return self._redact(text[:MAX_OUTPUT_TEXT]) or None


def _found(input_path: str) -> Path | None:
    """Return the notebook's file; papermill may have changed the working directory since it was named."""
    for base in (Path.cwd(), Path(os.environ.get("PWD", "."))):
        if input_path and (path := base / input_path).is_file():
            return path.resolve()
    return None


def _literals(source: str) -> dict[str, str]:
    """Return the names that a parameters cell gives plain values."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return {}
    found = {}
    for statement in body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
            try:
                found[statement.targets[0].id] = str(ast.literal_eval(statement.value))
            except ValueError:  # an expression, not a value: only the kernel knows what it gives
                continue
    return found
