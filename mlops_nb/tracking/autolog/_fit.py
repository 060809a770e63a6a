"""One training: the run it goes to, and what is inside of what."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

import msgspec

from mlops_nb.core.names import MAX_PARAM_VALUE, clean_text
from mlops_nb.core.records import CellOutcome
from mlops_nb.core.redaction import Redactor
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.autolog._guard import guard
from mlops_nb.tracking.autolog._options import Options, options_of
from mlops_nb.tracking.endings import ending_of
from mlops_nb.tracking.run import ActiveRun

TAG_AUTOLOG = "mlflow.autologging"
"""The tag that says which framework a run was logged by."""

_KEY_CHARACTERS = frozenset("_-. /:")
_inside = threading.local()
# In a worker thread of a meta-estimator, this is below the fit of its parts.
_PARALLEL = "sklearn.utils.parallel"


class Fit:
    """A training that is being tracked, as a context around the user's call.

    Whatever goes wrong in `safely` stays there; what the user's call raises goes through.

    Attributes:
        run: The open run, which it joins, or one of its own, which ends with it.
        is_own: Whether it is its own.
        model_id: The logged model, once there is one.
        redact: Takes secrets out of texts.
    """

    def __init__(self, framework: str, options: Options) -> None:
        self.framework = framework
        self.options = options
        self.model_id: str | None = None
        self.redact = Redactor(os.environ)
        self._hides_parts = True
        active = sessions.current.active
        self.is_own = active is None
        tags = {TAG_AUTOLOG: framework, **dict(options.extra_tags)}
        self.run = active or sessions.current.start(tags=tags, thread=threading.get_ident())

    def around_parts(self) -> Self:
        """Track what is trained within this one too: the trials of a study are trainings of their own."""
        self._hides_parts = False
        return self

    def __enter__(self) -> Self:
        _inside.depth = getattr(_inside, "depth", 0) + int(self._hides_parts)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _inside.depth -= int(self._hides_parts)
        if self.is_own:
            with self.safely("the end of the run is"):
                self.run.stop(*ending_of(error))

    def safely(self, what: str) -> AbstractContextManager[None]:
        """Keep faults of ours from the user's code: `with fit.safely("params are"): ...`."""
        return guard(self.framework, what)

    def log_params(self, params: Mapping[str, Any], prefix: str = "", run: ActiveRun | None = None) -> None:
        """Log params without secrets, cut to the length that is allowed; one that the run has already stays as it is.

        They go to the run of the training, or to another one, such as that of a candidate.
        """
        to = run or self.run
        for key, text in self.texts_of(params).items():
            name = clean_key(f"{prefix}{key}")
            if name not in to.params:
                to.log_param(name, text)

    def texts_of(self, params: Mapping[str, Any]) -> dict[str, str]:
        """Return params as texts without secrets, cut to the length that is allowed."""
        return {str(key): clean_text(self.redact.value(str(key), value))[:MAX_PARAM_VALUE] for key, value in params.items()}

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log what of these can be read as a number."""
        for key, value in metrics.items():
            number = as_number(value)
            if number is not None:
                self.run.log_metric(clean_key(str(key)), number, step)


def begin(framework: str) -> Fit | None:
    """Return the training to track; None if it is part of another one, or autolog is off. Never raises."""
    options = options_of(framework)
    if options is None or is_inside() or _is_part_of_another():
        return None
    with guard(framework, "the training is"):
        active = sessions.current.active
        if not (options.exclusive and active is not None and TAG_AUTOLOG not in active.tags):
            return Fit(framework, options)
    return None


def is_inside() -> bool:
    """Return whether this thread is within a training that is tracked."""
    depth: int = getattr(_inside, "depth", 0)
    return depth > 0


def _is_part_of_another() -> bool:
    """Return whether a meta-estimator of scikit-learn has this thread fit one of its parts."""
    if threading.current_thread() is threading.main_thread():
        return False
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_globals.get("__name__") == _PARALLEL:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def clean_key(key: str) -> str:
    """Return a name with the characters that names may have; `@` is spelled out, as MLflow does."""
    spelled = key.replace("@", "_at_")
    return "".join(c if c.isalnum() or c in _KEY_CHARACTERS else "_" for c in spelled)[:250].strip("/") or "_"


def as_number(value: Any) -> float | None:
    """Return a value as a number; None if it is none."""
    if isinstance(value, (str, bytes)) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return None


class Trained:
    """Where a training went, for what is computed of the model later."""

    def __init__(self, run: ActiveRun, model_id: str | None) -> None:
        self.run = run
        self.model_id = model_id
        self._pid = os.getpid()

    def log_metric(self, key: str, value: float) -> None:
        """Log a metric to the run, also after its end, in the cell that runs now. A forked child leaves it alone."""
        if self._pid != os.getpid():
            return
        session = sessions.current
        if self.run.is_open:
            self.run.log_metric(key, value, 0)
            return
        session.reopen(self.run)
        cell = session.cell
        if cell is not None:
            self.run.begin_cell(cell)
        self.run.log_metric(key, value, 0)
        if cell is not None:  # the run has nothing more of it, as far as we know
            took = max(0.0, time.time() * 1000 - cell.started)
            self.run.end_cell(msgspec.structs.replace(cell, outcome=CellOutcome.OK, duration_ms=round(took, 3)))
