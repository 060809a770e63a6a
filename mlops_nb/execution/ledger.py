"""The cell ledger: IPython hooks that tell every open run which cell runs, what it reads and writes, and how it ended.

The hooks do little and never raise: a fault of ours is logged, and after three of them the hooks take themselves
off with one visible line. A cell tagged `skip-track` or holding `# mlops: skip` is not recorded; with
MLOPS_NB_CAPTURE=hash only the hash of the source is kept and the names in it, and no figures; with `off` nothing.
"""

from __future__ import annotations

import ast
import functools
import json
import logging
import os
import time
import traceback
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec

from mlops_nb.core.dataflow import NOTHING, Names
from mlops_nb.core.names import MAX_PARAM_VALUE
from mlops_nb.core.provenance import Place
from mlops_nb.core.records import CellExecution, CellOutcome
from mlops_nb.core.redaction import Redactor
from mlops_nb.core.run_folders import figure_file, shown_file
from mlops_nb.core.run_state import RunStatus
from mlops_nb.execution.memory import PeakMemory
from mlops_nb.execution.namespace import Watcher
from mlops_nb.execution.shown import ShownFigures
from mlops_nb.execution.sources import Sources
from mlops_nb.tracking import servers
from mlops_nb.tracking.capture import notebook_path
from mlops_nb.tracking.endings import ending_of
from mlops_nb.tracking.recovery import cell_label
from mlops_nb.tracking.run import ActiveRun
from mlops_nb.tracking.saved import hash_of, read_notebook
from mlops_nb.tracking.session import Session

logger = logging.getLogger("mlops_nb")

MAX_FAULTS = 3
MAX_SOURCE = 100_000
_PARAMETER_TAGS = frozenset({"parameters", "injected-parameters"})
_INJECTED = "# Parameters\n"
_SKIP_TAG = "skip-track"
_SKIP_COMMENT = "# mlops: skip"
_SIMPLE = (bool, int, float, str, type(None))


def _guarded(hook: Callable[..., None]) -> Callable[..., None]:
    """Keep a fault of a hook away from the user's cell; take the hooks off when they keep failing."""

    @functools.wraps(hook)
    def safe(self: CellLedger, *args: Any) -> None:
        try:
            hook(self, *args)
        except Exception:  # whatever it is, it is ours, and the user's cell must not see it
            self.faults += 1
            logger.debug("a cell hook failed", exc_info=True)
            if self.faults >= MAX_FAULTS:
                self.uninstall()
                logger.warning("Tracking of cells is paused after %d internal errors; your code is unaffected.", self.faults)

    return safe


class CellLedger:
    """Hooks one IPython shell up with a session.

    Args:
        shell: The `InteractiveShell`.
        session: Whose open runs are told.

    Attributes:
        sources: Tells the names of a cell.
        cell_run: The run that the running cell is (`%%track`); it ends with the cell.
        on_cell_run_ended: Called with that run after it has ended.
    """

    def __init__(self, shell: Any, session: Session) -> None:
        self.shell = shell
        self.session = session
        self.faults = 0
        self.sources = Sources(shell.transform_cell)
        self.cell_run: ActiveRun | None = None
        self.on_cell_run_ended: Callable[[ActiveRun], None] | None = None
        self._depth = 0
        self._started = 0.0
        self._is_parameters = False
        self._writers: dict[str, set[str]] = {}
        self._latest: dict[str, str] = {}
        self._watcher = Watcher(shell.user_ns, shell.user_ns_hidden)
        self._memory = PeakMemory()
        self._shown = ShownFigures(shell, lambda: bool(session.runs) and _level() == "source")
        self._figures: list[tuple[str, bytes]] | None = None
        self._texts = b""
        self._redact = Redactor(os.environ)

    def install(self) -> None:
        """Register the hooks. The cell that is running, which installs them, counts; earlier ones may hold parameters."""
        self.session.user_ns = self.shell.user_ns
        self.session.is_interactive = "JPY_SESSION_NAME" in os.environ and servers.starter_of_this_kernel() is not None
        history = self.session.history
        history.names, history.leave = self.sources, self._leave
        history.notebook = lambda: read_notebook(notebook_path(self.shell.user_ns))
        self.session.companions.data.begin()
        self._look_back()
        self._shown.install()
        self.shell.events.register("pre_run_cell", self._before)
        self.shell.events.register("post_run_cell", self._after)

    @property
    def is_installed(self) -> bool:
        """Whether the hooks are on."""
        return self._before in self.shell.events.callbacks["pre_run_cell"]

    def uninstall(self) -> None:
        """Take the hooks off."""
        for event, hook in (("pre_run_cell", self._before), ("post_run_cell", self._after)):
            if hook in self.shell.events.callbacks[event]:
                self.shell.events.unregister(event, hook)
        self._shown.uninstall()
        self.session.history.leave = lambda _run: None
        self.session.cell = None

    @_guarded
    def _look_back(self) -> None:
        history = self.shell.history_manager
        sources = list(history.input_hist_raw) if history is not None else []
        for source in sources[:-1]:
            if source.startswith(_INJECTED):
                self._note_parameters(source)
        self._take_in(sources[:-1])
        request = self.shell.kernel.get_parent() if hasattr(self.shell, "kernel") else {}
        meta = request.get("metadata") or {}
        if sources and sources[-1]:
            self._depth = 1
            self._begin(
                SimpleNamespace(raw_cell=sources[-1], store_history=True, cell_id=meta.get("cellId"), cell_meta=meta), len(sources) - 1
            )

    def _take_in(self, sources: list[str]) -> None:
        """Take in the cells that ran before anybody looked, as far as their sources tell what they did."""
        known = max((e.execution_count or 0 for e in self.session.history.executions), default=0)
        earlier = [(number, source) for number, source in enumerate(sources) if number > known and source]
        notebook = self.session.history.notebook() if earlier else None
        places: dict[str, list[Place]] = {}
        for place in notebook.places if notebook is not None else []:
            places.setdefault(place.source.rstrip("\n"), []).append(place)  # as IPython's history has them
        for number, source in earlier:
            same = places.get(source, [])
            source = same[0].source if same else source
            info = SimpleNamespace(raw_cell=source, store_history=True, cell_id=same[0].cell_id if len(same) == 1 else None)
            cell = self._cell_of(info, set(), number)
            if cell is None:
                continue
            names = self.sources(source)
            there = self.shell.user_ns
            reads = [name for name in sorted(names.reads | names.words) if name in there and name not in self.shell.user_ns_hidden]
            writes = [name for name in sorted(names.binds | (names.changes | names.touches) - names.modules) if name in there]
            self._remember(msgspec.structs.replace(cell, reads=reads, writes=writes + sorted(names.state), outcome=CellOutcome.OK), source)

    def _remember(self, cell: CellExecution, source: str) -> None:
        self.session.history.put(cell)
        if source.startswith(_INJECTED):
            self.session.history.injected.add(cell.index)
        for name in cell.writes:
            self._writers.setdefault(name, set()).add(_key(cell))
            self._latest[name] = _key(cell)

    def _before(self, info: Any) -> None:
        # A cell can run another one inside (`%%capture`, `run_cell`): that is part of it.
        self._depth += 1
        if self._depth == 1:
            self._cell_begins(info)

    @_guarded
    def _cell_begins(self, info: Any) -> None:
        # IPython counts up before this hook in some versions and after it in others; the history is one entry behind in all.
        history = self.shell.history_manager
        self._begin(info, len(history.input_hist_raw) if history is not None else int(self.shell.execution_count))

    def _begin(self, info: Any, number: int) -> None:
        self._started = time.perf_counter()
        tags = _tags_of(info)
        self._is_parameters = bool(_PARAMETER_TAGS & tags) or info.raw_cell.startswith(_INJECTED)
        cell = self._cell_of(info, tags, number)
        if cell is not None:
            names = self.sources(info.raw_cell)
            cell = msgspec.structs.replace(cell, reads=self._watcher.begin(names, info.raw_cell), writes=sorted(names.writes | names.state))
            self.session.history.put(cell)
            self._shown.begin()
            self._memory.begin()
        self.session.cell = cell
        if cell is not None:
            for run in self.session.runs:
                run.begin_cell(cell)

    def _cell_of(self, info: Any, tags: set[str], number: int) -> CellExecution | None:
        level = _level()
        source = info.raw_cell
        if level == "off" or _SKIP_TAG in tags or _SKIP_COMMENT in source:
            return None
        return CellExecution(
            index=self.session.history.number(),
            cell_id=info.cell_id,
            execution_count=number if info.store_history else None,
            source=self._redact(source[:MAX_SOURCE]) if level == "source" else "",
            source_hash=hash_of(source),
            started=time.time_ns() // 1_000_000,
            outcome=CellOutcome.RUNNING,
        )

    def _after(self, result: Any) -> None:
        if self._depth == 0:  # an empty cell, which nothing announced
            return
        self._depth -= 1
        if self._depth == 0:
            self._cell_ends(result)

    @_guarded
    def _cell_ends(self, result: Any) -> None:
        error = result.error_before_exec or result.error_in_exec
        status, reason = ending_of(error)
        cell, self.session.cell = self.session.cell, None
        if self._is_parameters and error is None:
            self._note_parameters(result.info.raw_cell)
        ended = None
        if cell is not None:
            outcome = {RunStatus.FINISHED: CellOutcome.OK, RunStatus.KILLED: CellOutcome.INTERRUPTED}.get(status, CellOutcome.ERROR)
            ended = msgspec.structs.replace(
                self._with_facts(cell, None if error is None else self._came_to(result)),
                peak_memory=self._memory.end(),
                duration_ms=round((time.perf_counter() - self._started) * 1000, 3),
                outcome=outcome,
                error=None if error is None else self._redact(reason or "")[:500],
            )
            self._remember(ended, result.info.raw_cell)
            self._figures = None
            for run in list(self.session.runs):
                self._give_figures(run, ended.index)
                run.end_cell(ended)
            self._shown.end()
        where = f" in {cell_label(cell)}" if cell is not None else ""
        self.session.last_ending = None if error is None else (status, self._redact(f"{reason}{where}"))
        self._end_cell_run(status, reason, where)

    def _came_to(self, result: Any) -> Names:
        """Return the names of the part of a cell that ran before its error."""
        if result.error_in_exec is None:
            return NOTHING
        lines = [line for frame, line in traceback.walk_tb(result.error_in_exec.__traceback__) if frame.f_locals is self.shell.user_ns]
        source = result.info.raw_cell
        return self.sources.until(source, lines[0]) if lines else self.sources(source)

    def _with_facts(self, cell: CellExecution, came_to: Names | None = None) -> CellExecution:
        key = _key(cell)
        reads, writes = self._watcher.end(
            came_to=came_to,
            is_own=lambda name: key in self._writers.get(name, ()),
            is_latest=lambda name: self._latest.get(name) == key,
        )
        return msgspec.structs.replace(cell, reads=reads, writes=writes)

    def _give_figures(self, run: ActiveRun, number: int) -> None:
        """Keep what the cell has shown with a run."""
        if self._figures is None:
            is_wanted = _level() == "source"
            self._figures = self._shown.figures() if is_wanted else []
            outputs = self._shown.outputs(self._redact) if is_wanted else []
            # A figure alone is a file of its own already.
            has_text = any("figure" not in output for output in outputs)
            self._texts = json.dumps(outputs, ensure_ascii=False).encode("utf-8", "replace") if has_text else b""
        for at, (suffix, content) in enumerate(self._figures, start=1):
            run.add_bytes(content, figure_file(number, at, suffix))
        if self._texts:
            run.add_bytes(self._texts, shown_file(number), is_result=False)

    def _leave(self, run: Any) -> CellExecution | None:
        """Give a run that ends within the cell what is known by now; the hooks take over where it fails."""
        cell = self.session.cell
        if cell is None:
            return None
        try:
            self._figures = None
            self._give_figures(run, cell.index)
            return msgspec.structs.replace(self._with_facts(cell), peak_memory=self._memory.so_far())
        except Exception:  # it is ours, and the run has to end
            logger.debug("the facts about a running cell are not known", exc_info=True)
            return None

    def _end_cell_run(self, status: RunStatus, reason: str | None, where: str) -> None:
        run, self.cell_run = self.cell_run, None
        if run is None:
            return
        run.stop(status, self._redact(f"{reason}{where}") if reason else None)
        if self.on_cell_run_ended is not None:
            self.on_cell_run_ended(run)

    def _note_parameters(self, source: str) -> None:
        """Log the values that the parameters cell assigned to every run of this notebook."""
        for name in _assigned_names(source):
            value = self.shell.user_ns.get(name)
            if _is_simple(value):
                text = self._redact(f'{name}="{value}"')[len(name) + 2 : -1] if isinstance(value, str) else str(value)
                self.session.parameters[name] = text[:MAX_PARAM_VALUE]
        for run in self.session.runs:
            run.log_params({key: value for key, value in self.session.parameters.items() if key not in run.params})


def _key(cell: CellExecution) -> str:
    """Return what tells a cell from others: its id, or its source where the front end gives none."""
    return cell.cell_id or cell.source_hash


def _level() -> str:
    """Return how much of a cell is kept: source, hash or off."""
    return os.environ.get("MLOPS_NB_CAPTURE", "source")


def _tags_of(info: Any) -> set[str]:
    """Return the tags of the cell, which JupyterLab and our papermill engine send along."""
    meta = getattr(info, "cell_meta", None)
    tags = meta.get("tags") if isinstance(meta, dict) else None
    return {tag for tag in tags if isinstance(tag, str)} if isinstance(tags, list) else set()


def _assigned_names(source: str) -> list[str]:
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a magic in the cell: nothing of it is a plain parameter
        return []
    names = []
    for statement in body:
        targets = (
            statement.targets if isinstance(statement, ast.Assign) else [statement.target] if isinstance(statement, ast.AnnAssign) else []
        )
        names += [target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith("_")]
    return names


def _is_simple(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) <= 20 and all(isinstance(item, _SIMPLE) for item in value)
    if isinstance(value, dict):
        return len(value) <= 20 and all(isinstance(item, _SIMPLE) for item in value.values())
    return isinstance(value, _SIMPLE)
