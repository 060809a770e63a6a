"""`mlops-nb compare`."""

from __future__ import annotations

from pathlib import Path

import click

_WHAT = ("all", "metrics", "params", "code", "cells", "outputs", "data", "env", "system")


@click.command(short_help="Compare runs: better, worse or noise, and why.", context_settings={"ignore_unknown_options": False})
@click.argument("runs", nargs=-1, metavar="[RUN... | last N | QUERY]")
@click.option("--base", metavar="RUN", help="Compare with this run instead of the first.")
@click.option("--what", type=click.Choice(_WHAT), default="all", show_default=True, help="What to show.")
@click.option("--metric", default="", metavar="[-]METRIC,...", help="Only these, the first decides; '-' means lower is better.")
@click.option("--by", metavar="seed|KEY", help="Groups: runs that differ in the seed only, or have the same KEY.")
@click.option(
    "--sig",
    type=click.Choice(["auto", "bootstrap", "mcnemar", "seeds", "off"]),
    default="auto",
    show_default=True,
    help="How differences are tested for noise.",
)
@click.option("--alpha", type=float, default=0.05, show_default=True, help="The error that is allowed over all tests.")
@click.option("--only-changed", is_flag=True, help="Leave out what did not change.")
@click.option("--export", type=click.Path(dir_okay=False, path_type=Path), multiple=True, help="Write .md, .html or .csv; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
def compare(
    runs: tuple[str, ...],
    base: str | None,
    what: str,
    metric: str,
    by: str | None,
    sig: str,
    alpha: float,
    only_changed: bool,
    export: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Compare runs with the first: what got better or worse, whether that is more than noise, and what explains it.

    Without runs, the last two. The exit status is 0 whatever the verdict.
    """
    from mlops_nb import fluent

    found = fluent.compare(*runs, base=base, what=what, metrics=metric, by=by, sig=sig, alpha=alpha, only_changed=only_changed)
    if as_json:
        import msgspec

        causes = found.causes if what == "all" else []
        value = {"comparison": found.result, "causes": causes}
        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
    else:
        click.echo(str(found))
    for path in export:
        found.export(path)
        click.echo(f"wrote {path}", err=as_json)
