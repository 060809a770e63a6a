"""`mlops-nb plot`."""

from __future__ import annotations

from pathlib import Path

import click

KINDS = ("curves", "parallel", "scatter", "importance", "confusion", "roc")


@click.command(short_help="Draw runs into a picture or a page.")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("runs", nargs=-1, metavar="[RUN... | QUERY]")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help=".svg, .html or .json (Plotly).")
@click.option("-m", "--metric", default="", metavar="METRIC,...", help="The metrics; for other kinds than curves the first counts.")
@click.option("--axis", type=click.Choice(["step", "time", "relative"]), default="step", show_default=True, help="The x-axis of curves.")
@click.option("--smoothing", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Of curves.")
@click.option("--log", is_flag=True, help="A logarithmic y-axis.")
@click.option("--by", metavar="seed|KEY", help="Curves of groups: their mean, with its interval.")
def plot(kind: str, runs: tuple[str, ...], output: Path, metric: str, axis: str, smoothing: float, log: bool, by: str | None) -> None:
    """Draw curves, parallel coordinates, a scatter, the importance of params, a confusion matrix or ROC curves.

    Without runs, of all runs here.
    """
    from mlops_nb.core import filters
    from mlops_nb.widgets.figures.kinds import plot as draw

    text = " ".join(runs)
    which = None if not runs else text if filters.looks_like_filter(text) or len(runs) == 1 else list(runs)
    keys = [key.strip() for key in metric.split(",") if key.strip()]
    figure = draw(kind, which, keys or None, axis=axis, smoothing=smoothing, log=log, group=by)  # type: ignore[arg-type]
    click.echo("\n".join(figure.summary))
    click.echo(f"wrote {figure.save(output)}")
