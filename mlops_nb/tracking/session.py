"""The recording state of this process: the open runs, the shipper, and what happens at exit and fork."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from typing import Any

from mlops_nb import config
from mlops_nb.core.events import RunStarted
from mlops_nb.core.names import check_experiment_name, check_param, check_tag, clean_run_name, clean_text, new_run_id, new_run_name
from mlops_nb.core.records import DEFAULT_EXPERIMENT, TAG_NOTE, TAG_PARENT, CellExecution, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, NotFound, PermissionDenied
from mlops_nb.store.base import TrackingStore
from mlops_nb.tracking import capture
from mlops_nb.tracking.companions import Companions
from mlops_nb.tracking.endings import ending_of
from mlops_nb.tracking.forking import wait_for_imports
from mlops_nb.tracking.history import CellHistory
from mlops_nb.tracking.journal import Journal
from mlops_nb.tracking.recovery import recover
from mlops_nb.tracking.run import STOP_SECONDS, ActiveRun
from mlops_nb.tracking.shipper import Shipper
from mlops_nb.tracking.target import Target, resolve

logger = logging.getLogger("mlops_nb")


class Session:
    """What this process records. There is one, `current`; tests make their own.

    Attributes:
        runs: The open runs, outermost first.
        last: The run that was started last, open or not.
        cell: The notebook cell that is running, told by the cell hooks.
        history: What ran before it in this kernel.
        last_ending: How the last cell ended, if it failed: what an open run ends as when the kernel goes.
        parameters: The notebook's parameters, logged to every run that starts.
        experiment: The experiment of the runs that follow, where they name none.
        user_ns: The variables of the notebook, when there is one.
        cut_off: Runs of an execution that was interrupted, by start: what is executed again goes on with them instead of new ones.
        is_interactive: Whether a Jupyter server started this kernel for a notebook that a person has open.
    """

    def __init__(self) -> None:
        self.runs: list[ActiveRun] = []
        self.last: ActiveRun | None = None
        self.cell: CellExecution | None = None
        self.history = CellHistory()
        self.companions = Companions(self)
        self.last_ending: tuple[RunStatus, str | None] | None = None
        self.parameters: dict[str, str] = {}
        self.experiment: str | None = None
        self.user_ns: dict[str, Any] | None = None
        self.cut_off: list[Run] = []
        self.is_interactive = False
        self._shippers: dict[str, Shipper] = {}
        self._paused: list[Shipper] = []
        self._reopened: list[tuple[ActiveRun, Shipper, Journal]] = []
        self._shipper: Shipper | None = None
        self._lock = threading.RLock()
        atexit.register(self._at_exit)
        _sessions.add(self)

    @property
    def active(self) -> ActiveRun | None:
        """The innermost open run that this thread may log to: none that belongs to another thread alone."""
        mine = (None, threading.get_ident())
        return next((run for run in reversed(self.runs) if run.thread in mine), None)

    def start(
        self,
        name: str | None = None,
        *,
        experiment: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        note: str | None = None,
        nested: bool = False,
        parent_id: str | None = None,
        resume: Run | None = None,
        tracking_uri: str | None = None,
        thread: int | None = None,
    ) -> ActiveRun:
        """Start a run; see `mlops_nb.start_run`. One with a `thread` is the active one there alone, as autolog needs it."""
        with self._lock:
            outer = self.active
            if outer is not None and not nested:
                raise InvalidInput(
                    f"Run {outer.name} ({outer.run_id[:8]}) is still open.",
                    hint="Stop it first (mlops_nb.stop_run()), or start this one with nested=True.",
                )
            # All that can be wrong is found before anything is opened.
            name, experiment = (None if text is None else str(text) for text in (name, experiment))
            given = {key: check_param(key, value) for key, value in (params or {}).items()}
            shipper = self._shipper_for(resolve(tracking_uri))
            all_tags = {key: check_tag(key, value) for key, value in capture.source_tags(shipper.target.project, self.user_ns).items()}
            all_tags |= {key: check_tag(key, value) for key, value in (tags or {}).items()}
            if nested and outer is not None and TAG_PARENT not in (tags or {}):
                all_tags[TAG_PARENT] = outer.run_id
            if parent_id:
                all_tags[TAG_PARENT] = parent_id
            if note:
                all_tags[TAG_NOTE] = check_tag(TAG_NOTE, note)
            again = None if resume is not None else self._cut_off(name)
            resume = resume or again
            run_id = resume.run_id if resume else new_run_id()
            if resume is not None:
                experiment = self._experiment_of(resume)
                past = self.store().cells(run_id)
            event = RunStarted(
                ts=time.time_ns() // 1_000_000,
                experiment=check_experiment_name(clean_text(experiment or self._default_experiment(outer))),
                name=clean_run_name(name or (resume.name if resume else "")) or new_run_name(),
                user=clean_text(config.user_name()),
                tags=all_tags,
                resume=resume is not None,
            )
            with contextlib.suppress(OSError):  # the journal says what is wrong with the folder, once
                if shipper.target.state_dir == shipper.target.project.state_dir:
                    shipper.target.project.create()
            journal = self._open_journal(shipper, run_id)
            journal.append(event)
            run = ActiveRun(self, journal, start=event, run_id=run_id)
            run.thread = thread
            self.last = run
            if resume is not None:
                run.continues = True
                steps = {key: metric.step for key, metric in resume.metrics.items()}
                run.continue_from({} if again else steps, resume.params, past)
            self.runs.append(run)  # before it can be seen: an interrupt must not leave a run that nobody knows
            shipper.add(journal)
        if self.cell is not None:
            run.begin_cell(self.cell)
        # A parameter that only gives the run its name says nothing about the run.
        noted = {k: v for k, v in self.parameters.items() if k not in run.params and v not in ("", run.name)}
        run.log_params({**noted, **given})
        self.companions.run_started(run, shipper.target)
        return run

    def _experiment_of(self, run: Run) -> str | None:
        """Return the name of a run's experiment; None where this process may not know it: the run is in it all the same."""
        try:
            return self.store().get_experiment(run.experiment_id).name
        except PermissionDenied:
            return None

    def _cut_off(self, name: str | None) -> Run | None:
        """Return the run that this start would have made before the interruption, if it had made one."""
        found = next((run for run in self.cut_off if name is None or run.name == name), None)
        if found is not None:
            self.cut_off.remove(found)
        return found

    def _default_experiment(self, outer: ActiveRun | None) -> str:
        return outer.experiment if outer is not None else self.experiment or config.experiment_name() or DEFAULT_EXPERIMENT

    def _shipper_for(self, target: Target) -> Shipper:
        shipper = self._shippers.get(target.store_uri)
        if shipper is None:
            shipper = self._shippers[target.store_uri] = Shipper(target)
            if target.project.is_fallback and target.state_dir == target.project.state_dir:
                logger.warning("%s cannot be written; its runs are kept in %s.", target.project.root, target.state_dir)
        self._shipper = shipper
        return shipper

    def _open_journal(self, shipper: Shipper, run_id: str, *, owner: bool = True) -> Journal:
        def on_fault(error: OSError) -> None:
            logger.warning(
                "The journal in %s cannot be written (%s): logging goes on in memory and straight to the store.",
                shipper.target.journal_dir,
                error.strerror or error,
            )

        return Journal(shipper.target.journal_dir, run_id, shipper.target.store_uri, owner=owner, on_fault=on_fault)

    def ended(self, run: ActiveRun, journal: Journal | None, timeout: float) -> None:
        """Take a run that was stopped off the list and deliver the rest of it; inner runs that are open end with it."""
        deadline = time.monotonic() + timeout
        with self._lock:
            if run not in self.runs:
                return
            position = self.runs.index(run)
            inner = [other for other in self.runs[position + 1 :] if other.thread == run.thread]
        for child in reversed(inner):
            child.stop(run.status, run.reason, timeout=max(0.1, deadline - time.monotonic()))
        with self._lock:
            self.runs.remove(run)
        if journal is None:  # a forked child that has logged nothing
            return
        shipper = self._shippers[journal.header.store]
        complete = shipper.finish(journal, max(0.1, deadline - time.monotonic()))
        run.close()
        if not complete:
            logger.warning(
                "Run %s is closed, but the store does not have all of it yet. It is safe in %s and is sent when the store is back.",
                run.name,
                shipper.target.journal_dir,
            )

    def reopen(self, run: ActiveRun) -> None:
        """Let more be added to a run that has ended in this process; it stays ended."""

        def add_to_it() -> Journal:
            shipper = self._shippers[run.store_uri]
            journal = self._open_journal(shipper, run.run_id, owner=False)
            shipper.add(journal)
            self._reopened.append((run, shipper, journal))
            return journal

        while len(self._reopened) > _MAX_REOPENED and self._reopened[0][2].is_delivered:
            self._close_reopened(0.0)
        if not any(other is run for other, _, _ in self._reopened):
            run.continue_in_child(add_to_it)

    def attach(self, run_id: str) -> ActiveRun:
        """Return a handle that adds to a run which is not open here; how that run stands does not change."""
        with self._lock:
            for run, _, _ in self._reopened:
                if run.run_id == run_id:
                    return run
            while len(self._reopened) > _MAX_REOPENED and self._reopened[0][2].is_delivered:
                self._close_reopened(0.0)
            shipper = self.shipper()
            journal = self._open_journal(shipper, run_id, owner=False)
            run = ActiveRun(self, journal, start=RunStarted(experiment="", name=run_id[:8]), run_id=run_id)
            run.status, run.end_time, run.continues = RunStatus.FINISHED, 0, True
            shipper.add(journal)
            self._reopened.append((run, shipper, journal))
            return run

    def retarget(self) -> None:
        """Record the runs that follow to where the settings say now. Open runs stay where they are."""
        with self._lock:
            self._shipper = None

    def _close_reopened(self, timeout: float) -> None:
        run, shipper, journal = self._reopened.pop(0)
        shipper.finish(journal, timeout)
        run.close()

    def flush(self, timeout: float = STOP_SECONDS) -> bool:
        """Wait until what was logged so far is in the store; return whether it is."""
        return all(shipper.flush(timeout) for shipper in list(self._shippers.values()))

    def shipper(self) -> Shipper:
        """Return the shipper of the last run, or of where a run would be recorded now."""
        with self._lock:
            return self._shipper or self._shipper_for(resolve())

    def store(self) -> TrackingStore:
        """Return the store, for reading.

        Raises:
            StoreError: If it cannot be reached.
        """
        return self.shipper().store()

    def fresh_store(self, timeout: float = STOP_SECONDS) -> TrackingStore:
        """Return the store for reading what has been logged so far, with the runs of dead processes closed.

        Raises:
            NotFound: If nothing has ever been recorded here. Asking makes no files.
            StoreError: If it cannot be reached.
        """
        self.flush(timeout)
        target = self.shipper().target
        if target.is_empty:
            raise NotFound("Nothing has been recorded in this project yet.", hint="Start a run: %track start")
        store = self.store()
        recover(target.journal_dir, store, target.store_uri)
        store.expire_leases()
        return store

    def ending(self) -> tuple[RunStatus, str | None]:
        """Return how an open run ends when the process ends now."""
        if self.last_ending is not None:
            return self.last_ending
        if self.user_ns is not None:
            # Under a Jupyter server a person works, and the kernel went while the run was open.
            # Headless, the notebook has simply come to its end.
            if self.is_interactive:
                return RunStatus.KILLED, "the kernel was shut down while the run was open"
            return RunStatus.FINISHED, None
        return ending_of(getattr(sys, "last_value", None))

    def _at_exit(self) -> None:
        status, reason = self.ending()
        deadline = time.monotonic() + STOP_SECONDS
        for run in reversed(list(self.runs)):
            run.stop(status, reason, timeout=max(0.1, deadline - time.monotonic()))
        while self._reopened:
            self._close_reopened(max(0.1, deadline - time.monotonic()))

    def after_fork_in_child(self) -> None:
        """Let the child add to the parent's runs through journals of its own, made when it first logs something."""
        self._lock = threading.RLock()
        self.companions.after_fork_in_child()
        targets = {uri: shipper.target for uri, shipper in self._shippers.items()}
        self._shippers, self._shipper, self._reopened = {}, None, []
        for run in self.runs:
            target = targets[run.store_uri]

            def open_for_child(run_id: str = run.run_id, target: Target = target) -> Journal:
                shipper = self._shipper_for(target)
                journal = self._open_journal(shipper, run_id, owner=False)
                shipper.add(journal)
                return journal

            run.continue_in_child(open_for_child)

    def close(self) -> None:
        """Stop what runs in the background. For sessions besides the process's own."""
        atexit.unregister(self._at_exit)
        for shipper in self._shippers.values():
            shipper.stop()

    def before_fork(self) -> None:
        """Bring the shippers to rest: a child must not inherit an import that is under way, or an open database."""
        self._paused = [shipper for shipper in list(self._shippers.values()) if shipper.pause(_FORK_SECONDS)]
        if self.runs:
            wait_for_imports(_FORK_SECONDS)

    def after_fork_in_parent(self) -> None:
        """Let the shippers go on; open runs may get data from the child."""
        for shipper in self._paused:
            shipper.resume()
        self._paused = []
        if self.runs:
            for shipper in list(self._shippers.values()):
                shipper.expect_children()


_FORK_SECONDS = 5.0
_MAX_REOPENED = 8
_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def _before_fork() -> None:
    for session in list(_sessions):
        session.before_fork()


def _after_fork_in_parent() -> None:
    for session in list(_sessions):
        session.after_fork_in_parent()


def _after_fork_in_child() -> None:
    for session in list(_sessions):
        session.after_fork_in_child()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)

current = Session()
