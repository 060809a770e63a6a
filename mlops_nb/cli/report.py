"""`mlops-nb report`, and `mlops-nb report show`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mlops_nb.reports.pull_request.preview import Preview

_FORGES = ("github", "gitlab", "bitbucket")


class _ReportGroup(click.Group):
    """A group whose command `runs` need not be named: `mlops-nb report A B` reports runs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["runs", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_ReportGroup, short_help="Report runs; preview a pull request's report.", subcommand_metavar="[show|runs] [RUN...] [OPTIONS]"
)
def report() -> None:
    """Report a run, or compare several; preview the report of a pull request.

    \b
    mlops-nb report @last                        one run, to report.md
    mlops-nb report A B -m both.md --html both.html
    mlops-nb report show @last --vs @main        what a reviewer would see

    RUN: @last, @last~1, @best:auc, @main, tag:baseline, a name or the beginning of an id. A run that is called 'show': report runs show.
    """


@report.command()
@click.argument("runs", nargs=-1, metavar="RUN...")
@click.option("--markdown", "-m", type=click.Path(dir_okay=False, path_type=Path), help="Write Markdown here.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one HTML file here.")
@click.option("--title", help="Instead of a title made from the runs.")
def runs(runs: tuple[str, ...], markdown: Path | None, html: Path | None, title: str | None) -> None:
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


@report.command()
@click.argument("what", default="@last", metavar="[REPORT.json|RUN]")
@click.option("--vs", metavar="RUN", help="Compare with this run; by default with @main, if there is one.")
@click.option("--forge", type=click.Choice(_FORGES), default="github", show_default=True, help="Whose Markdown and limits.")
@click.option("--gates", type=click.Path(dir_okay=False, path_type=Path), help="Gates file; by default .mlops/gates.yml, if it is there.")
@click.option(
    "--dvc-metrics",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Of: dvc metrics diff --json or --md",
)
@click.option(
    "--dvc-plots",
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE|FOLDER",
    help="Of: dvc plots diff --json; or a folder of plots.",
)
@click.option("--links-to", multiple=True, metavar="HOST", help="Only links to this host are links; repeatable. For data of strangers.")
@click.option("--markdown", "-m", type=click.Path(dir_okay=False, path_type=Path), help="Write Markdown here; pictures into report_files/.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one HTML file here.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the data here; pictures into report_files/."
)
@click.option("--raw", is_flag=True, help="Show the Markdown as it is; also where the output goes into a file or pipe.")
def show(
    what: str,
    vs: str | None,
    forge: str,
    gates: Path | None,
    dvc_metrics: Path | None,
    dvc_plots: Path | None,
    links_to: tuple[str, ...],
    markdown: Path | None,
    html: Path | None,
    json_file: Path | None,
    raw: bool,
) -> None:
    """Preview the report of a pull request: from the data of `ci run --report`, or of a run. Nothing is posted."""
    preview = _preview(what, vs, forge, gates, dvc_metrics, dvc_plots, links_to)
    if markdown or html or json_file:
        for path in preview.write(markdown=markdown, html=html, json=json_file):
            if path.parent.name != "report_files":
                click.echo(f"wrote {path}")
    elif raw or not sys.stdout.isatty():
        click.echo(preview.to_markdown(), nl=False)
    else:
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(preview.for_terminal(), hyperlinks=False))
    click.echo(preview.length(), err=True)


def _preview(
    what: str,
    vs: str | None,
    forge: str,
    gates: Path | None,
    dvc_metrics: Path | None,
    dvc_plots: Path | None,
    links_to: tuple[str, ...],
) -> Preview:
    from mlops_nb import fluent
    from mlops_nb.errors import InvalidInput, NotFound
    from mlops_nb.reports.pull_request.preview import Preview

    if not what.endswith(".json"):
        return fluent.report(what, vs=vs, forge=forge, gates=gates, dvc_metrics=dvc_metrics, dvc_plots=dvc_plots)
    if vs or gates or dvc_metrics or dvc_plots:
        raise InvalidInput(
            f"{what} is a report already; it is shown as it is.", hint="Name a run to compare: mlops-nb report show @last --vs RUN"
        )
    if not Path(what).is_file():
        raise NotFound(f"There is no file {what}.", hint="Write one: mlops-nb ci run NOTEBOOK --report report.md")
    return Preview.open(what, forge=forge, hosts=links_to or None)
