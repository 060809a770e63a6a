"""TensorBoard's logs as something to look at: runs of ours, and a page or picture of their curves with an address."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from mlops_nb.core.records import Record, Run
from mlops_nb.forges.base import AssetFile
from mlops_nb.reports.content import build_report
from mlops_nb.reports.figures import draw_figures
from mlops_nb.reports.outline import outline
from mlops_nb.reports.page import to_html
from mlops_nb.store.base import ServedStore
from mlops_nb.transfer.importers.tensorboard import TensorBoardLogs
from mlops_nb.transfer.imports import bring_in

MAX_NAME, MAX_DESCRIPTION = 100, 600
_RUNS, _FIGURES = 20, 24
_NOTE = "mlflow.note.content"


class Imported(Record, frozen=True, kw_only=True):
    """What came in: the experiment, its runs, and what happened in words."""

    experiment: str
    runs: tuple[Run, ...]
    words: str


def import_logs(store: ServedStore, logdir: Path, *, name: str = "", description: str = "") -> Imported:
    """Bring the event files below a folder into a store; again, it brings only what is new.

    Args:
        store: Where to.
        logdir: The folder.
        name: The experiment; the folder's name by default.
        description: Becomes the experiment's note.
    """
    source = TensorBoardLogs(str(logdir), experiment=name[:MAX_NAME] or None)
    done = bring_in(source, store)
    ids = [found.run.run_id for experiment in source.experiments() for found in source.runs(experiment.experiment_id)]
    experiment = next(iter(source.experiments())).name
    if description:
        kept = store.get_experiment_by_name(experiment)
        if kept is not None:
            store.set_experiment_tag(kept.experiment_id, _NOTE, description[:MAX_DESCRIPTION])
    return Imported(experiment=experiment, runs=tuple(store.get_run(run_id) for run_id in ids), words=done.told())


def page(store: ServedStore, runs: Sequence[Run], title: str) -> AssetFile:
    """Return an HTML page with the runs' curves that needs nothing else."""
    report = build_report(store, runs[:_RUNS], title=title)
    return AssetFile(name="tensorboard.html", content=to_html(outline(report, draw_figures(report))).encode(), mime="text/html")


def picture(store: ServedStore, runs: Sequence[Run], title: str) -> AssetFile:
    """Return the runs' curves as one PNG, for places that take images only."""
    from PIL import Image

    report = build_report(store, runs[:_RUNS], title=title)
    drawn = [Image.open(io.BytesIO(figure.light)) for figure in draw_figures(report, dark=False)[:_FIGURES]]
    sheet = Image.new("RGB", (max([one.width for one in drawn], default=600), sum(one.height for one in drawn) or 60), "white")
    top = 0
    for one in drawn:
        sheet.paste(one.convert("RGB"), (0, top))
        top += one.height
    content = io.BytesIO()
    sheet.save(content, "PNG", optimize=True)
    return AssetFile(name="tensorboard.png", content=content.getvalue(), mime="image/png")
