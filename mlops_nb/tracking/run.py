"""The handle of a run that is being recorded."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from mlops_nb.core.events import AnyEvent, CellRan, ParamLogged, RunEnded, RunStarted, TagSet
from mlops_nb.core.names import check_key, check_param, check_tag, clean_run_name
from mlops_nb.core.records import TAG_HYGIENE, TAG_NOTE, TAG_RUN_NAME, CellExecution, CellOutcome, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput
from mlops_nb.tracking import clock, scores
from mlops_nb.tracking.belongings import Belongings
from mlops_nb.tracking.endings import ending_of, without_secrets
from mlops_nb.tracking.journal import Journal

if TYPE_CHECKING:
    from mlops_nb.tracking.session import Session

logger = logging.getLogger("mlops_nb")

STOP_SECONDS = 4.5
_CAPTURE_SECONDS = 2.0
_INT64 = 2**63


class ActiveRun(Belongings):
    """A run that this process records. Made by `start_run`; a context manager that ends the run.

    Every log call writes one line to the run's journal and returns; delivery to the store happens in the background.
    A call raises only for what the caller can mend (`InvalidInput`: a name that is not allowed, a value that is not a
    number), never because of the store, the network or the disk. Any thread may log.

    Attributes:
        run_id: 32 hex digits.
        name: What people call it.
        experiment: The name of its experiment.
        start_time: Milliseconds since 1970 UTC.
        status: RUNNING until `stop`.
        thread: The one thread for which it is the active run; None for all of them.
        latest, params, tags: What was logged here so far; a metric is its last value and step.
        on_point: Called with each point of a metric, for a live view; it must be quick.
    """

    def __init__(self, session: Session, journal: Journal, *, start: RunStarted, run_id: str) -> None:
        self.run_id = run_id
        self.name = start.name
        self.experiment = start.experiment
        self.start_time = start.ts
        self.end_time: int | None = None
        self._began = clock.now()
        self.status = RunStatus.RUNNING
        self.reason: str | None = None
        self.thread: int | None = None
        self.latest: dict[str, tuple[float, int]] = {}
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = dict(start.tags)
        self.on_point: Callable[[str, float, int], None] | None = None
        self.store_uri = journal.header.store
        self._session = session
        self._open_journal: Journal | None = journal
        self._make_journal: Callable[[], Journal] | None = None
        self._keys: dict[str, bytes] = {}
        self._steps: dict[str, int] = {}
        self._lock = threading.Lock()
        self._capturing: threading.Thread | None = None
        self._offset = 0
        self._told: set[int] = set()
        self._gave: set[int] = set()
        self._count = 0
        self._cell: CellExecution | None = None
        self._cell_began = 0.0
        self._in_cell = b""

    @property
    def _journal(self) -> Journal:
        journal = self._open_journal
        if journal is None:
            assert self._make_journal is not None
            journal = self._open_journal = self._make_journal()
        return journal

    def continue_in_child(self, make_journal: Callable[[], Journal]) -> None:
        """Go on in a forked child: with a journal of its own, which `make_journal` opens when it is needed.

        The child adds to the run; only the parent ends it.
        """
        if self._open_journal is not None:
            self._open_journal.abandon()
        self._open_journal, self._make_journal = None, make_journal
        self._lock = threading.Lock()
        self._cell, self._in_cell = None, b""
        self._capturing = None

    def continue_from(self, steps: Mapping[str, int], params: Mapping[str, str], past: Sequence[CellExecution]) -> None:
        """Go on where a resumed run stopped: with its last steps, its params, and behind its last cell."""
        self._steps.update(steps)
        self.params.update(params)
        if past and self._session.history.has(past[-1]):  # it ran in this very kernel session, and the numbers go on
            self._told.update(cell.index for cell in past)
        else:
            self._offset = 1 + max((cell.index for cell in past), default=-1)

    @property
    def steps(self) -> dict[str, int]:
        """The last step of each metric: where a metric without a step of its own goes on."""
        return dict(self._steps)

    def count_from(self, steps: Mapping[str, int]) -> None:
        """Let metrics without a step of their own go on behind these, as if later ones had not been logged yet."""
        self._steps = dict(steps)

    def capture(self, find_tags: Callable[[], Mapping[str, str]]) -> None:
        """Set tags that take a while to find (git) from a thread of their own; `stop` waits for them a little."""

        def work() -> None:
            try:
                self.set_tags(find_tags())
            except InvalidInput:
                logger.debug("run %s ended before all about its surroundings was known", self.run_id, exc_info=True)
            except Exception:  # a thread of ours must not print tracebacks into the user's work
                logger.warning("Not all about the surroundings of run %s is recorded: an internal error.", self.name)
                logger.debug("the capture failed", exc_info=True)

        self._capturing = threading.Thread(target=work, name="mlops_nb-capture", daemon=True)
        self._capturing.start()

    def close(self) -> None:
        """Refuse what comes after the end."""

        def ended() -> Journal:
            raise InvalidInput(
                f"Run {self.name} has ended; nothing can be logged to it.", hint=f"Resume it: %track start --resume {self.run_id[:8]}"
            )

        self._open_journal, self._make_journal = None, ended

    # -- metrics

    def log(self, metrics: Mapping[str, Any] | None = None, /, *, step: int | None = None, **more: Any) -> None:
        """Log metrics: `run.log(loss=0.3)`, `run.log({"val/auc": 0.9}, step=3)`.

        Args:
            metrics: Names and values; a value is anything that `float` takes, NaN and infinities too.
            step: Where on the x-axis; None counts on from the metric's last step, beginning with 0.
            **more: Further metrics whose names are identifiers.

        Raises:
            InvalidInput: If a name is not allowed or a value is not a number.
        """
        for key, value in {**(metrics or {}), **more}.items():
            self.log_metric(key, value, step)

    def log_metric(self, key: str, value: Any, step: int | None = None, *, timestamp: int | None = None) -> None:
        """Log one point of a metric; see `log`. `timestamp` in ms, now by default."""
        encoded = self._keys.get(key)
        if encoded is None:
            encoded = self._keys[key] = msgspec.json.encode(check_key(key, "metric"))
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise InvalidInput(f"The metric '{key}' is {value!r:.60}, not a number.", hint="Text goes into a param or a tag.") from None
        if step is None:
            step = self._steps.get(key, -1) + 1
        try:
            step = int(step)
            if not -_INT64 <= step < _INT64:
                raise OverflowError
        except (TypeError, ValueError, OverflowError):
            raise InvalidInput(f"The step of '{key}' is {step!r:.60}, not a whole number.") from None
        self._steps[key] = step
        self.latest[key] = (number, step)
        if self.on_point is not None:
            self.on_point(key, number, step)
        now = time.time_ns() // 1_000_000 if timestamp is None else timestamp
        if math.isfinite(number):
            text = b"%r" % number
        else:
            text = b'"NaN"' if math.isnan(number) else b'"Infinity"' if number > 0 else b'"-Infinity"'
        self._journal.append_body(b'"t":"m","ts":%d,"key":%b,"value":%b,"step":%d%b}' % (now, encoded, text, step, self._in_cell))
        if scores.recent and number in scores.recent:
            scores.link(self, key, number)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics; the same as `log` with a mapping."""
        self.log(metrics, step=step)

    # -- params and tags

    def log_param(self, key: str, value: Any) -> Any:
        """Log a param: an input of the run, written once. Returns the value.

        A second value for the same param is not taken; a warning says so.
        """
        text = check_param(key, value)
        known = self.params.setdefault(key, text)
        if known != text:
            logger.warning("The param '%s' of this run is %s already; it stays (a param is written once).", key, known[:80])
            return value
        self._append(ParamLogged(key=key, value=text, cell=self._cell_index))
        return value

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params; see `log_param`."""
        for key, value in params.items():
            self.log_param(key, value)

    def set_tag(self, key: str, value: Any) -> None:
        """Set a tag; the last value stays."""
        text = check_tag(key, value)
        self._append(TagSet(key=key, value=text))
        self.tags[key] = text
        if key == TAG_RUN_NAME:
            self.name = clean_run_name(text) or self.name

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; see `set_tag`."""
        for key, value in tags.items():
            self.set_tag(key, value)

    def delete_tag(self, key: str) -> None:
        """Remove a tag."""
        self._append(TagSet(key=check_key(key, "tag")))
        self.tags.pop(key, None)

    def note(self, text: str) -> None:
        """Set the run's note (Markdown)."""
        self.set_tag(TAG_NOTE, text)

    def log_predictions(self, target: Any, prediction: Any, *, rows: Any = None, name: str = "validation", task: str | None = None) -> None:
        """Keep target and prediction of each row, so that a comparison can tell a better model from a lucky one.

        Args:
            target: The truth: one number or label a row.
            prediction: One number or label a row, or a row of probabilities, one a class.
            rows: What tells the rows apart: their ids, their index, or the rows themselves (of which only hashes are kept);
                without, the index of a pandas target, else their order.
            name: What the rows are called. A name that is there already is written over.
            task: `classification` or `regression`.

        Raises:
            InvalidInput: If they do not have as many rows, or have another form.
        """
        from mlops_nb.tracking.predictions import log_predictions

        log_predictions(self, target, prediction, rows=rows, name=name, task=task)

    # -- the ledger, told by the cell hooks

    def begin_cell(self, cell: CellExecution) -> None:
        """Note that a cell begins to run while this run is open. Its index is its number in the kernel session."""
        self._tell_needs_of(cell)
        with self._lock:
            self._cell = msgspec.structs.replace(cell, index=cell.index + self._offset)
            self._cell_began = time.perf_counter()
            self._in_cell = b',"cell":%d' % self._cell.index
        self._append(CellRan(cell=self._cell))
        self._told.add(cell.index)
        self._count = self._journal.count

    def end_cell(self, cell: CellExecution) -> None:
        """Note how the cell that `begin_cell` announced ended."""
        if self._cell is not None:
            if self._journal.count > self._count:
                self._gave.add(cell.index)
            self._tell_needs_of(cell)
            self._append(CellRan(cell=msgspec.structs.replace(cell, index=self._cell.index)))
            self._cell = None
            self._in_cell = b""

    def number_of_cell(self, index: int) -> int | None:
        """Return the number in this run of an execution of the kernel session; None if the run knows nothing of it."""
        return index + self._offset if index in self._told else None

    @property
    def running_cell(self) -> int | None:
        """The number of the cell that runs now."""
        return self._cell_index

    def tell(self, event: AnyEvent) -> None:
        """Add what was noticed beside the cells: the running one has not given it, unless the event says so."""
        self._append(event)
        self._count += 1

    @property
    def cells(self) -> list[CellExecution]:
        """What ran of this notebook for the run so far, in order."""
        return [execution for execution in self._session.history.executions if execution.index in self._told]

    def _tell_needs_of(self, cell: CellExecution) -> None:
        """Add the earlier executions that a cell builds on, which ran before the run began."""
        for needed in self._session.history.needed_by(cell, self._told):
            self._append(CellRan(ts=needed.started, cell=msgspec.structs.replace(needed, index=needed.index + self._offset)))
            self._told.add(needed.index)

    def _leave_cell(self) -> None:
        """Take the rest of the running cell out of the run: what it has taken so far is what it took within the run."""
        if self._cell is not None:
            took = round((time.perf_counter() - self._cell_began) * 1000, 3)
            number = self._cell.index - self._offset
            cell = self._session.history.leave(self) or self._cell
            self.end_cell(msgspec.structs.replace(cell, index=number, outcome=CellOutcome.OK, duration_ms=took))

    def _grade(self) -> None:
        """Say how what the run needs stands to the notebook."""
        try:
            hygiene = self._session.history.grade(self._gave or self._told)
        except Exception:  # a finding about the notebook must not keep the run from ending
            logger.debug("the hygiene of run %s cannot be told", self.run_id, exc_info=True)
            return
        if hygiene is not None:
            self.set_tag(TAG_HYGIENE, hygiene.value)

    # -- the end

    def stop(self, status: RunStatus | str = RunStatus.FINISHED, reason: object = None, *, timeout: float = STOP_SECONDS) -> None:
        """End the run. Stopping it again does nothing.

        Args:
            status: FINISHED, FAILED or KILLED.
            reason: Why it failed or was killed, such as an exception; one line.
            timeout: How long to wait for the store (s); what is not delivered by then is, by the next process.
        """
        final = RunStatus(status.upper()) if isinstance(status, str) else status
        if not final.is_final:
            raise InvalidInput(f"A run cannot end as {final.value}.", hint="Use FINISHED, FAILED or KILLED.")
        deadline = time.monotonic() + timeout
        if self._capturing is not None:
            self._capturing.join(min(_CAPTURE_SECONDS, timeout))
        if self._make_journal is None:
            self._session.companions.run_stopping(self, max(0.1, min(_CAPTURE_SECONDS, deadline - time.monotonic())))
        with self._lock:
            if self.end_time is not None:
                return
            self.reason = None if reason is None else without_secrets(reason)
            self.status, self.end_time = final, self.start_time + clock.milliseconds_since(self._began)
        self._leave_cell()
        if self._open_journal is not None and self._open_journal.dropped:
            self.set_tag("mlops.dropped_events", self._open_journal.dropped)
        if self._make_journal is None:
            self._grade()
            self._append(RunEnded(ts=self.end_time, status=final, reason=self.reason))
        self._session.ended(self, self._open_journal, max(0.1, deadline - time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop(*ending_of(error))

    @property
    def elapsed_ms(self) -> int:
        """How long the run goes on or went on (ms), whatever becomes of the clock that people see."""
        return clock.milliseconds_since(self._began) if self.end_time is None else self.end_time - self.start_time

    @property
    def is_open(self) -> bool:
        """Whether the run has not been stopped."""
        return self.end_time is None

    def record(self, timeout: float = STOP_SECONDS) -> Run:
        """Return the run as the store has it, after what was logged so far has been delivered.

        Raises:
            StoreError: If the store cannot be reached.
        """
        self._session.flush(timeout)
        return self._session.store().get_run(self.run_id)

    def _spool(self, copy: Callable[[Path], Any]) -> str:
        return self._journal.spool(copy)

    @property
    def _cell_index(self) -> int | None:
        cell = self._cell
        return None if cell is None else cell.index

    def _append(self, event: AnyEvent) -> None:
        self._journal.append(msgspec.structs.replace(event, ts=event.ts or time.time_ns() // 1_000_000))

    def __repr__(self) -> str:
        return f"<Run {self.name} {self.run_id[:8]} {self.status.value}>"
