"""`mlops-nb runner run|jobs|attach|cancel`: notebooks on runners."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from mlops_nb.cli.output import json_option, say

if TYPE_CHECKING:
    from mlops_nb.runners.jobs.handle import RemoteJob

CODES = "Exit status: 0 it came to its end, 1 it did not, 2 wrong usage."
_MANY: dict[str, Any] = {"multiple": True}


@click.command(epilog=CODES)
@click.argument("notebook", type=click.Path())
@click.option("-p", "--param", "params", **_MANY, metavar="KEY=VALUE", help="A parameter; VALUE is JSON, or else a text.")
@click.option("--on", metavar="PLACE", help="A runner's name, aws, gcp, azure, k8s, ssh:HOST or local; `here` by default.")
@click.option("--cells", metavar="A..B", help="Only these code cells, from 1.")
@click.option("--name", metavar="NAME", help="Of the job and its run.")
@click.option("-e", "--experiment", metavar="NAME", help="Of its run.")
@click.option("--env", type=click.Choice(["auto", "own", "lock"]), default="auto", show_default=True, help="Which Python executes it.")
@click.option("--include", **_MANY, metavar="PATH", help="More files or folders that travel, such as data.")
@click.option("--gpu", default="", metavar="GPU", help="T4, L4, A100:2 …")
@click.option("--type", "types", **_MANY, metavar="TYPE", help="s, m, l, xl or the cloud's own.")
@click.option("--cpu", type=float, metavar="N", help="At least so many CPUs.")
@click.option("--mem", type=float, metavar="GB", help="At least so much memory.")
@click.option("--disk", type=int, metavar="GB", help="Of the disk.")
@click.option("--region", default="", metavar="REGION", help="us-west, us-east, eu-west, eu-north, or the cloud's own.")
@click.option("--zones", **_MANY, metavar="A,B", help="In this order, where one has nothing left.")
@click.option("--spot", is_flag=True, help="Cheaper, and may be taken back; the job then goes on elsewhere, once.")
@click.option("--idle", metavar="TIME", help="The machine ends after this time without work; 5m by default.")
@click.option("--max-hours", type=float, metavar="H", help="It ends then, whatever it does; 4 by default.")
@click.option("--max-cost", type=float, metavar="USD", help="It ends when it has cost this by the list price.")
@click.option("--image", default="", metavar="IMAGE", help="Instead of a current Ubuntu, or our container.")
@click.option("--detach", is_flag=True, help="Do not wait: `runner attach` follows it later.")
@click.option("--dry-run", is_flag=True, help="Only say what travels and what does not.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before a machine is rented.")
@json_option
def run(
    notebook: str,
    params: tuple[str, ...],
    on: str | None,
    cells: str | None,
    name: str | None,
    experiment: str | None,
    env: str,
    include: tuple[str, ...],
    detach: bool,
    dry_run: bool,
    yes: bool,
    json_flag: bool,
    **machine: Any,
) -> None:
    """Execute NOTEBOOK on a runner, with all that it needs, and bring it back executed."""
    from mlops_nb.fluent import runner_jobs
    from mlops_nb.magics.runner_jobs import cells_of, request_for

    given = dict(_parameter(word) for word in params)
    work = runner_jobs.prepare(notebook, params=given, include=include)
    if dry_run:
        return say(work.found, str(work.found), as_json=json_flag)
    for finding in work.found.warnings:
        click.echo(str(finding), err=True)
    lists = {key: list(machine[key]) for key in ("types", "zones")}
    arguments = SimpleNamespace(on=on, **{**machine, **lists})
    request = request_for(arguments, say=_tell, ask=None if yes else _ask)
    with _in_command_words(), _ended_as_by_ctrl_c():
        job = runner_jobs.run(
            work,
            on=on,
            request=request,
            params=given,
            cells=cells_of(cells),
            name=name,
            env=env,
            experiment=experiment,
            detach=detach,
            told=_Progress(),
            tell=_tell,
        )
    say(job.job, job.status_line() if detach else None, as_json=json_flag)


@click.command("jobs")
@click.option("--all", "-a", "everything", is_flag=True, help="Those that are over, too.")
@json_option
def jobs(everything: bool, json_flag: bool) -> None:
    """List the jobs that are not over."""
    from mlops_nb.fluent import runner_jobs
    from mlops_nb.magics.runner_jobs import jobs_text

    found = runner_jobs.jobs(everything=everything)
    say(found, jobs_text(found).replace("%runner", "mlops-nb runner"), as_json=json_flag)


@click.command("attach", epilog=CODES)
@click.argument("job")
@json_option
def attach(job: str, json_flag: bool) -> None:
    """Follow JOB until it is over, and bring back its notebook."""
    from mlops_nb.fluent import runner_jobs

    found = runner_jobs.job(job)
    found.wait(told=_Progress(), check=False)
    if found.job.kind == "notebook" and found.outputs():
        _tell(f"The executed notebook: {found.fetch_notebook()}")
    found.wait()
    say(found.job, None, as_json=json_flag)


@click.command("cancel")
@click.argument("job")
@json_option
def cancel(job: str, json_flag: bool) -> None:
    """End JOB: at once if it waits, by its machine if it runs."""
    from mlops_nb.fluent import runner_jobs

    found = runner_jobs.cancel(job)
    say(found.job, f"■ {found.name} is {'cancelled' if found.state.is_over else 'being ended'}.", as_json=json_flag)


@contextlib.contextmanager
def _in_command_words() -> Iterator[None]:
    """Say in a terminal's words what an error tells to do next."""
    from mlops_nb.errors import MlopsError

    try:
        yield
    except MlopsError as error:
        hint = (error.hint or "").replace("%runner launch", "mlops-nb runner launch --for notebooks")
        error.hint = hint.replace("%runner", "mlops-nb runner") or None
        raise


@contextlib.contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl+C does: a job that runs here is cancelled, and its record says so."""
    import signal

    def stop(signum: int, _: object) -> None:
        raise KeyboardInterrupt

    words = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {signum: signal.signal(signum, stop) for signum in words if signal.getsignal(signum) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


class _Progress:
    """Writes a line on stderr for each cell; one that moves on a terminal."""

    def __init__(self) -> None:
        import sys

        self._moves = sys.stderr.isatty()
        self._said: object = None

    def __call__(self, job: RemoteJob) -> None:
        text = job.status_line()
        if self._moves:
            click.echo(f"\r\x1b[K{text[:200]}", err=True, nl=job.state.is_over)
        elif (job.state, job.job.cell) != self._said:
            self._said = (job.state, job.job.cell)
            click.echo(text, err=True)


def _parameter(word: str) -> tuple[str, Any]:
    import json

    key, equals, value = word.partition("=")
    if not equals or not key:
        raise click.BadParameter(f"'{word}' is no parameter; write -p KEY=VALUE.", param_hint="-p")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _ask(question: str) -> bool:
    from mlops_nb.errors import InvalidInput

    try:
        return click.confirm(question.removesuffix("[y/N] ").strip(), default=False, err=True)
    except click.Abort:
        raise InvalidInput("Nobody can answer here.", hint="Add --yes, and --max-cost.") from None
