"""The live card of a run: it stays under its cell and redraws in place while the cell runs.

It is HTML without a script. Its button to stop is a link to JupyterLab's own command, which interrupts the kernel over
the page's own connection; in other front ends it stays hidden. The button is an output of its own, which is not drawn
again: one that is replaced between press and release is not clicked.
"""

from __future__ import annotations

import contextvars
import logging
import os
import re
import threading
import uuid
from collections.abc import Callable
from html import escape
from typing import Any

from mlops_nb.core.formatting import format_duration, format_number, one_line
from mlops_nb.core.names import SYSTEM_METRICS
from mlops_nb.core.records import TAG_HYGIENE
from mlops_nb.core.run_state import RunStatus
from mlops_nb.core.salience import main_metrics
from mlops_nb.magics import cards
from mlops_nb.tracking.run import ActiveRun

logger = logging.getLogger("mlops_nb")

Bundle = dict[str, str]
Publish = Callable[[Bundle, str, bool], None]
"""Shows a bundle under an id, for the first time or, with True, in place of what the id shows."""

PERIOD = 0.5
MAX_METRICS = 6
_MAX_PARAMS = 12
_KEPT = 240
_PLOTTED = 60
_STEPS = re.compile(r"(n_|num_|max_|total_|num_train_)?(epochs|steps|iterations|rounds)")
_NEVER_IN_JUPYTERLAB = "__vsc_ipynb_file__"


class Trace:
    """The course of a metric in at most `_KEPT` values at even distances."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._stride = 1
        self._count = 0

    def add(self, value: float) -> None:
        """Take in the next value."""
        if self._count % self._stride == 0:
            self.values.append(value)
            if len(self.values) >= _KEPT:
                del self.values[1::2]
                self._stride *= 2
        self._count += 1


class Progress:
    """Guesses how long a run goes on: from a param such as `epochs`, and from how fast the steps of a metric come."""

    def __init__(self, run: ActiveRun) -> None:
        self._run = run
        self._first: dict[str, tuple[int, int]] = {}
        self._key = ""
        self._step = 0

    def add(self, key: str, step: int) -> None:
        """Take in a point of a metric; the metric that was logged first counts."""
        if not self._key and not key.startswith(SYSTEM_METRICS):
            self._key = key
        if key == self._key:
            self._first.setdefault(key, (step, self._run.elapsed_ms))
            self._step = step

    def remaining_ms(self) -> float | None:
        """Return how long it still takes (ms); None where nothing tells, or what tells is contradicted."""
        total = next((number for name, text in list(self._run.params.items()) if (number := _steps_in(name, text)) is not None), None)
        first = self._first.get(self._key)
        if total is None or first is None or not self._run.is_open:
            return None
        done, last = self._step - first[0], first[0] + total - 1
        return None if done < 1 or self._step > last else (last - self._step) * (self._run.elapsed_ms - first[1]) / done


def _steps_in(name: str, text: str) -> int | None:
    if not _STEPS.fullmatch(name.rpartition("/")[2].rpartition(".")[2].lower()) or not text.isdecimal():
        return None
    return int(text) or None


class LiveCard:
    """Draws a run, at most twice a second and only when something has changed, from a thread that ends with the run.

    Args:
        run: The run, just started.
        publish: Shows a bundle.
        with_button: Offer to stop the cell.
    """

    def __init__(self, run: ActiveRun, publish: Publish, *, with_button: bool) -> None:
        self.run = run
        self._publish = publish
        self._with_button = with_button
        self._card, self._foot = uuid.uuid4().hex, uuid.uuid4().hex
        self._traces: dict[str, Trace] = {}
        self._over = threading.Event()
        self._shown: Bundle = {}
        self._thread: threading.Thread | None = None
        self._progress = Progress(run)
        run.on_point = self._on_point

    def _on_point(self, key: str, value: float, step: int) -> None:
        self._progress.add(key, step)
        trace = self._traces.get(key)
        if trace is None:
            trace = self._traces[key] = Trace()
        trace.add(value)

    def show(self) -> None:
        """Show it and begin to redraw it."""
        self._shown = self._bundle()
        self._send(self._shown, self._card, update=False)
        self._send(foot_bundle(self.run, with_button=self._with_button), self._foot, update=False)
        # Outputs belong to the cell whose request this context has.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._work,), name="mlops_nb-card", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._over.wait(PERIOD) and self.run.is_open:
            self._redraw()

    def _redraw(self) -> None:
        bundle = self._bundle()
        if bundle != self._shown:
            self._shown = bundle
            self._send(bundle, self._card)

    def _send(self, bundle: Bundle, identity: str, *, update: bool = True) -> None:
        try:
            self._publish(bundle, identity, update)
        except Exception:  # a display that fails must not be seen in the user's cell
            logger.debug("the card of run %s cannot be drawn", self.run.run_id, exc_info=True)

    def finish(self) -> None:
        """Draw it for the last time: how the run ended, and what of the notebook it needs."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(PERIOD)
        self.run.on_point = None
        self._redraw()
        self._send(foot_bundle(self.run, with_button=False), self._foot)

    def _bundle(self) -> Bundle:
        courses = {key: list(trace.values) for key, trace in list(self._traces.items())}
        return card_bundle(self.run, courses, self._progress.remaining_ms())


def card_bundle(run: ActiveRun, courses: dict[str, list[float]], remaining_ms: float | None = None) -> Bundle:
    """Return the upper part of the card: name, state, time, metrics with their courses, params, why it failed."""
    colour = cards.colour_of(run.status)
    elapsed = format_duration(run.elapsed_ms)
    if remaining_ms is not None:
        elapsed += f" · about {format_duration(remaining_ms)} left"
    state = run.status.value if run.status.value == "FAILED" else run.status.value.lower()
    latest = {key: last for key, last in list(run.latest.items()) if not key.startswith(SYSTEM_METRICS)}
    keys = main_metrics(list(latest), MAX_METRICS)
    tiles = "".join(_tile(key, latest[key][0], courses.get(key, [])) for key in keys)
    more = f'<span style="opacity:.7">and {len(latest) - len(keys)} more</span>' if len(latest) > len(keys) else ""
    params = list(run.params.items())
    shown = " · ".join(f"{escape(key[:40])} <b>{escape(value[:30])}</b>" for key, value in params[:_MAX_PARAMS])
    shown += f" · and {len(params) - _MAX_PARAMS} more" if len(params) > _MAX_PARAMS else ""
    reason = f'<div style="color:{colour}">{escape(run.reason[:300])}</div>' if run.reason else ""
    html = (
        f'<div class="mlops-nb-live" style="border-left:3px solid {colour};padding:2px 10px;line-height:1.6">'
        f'<div><span style="color:{colour}" aria-hidden="true">{cards.GLYPHS[run.status]}</span> <b>{escape(run.name)}</b> '
        f'<span style="color:{colour}">{state}</span> <span style="opacity:.8">· {elapsed} · {escape(run.experiment[:60])} / '
        f"{run.run_id[:8]}</span></div>{reason}"
        + (f'<div style="display:flex;flex-wrap:wrap;gap:2px 22px;align-items:center">{tiles}{more}</div>' if tiles else "")
        + (f'<div style="opacity:.8">{shown}</div>' if shown else "")
        + "</div>"
    )
    facts = [state, elapsed, *(f"{key} {format_number(latest[key][0])}" for key in keys)]
    text = one_line(f"{cards.GLYPHS[run.status]} {run.name} " + " · ".join(facts))
    return {"text/plain": f"{text}\n  {one_line(run.reason)}" if run.reason else text, "text/html": html}


def _tile(key: str, value: float, course: list[float]) -> str:
    name = key if len(key) <= 32 else f"…{key[-31:]}"
    return (
        f'<span style="display:inline-flex;align-items:center;gap:6px;white-space:nowrap"><span style="opacity:.8">{escape(name)}</span>'
        f'<b style="font-variant-numeric:tabular-nums">{format_number(value)}</b>{cards.sparkline(key, course, most=_PLOTTED)}</span>'
    )


def foot_bundle(run: ActiveRun, *, with_button: bool) -> Bundle:
    """Return the lower part of the card: while the cell runs the button, then what of the notebook the run needs."""
    colour = cards.colour_of(run.status)
    numbers = [str(cell.execution_count) for cell in run.cells if cell.execution_count is not None]
    cells = f"cells {', '.join(numbers[-20:])}" if len(numbers) > 1 else f"cell {numbers[0]}" if numbers else ""
    # Whether a run that failed would give its result again is no question.
    grade = _GRADES.get(run.tags.get(TAG_HYGIENE, ""), "") if run.status is RunStatus.FINISHED or run.is_open else ""
    facts = [grade, cells]
    text = " · ".join(fact for fact in facts if fact)
    button = _BUTTON if with_button and run.is_open else ""
    html = (
        f'<div class="mlops-nb-live" style="border-left:3px solid {colour};padding:0 10px 2px;line-height:1.6;min-height:1.6em">'
        f'{button}<span style="opacity:.8">{escape(text)}</span></div>'
    )
    return {"text/plain": f"  {text}" if text else "", "text/html": html}


_GRADES = {
    "linear": "✓ linear: runs top to bottom",
    "reordered": "⚠ reordered: cells ran in another order than the notebook's",
    "unsaved": "⚠ unsaved: a cell that it needs is no longer in the notebook",
}
# Shown by a rule that only JupyterLab's and Notebook's pages match: elsewhere nothing would listen to it.
_BUTTON = (
    "<style>.jp-OutputArea-output .mlops-nb-stop{display:inline-block!important}</style>"
    '<button type="button" class="mlops-nb-stop" title="Interrupt the kernel: the run ends as killed" '
    'data-commandlinker-command="notebook:interrupt-kernel" data-commandlinker-args="{}" '
    'style="display:none;cursor:pointer;margin:2px 10px 2px 0;padding:1px 12px;border-radius:3px;font:inherit;'
    "color:var(--jp-error-color1,#c62828);background:transparent;border:1px solid var(--jp-error-color1,#c62828)"
    '">■ Stop</button>'
)


def is_live(shell: Any) -> bool:
    """Return whether somebody looks at the outputs of this kernel while a cell runs."""
    return hasattr(shell, "kernel") and ("JPY_SESSION_NAME" in os.environ or _NEVER_IN_JUPYTERLAB in shell.user_ns)


def live_card(run: ActiveRun, shell: Any) -> LiveCard | None:
    """Show a live card of a run under the running cell; None where nobody looks."""
    if not is_live(shell):
        return None

    def publish(bundle: Bundle, identity: str, update: bool) -> None:
        shell.display_pub.publish(data=bundle, metadata={}, transient={"display_id": identity}, update=update)

    card = LiveCard(run, publish, with_button=_NEVER_IN_JUPYTERLAB not in shell.user_ns)
    card.show()
    return card
