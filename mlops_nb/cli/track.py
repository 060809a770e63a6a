"""`mlops-nb track ...`, `sync` and `doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
def list_runs(query: tuple[str, ...], sort: str | None, number: int, experiment: str | None, as_json: bool) -> None:
    """List runs, the newest first: mlops-nb track ls "metrics.auc > 0.9"."""
    from mlops_nb import fluent
    from mlops_nb.core.filters import order_clause
    from mlops_nb.magics import cards

    order = [order_clause(sort)] if sort else []
    runs = fluent.search_runs(" ".join(query), order_by=order, max_results=number, experiment=experiment)
    click.echo(_json(runs) if as_json else cards.runs_bundle(runs, columns=terminal_columns())["text/plain"])


@track.command("show")
@click.argument("run", default="@last")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
def show_run(run: str, as_json: bool) -> None:
    """Show one run: @last, @best:METRIC, a name or the beginning of an id."""
    from mlops_nb import fluent
    from mlops_nb.magics import cards

    found = fluent.get_run(run)
    click.echo(_json(found) if as_json else cards.run_bundle(found)["text/plain"])


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
    from mlops_nb.core.records import TAG_NOTE

    fluent.tag_run(run, {TAG_NOTE: text})


@track.command("delete")
@click.argument("run")
def delete_run(run: str) -> None:
    """Delete a run; `restore` brings it back."""
    from mlops_nb import fluent

    fluent.delete_run(run)


@track.command("restore")
@click.argument("run")
def restore_run(run: str) -> None:
    """Bring a deleted run back."""
    from mlops_nb import fluent

    fluent.restore_run(run)


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


def _json(runs: Sequence[Run] | Run) -> str:
    import msgspec

    from mlops_nb.core.wire import run_to_json

    value = [run_to_json(run) for run in runs] if isinstance(runs, Sequence) else run_to_json(runs)
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
