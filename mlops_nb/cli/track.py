"""`mlops-nb track ...`, `sync` and `doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mlops_nb.cli.output import terminal_columns

if TYPE_CHECKING:
    from mlops_nb.core.records import Run


@click.group()
def track() -> None:
    """List, show and change runs."""


@track.command("ls")
@click.argument("query", nargs=-1)
@click.option("-s", "--sort", metavar="[-]METRIC", help="Order by a metric; '-' means the highest first.")
@click.option("-n", "--number", default=20, show_default=True, help="At most this many.")
@click.option("-e", "--experiment", help="Only runs of this experiment.")
@click.option("--archived", is_flag=True, help="Archived runs too.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
def list_runs(query: tuple[str, ...], sort: str | None, number: int, experiment: str | None, archived: bool, as_json: bool) -> None:
    """List runs, the newest first: mlops-nb track ls "metrics.auc > 0.9"."""
    from mlops_nb import fluent
    from mlops_nb.core.filters import order_clause
    from mlops_nb.magics import cards

    order = [order_clause(sort)] if sort else []
    runs = fluent.search_runs(" ".join(query), order_by=order, max_results=number, experiment=experiment, archived=archived)
    click.echo(_json(runs) if as_json else cards.runs_bundle(runs, columns=terminal_columns())["text/plain"])


@track.command("show")
@click.argument("run", default="@last")
@click.option("--tab", help="Only this of it: metrics, params, cells, data, files, env, system or model.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
def show_run(run: str, tab: str | None, as_json: bool) -> None:
    """Show one run: @last, @best:METRIC, @main, a name or the beginning of an id."""
    from mlops_nb import fluent
    from mlops_nb.magics import cards

    found = fluent.get_run(run)
    if tab is not None:
        from mlops_nb.magics.tabs import tab_named
        from mlops_nb.tracking import session

        click.echo(str(tab_named(session.current.store(), found, tab)))
        return
    click.echo(_json(found) if as_json else cards.run_bundle(found)["text/plain"])


@track.command("compare")
@click.argument("base")
@click.argument("other", default="@last")
@click.option("--what", type=click.Choice(["data"]), default="data", show_default=True, help="What of the runs to compare.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
def compare_runs(base: str, other: str, what: str, as_json: bool) -> None:
    """Compare a run with a base: which data sets differ, in which columns, in how many rows."""
    from mlops_nb import fluent
    from mlops_nb.comparing.data import compare_run_data
    from mlops_nb.tracking import session

    runs = [fluent.get_run(run) for run in (base, other)]
    found = compare_run_data(session.current.store(), *runs)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        click.echo(str(found))


@track.command("tag")
@click.argument("run")
@click.argument("tags", nargs=-1, required=True, metavar="TAG[=VALUE]...")
def tag_run(run: str, tags: tuple[str, ...]) -> None:
    """Set tags of a run."""
    from mlops_nb import fluent

    fluent.tag_run(run, {key: value or "true" for key, _, value in (tag.partition("=") for tag in tags)})


@track.command("note")
@click.argument("run")
@click.argument("text")
def note_run(run: str, text: str) -> None:
    """Set the note of a run."""
    from mlops_nb import fluent

    fluent.note_run(run, text)


@track.command("archive")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--undo", is_flag=True, help="Put them back.")
def archive_runs(runs: tuple[str, ...], undo: bool) -> None:
    """Take runs out of the lists; they stay whole, and `ls --archived` shows them."""
    from mlops_nb import fluent

    for run in [fluent.get_run(word) for word in runs]:
        fluent.archive_run(run, undo=undo)


@track.command("delete")
@click.argument("run")
def delete_run(run: str) -> None:
    """Delete a run; `restore-run` brings it back."""
    from mlops_nb import fluent

    fluent.delete_run(run)


@track.command("restore-run")
@click.argument("run")
def restore_run(run: str) -> None:
    """Bring a deleted run back, named by the beginning of its id."""
    from mlops_nb import fluent

    fluent.restore_run(run)


@track.command("check")
@click.argument("subject", metavar="NOTEBOOK|RUN")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
def check_notebook(subject: str, as_json: bool) -> None:
    """Would a notebook, or what a run needs of it, give the same from top to bottom? The exit status is 1 where not."""
    from mlops_nb import fluent

    is_notebook = subject.endswith(".ipynb")
    result = fluent.check_notebook(path=subject) if is_notebook else fluent.check_notebook(subject)
    _say(result, as_json)
    if not result.ok:
        raise click.exceptions.Exit(1)


@track.command("reproduce")
@click.argument("run")
@click.option("--tol", "tolerances", multiple=True, metavar="METRIC=NUMBER", help="How far it may be off, relative; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
def reproduce_run(run: str, tolerances: tuple[str, ...], as_json: bool) -> None:
    """Run the cells that explain a run again, in a fresh kernel; the exit status is 1 where the metrics do not agree."""
    from mlops_nb import fluent

    pairs = [tolerance.rpartition("=") for tolerance in tolerances]
    try:
        wanted = {key: float(number) for key, _, number in pairs}
    except ValueError:
        raise click.BadParameter("Give METRIC=NUMBER, such as val_auc=1e-3.", param_hint="--tol") from None
    result = fluent.reproduce(run, wanted or None)
    _say(result, as_json)
    if not result.verified:
        raise click.exceptions.Exit(1)


@track.command("restore")
@click.argument("run")
@click.option("-o", "--output", "path", type=click.Path(dir_okay=False), help="The new notebook; named after the run by default.")
def restore_notebook(run: str, path: str | None) -> None:
    """Write the cells of a run as a new notebook; no file that is there is changed."""
    from mlops_nb import fluent

    click.echo(f"wrote {fluent.restore_notebook(run, path)}")


@track.command("share")
@click.argument("run", default="@last")
@click.option("--static", "path", type=click.Path(dir_okay=False), default="run.html", show_default=True, help="The file to write.")
def share_run(run: str, path: str) -> None:
    """Write a run as one HTML file to be passed on: charts, params, cells, environment; no server, no script."""
    from mlops_nb import fluent

    click.echo(f"wrote {fluent.share_run(run, path)}")


@track.command("privacy")
def show_privacy() -> None:
    """Show what is captured, where it goes, and how to take less."""
    from mlops_nb import fluent

    click.echo(str(fluent.privacy()))


@click.command(short_help="Deliver what is left in the journals.")
def sync() -> None:
    """Deliver what processes that are gone have left in the journals."""
    from mlops_nb.tracking.recovery import recover
    from mlops_nb.tracking.target import connect, resolve

    target = resolve()
    store = None if target.is_empty else connect(target)
    if store is None:
        click.echo("Nothing was waiting.")
        return
    runs = recover(target.journal_dir, store, target.store_uri)
    store.close()
    click.echo(f"{len(runs)} journals delivered." if runs else "Nothing was waiting.")


@click.command()
def doctor() -> None:
    """Check the installation and the store."""
    from mlops_nb.magics.doctor import report

    click.echo(report())


def _say(result: Any, as_json: bool) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(result), indent=2).decode() if as_json else str(result))


def _json(runs: Sequence[Run] | Run) -> str:
    import msgspec

    from mlops_nb.core.wire import run_to_json

    value = [run_to_json(run) for run in runs] if isinstance(runs, Sequence) else run_to_json(runs)
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
