"""`mlops-nb report`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Report a run, or compare several.")
@click.argument("runs", nargs=-1, metavar="RUN...")
@click.option("--markdown", "-m", type=click.Path(dir_okay=False, path_type=Path), help="Write Markdown here.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one HTML file here.")
@click.option("--title", help="Instead of a title made from the runs.")
def report(runs: tuple[str, ...], markdown: Path | None, html: Path | None, title: str | None) -> None:
    """Report one run, or compare the first (the base) with the others.

    Without a file to write, the Markdown goes to report.md.
    """
    from mlops_nb import fluent
    from mlops_nb.comparing.comparison import compare_runs
    from mlops_nb.reports.content import build_report
    from mlops_nb.reports.writing import write_report
    from mlops_nb.tracking import session

    found = [fluent.get_run(run) for run in runs or ("@last",)]
    if markdown is None and html is None:
        markdown = Path("report.md")
    store = session.current.store()
    compared = compare_runs(store, found) if len(found) > 1 else None
    runs_shown = found if compared is None else compared.runs
    data = build_report(store, runs_shown, title=title, comparison=None if compared is None else compared.result)
    written = write_report(data, markdown=markdown, html=html)
    click.echo(data.comparison.verdict if len(found) > 1 else f"Report of {found[0].name}.")
    for path in written:
        if path.suffix in (".md", ".html"):
            click.echo(f"wrote {path}")
