"""`%runner run|jobs|attach|cancel` and `%%runner`: thin; each parses its words, makes one call and shows what came."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from IPython.display import display as _display

from mlops_nb.core.formatting import fitted, format_duration, one_line, padded, width
from mlops_nb.core.runner_jobs import Job
from mlops_nb.core.runners import AgentWish, RunnerRequest
from mlops_nb.errors import InvalidInput
from mlops_nb.fluent import runner_jobs
from mlops_nb.magics.arguments import split_assignment, split_words, unquoted
from mlops_nb.magics.live import is_live
from mlops_nb.magics.runner_job_parsers import EXPRESSIONS, parser_of
from mlops_nb.magics.runner_parsers import machine_wish
from mlops_nb.runners.jobs.handle import RemoteJob

_WIDEST = 60


class RunnerJobs:
    """The part of the magic that executes notebooks and cells.

    Attributes:
        say: Prints a line.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.say: Callable[[str], None] = print

    def line(self, verb: str, words: Sequence[str]) -> Any:
        """Do what the words after a verb say."""
        parser = parser_of(verb)
        if "--help" in words:
            return self.say(parser.help_text())
        return getattr(self, f"_{verb}")(parser.parse_args(list(words)))

    def cell(self, line: str, cell: str) -> RemoteJob | None:
        """Execute a cell elsewhere, and give its names to the notebook."""
        parser = parser_of("cell")
        words = split_words(line, EXPRESSIONS)
        if "--help" in words:
            self.say(parser.help_text())
            return None
        arguments = parser.parse_args([unquoted(word) for word in words])
        arguments.on = arguments.on or arguments.place
        returns = _names(arguments.returns)
        variables = self.shell.user_ns
        work = runner_jobs.prepare_cell(cell, variables, _names(arguments.sends), returns, include=arguments.include)
        job = self._execute(work, arguments, returns=returns, variables=variables)
        self._show_outputs(job)
        if returns:
            variables.update(job.values())
        return None

    def _run(self, arguments: Any) -> RemoteJob | None:
        params = dict(self._param(word) for word in arguments.params)
        notebook = unquoted(arguments.notebook) if arguments.notebook else None
        work = runner_jobs.prepare(notebook, params=params, include=[unquoted(path) for path in arguments.include])
        if arguments.dry:
            self.say(str(work.found))
            return None
        for finding in work.found.warnings:
            self.say(str(finding))
        return self._execute(
            work,
            arguments,
            params=params,
            cells=cells_of(arguments.cells),
            name=arguments.name,
            experiment=arguments.experiment,
            detach=arguments.detach,
        )

    def _execute(self, work: runner_jobs.Submitted, arguments: Any, **options: Any) -> RemoteJob:
        line = _Line(self.shell)
        request = self._request(arguments)
        on = unquoted(arguments.on) if arguments.on else None
        job = runner_jobs.run(work, on=on, request=request, env=arguments.env, told=line.told, tell=self.say, **options)
        line.over()
        return job

    def _request(self, arguments: Any) -> RunnerRequest | None:
        """Return what to launch for it, if a new machine is wanted; its price is said, and asked for."""
        return request_for(arguments, say=self.say, ask=None if arguments.yes else self._is_yes)

    def _is_yes(self, question: str) -> bool:
        try:
            return input(question).strip().lower() in ("y", "yes")
        except (EOFError, NotImplementedError):
            raise InvalidInput("%runner run: nobody can answer here.", hint="Add --yes, and --max-cost.") from None

    def _param(self, word: str) -> tuple[str, Any]:
        found = split_assignment(word)
        if found is None:
            raise InvalidInput(f"%runner run: -p {word} is no parameter.", hint="Write -p KEY=EXPR")
        try:
            value = self.shell.ev(found[1])
        except Exception as error:  # the expression is the user's; whatever it raises is the answer
            raise InvalidInput(f"%runner run: -p {word} cannot be evaluated: {type(error).__name__}: {error}") from error
        return found[0], value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value

    def _jobs(self, arguments: Any) -> JobList:
        return JobList(runner_jobs.jobs(everything=arguments.everything))

    def _attach(self, arguments: Any) -> RemoteJob:
        job = runner_jobs.job(unquoted(arguments.name))
        line = _Line(self.shell)
        job.wait(told=line.told)
        line.over()
        if job.job.kind == "notebook":
            self.say(f"The executed notebook: {job.fetch_notebook()}")
        return job

    def _cancel(self, arguments: Any) -> RemoteJob:
        return runner_jobs.cancel(unquoted(arguments.name))

    def _show_outputs(self, job: RemoteJob) -> None:
        """Show what the cell has shown there."""
        for output in job.outputs():
            if output.output_type == "stream":
                (sys.stderr if output.name == "stderr" else sys.stdout).write(output.text)
            elif output.output_type in ("display_data", "execute_result"):
                _display(dict(output.data), metadata=dict(output.get("metadata", {})), raw=True)  # type: ignore[no-untyped-call]


def request_for(arguments: Any, *, say: Callable[[str], None], ask: Callable[[str], bool] | None) -> RunnerRequest | None:
    """Return what to launch for a job, or None where it goes to a runner that is there.

    Args:
        arguments: With the options of machines.
        say: Is told the price and the limits.
        ask: Asked before a machine that costs money is rented; None: nobody is asked.

    Raises:
        InvalidInput: If the answer is no, or the options do not go together.
    """
    from mlops_nb.fluent import runners
    from mlops_nb.runners.requests import request_of

    on = unquoted(arguments.on) if arguments.on else ""
    wants_machine = any((arguments.gpu, arguments.types, arguments.spot, arguments.cpu, arguments.mem, arguments.disk, arguments.image))
    if not runner_jobs.is_cloud(on):
        if wants_machine:
            raise InvalidInput("A machine is described, and not where it shall be.", hint="Add --on aws, gcp, azure, k8s or ssh:HOST.")
        return None
    request = request_of(
        on=on,
        agent=AgentWish(kind="notebook", single=True),
        **machine_wish(arguments),
    )
    plan = runners.plan(request)
    if plan.offer.hourly != 0:
        cost = f", at most ${plan.most:.2f}" if plan.most is not None else ""
        say(f"{plan.offer} · ends after {format_duration(plan.seconds * 1000)} at the latest{cost}")
        if ask is not None and not ask("start? [y/N] "):
            raise InvalidInput("Nothing was rented.", hint="--yes does not ask.")
    return request


def cells_of(text: str | None) -> tuple[int, int] | None:
    """Return the range of `A..B`, or of one number.

    Raises:
        InvalidInput: If it is none.
    """
    if not text:
        return None
    first, dots, last = text.partition("..")
    if not first.strip().isdecimal() or (dots and not last.strip().isdecimal()):
        raise InvalidInput(f"'{text[:40]}' is no range of cells.", hint="Write --cells 3..7, or --cells 3")
    return int(first), int(last if dots else first)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


class _Line:
    """One line under the cell that says how far a job is."""

    def __init__(self, shell: Any) -> None:
        self._handle: Any = None
        self._is_live = is_live(shell)
        self._said = ""
        self._at = 0.0

    def told(self, job: RemoteJob) -> None:
        """Show how it is; where nobody looks only each new cell is a line."""
        text = job.status_line()
        if not self._is_live:
            key = f"{job.state} {job.job.cell}"
            if key != self._said and time.monotonic() - self._at > 1:
                self._said, self._at = key, time.monotonic()
                sys.stdout.write(f"{text}\n")
            return
        bundle = {"text/plain": text, "text/html": f"<code>{escape(text)}</code>"}
        if self._handle is None:
            self._handle = _display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        elif text != self._said:
            self._handle.update(bundle, raw=True)
        self._said = text

    def over(self) -> None:
        """Take the line away: the job that the cell returns says the same."""
        if self._handle is not None:
            self._handle.update({"text/plain": "", "text/html": ""}, raw=True)
        self._handle = None


class JobList(list[Job]):
    """Jobs, shown as a table."""

    def __repr__(self) -> str:
        return jobs_text(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        head = "".join(f"<th>{name}</th>" for name in _HEADER)
        rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _row(job)) + "</tr>" for job in self)
        html = f"<table><tr>{head}</tr>{rows}</table>" if self else f"<div>{escape(jobs_text(self))}</div>"
        return {"text/plain": jobs_text(self), "text/html": html}


_HEADER = ("job", "state", "cell", "attempt", "took", "id", "reason")


def _row(job: Job) -> list[str]:
    took = format_duration(1000 * ((job.ended or time.time()) - job.started)) if job.started else "–"
    cell = f"{job.cell}/{job.cells_total}" if job.cell else "–"
    return [one_line(job.name), job.state.value, cell, str(job.attempts), took, job.id[:8], one_line(job.reason)]


def jobs_text(jobs: Sequence[Job]) -> str:
    """Return jobs as a table for a terminal."""
    if not jobs:
        return "No jobs. Execute a notebook: %runner run train.ipynb"
    rows = [list(_HEADER), *([fitted(cell, _WIDEST) for cell in _row(job)] for job in jobs)]
    widths = [max(width(row[i]) for row in rows) for i in range(len(_HEADER))]
    return "\n".join("  ".join(padded(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows)
