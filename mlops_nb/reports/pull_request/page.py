"""A pull-request report as one page with all that is known: no script, nothing loaded from elsewhere, light and dark."""

from __future__ import annotations

import base64
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from mlops_nb.core.comparison import Verdict as MetricVerdict
from mlops_nb.reports.pull_request import wording
from mlops_nb.reports.pull_request.cell_changes import output_lines, picture_rows, source_lines
from mlops_nb.reports.pull_request.data import Cell, Image, Metric, Notebook, PullRequestReport
from mlops_nb.reports.pull_request.flavors import PAGE, lines, one_line
from mlops_nb.reports.pull_request.markdown import footer, title_parts, told_of_all
from mlops_nb.reports.pull_request.outline import above_the_fold, changed_line, image_rows, run_line, trust_line, warning_line

_SIGNS = {"good": "✓", "bad": "✗", "warning": "!", "open": "…", "neutral": "="}
_TONES = {MetricVerdict.BETTER: "good", MetricVerdict.WORSE: "bad", MetricVerdict.NOT_COMPARABLE: "bad"}
_MOST_CELLS = 500
_MAX_PICTURES = 24_000_000


def to_page(report: PullRequestReport, files: Mapping[str, bytes], *, hosts: Sequence[str] | None = None) -> str:
    """Return a report as a page with its pictures in it.

    Args:
        report: The data. Its texts come out as text.
        files: Content of its pictures by path.
        hosts: Hosts that links may lead to; None: any.
    """
    ordered = wording.by_urgency(report)
    one = ordered[0] if len(ordered) == 1 else None
    words = wording.headline(one, PAGE) if one else wording.verdict_line(report, PAGE).partition(" ")[2]
    return _template().render(
        title=f"{one_line(ordered[0].key, 100)}: report" if one else f"{len(ordered)} notebooks: report",
        tone=wording.tone_of(ordered[0]),
        signs=_SIGNS,
        headline=Markup(words),
        about=Markup(" · ".join(part for part in title_parts(report, one, PAGE) if part)),
        notebooks=ordered,
        data_urls=_data_urls(report, files),
        facts_of=lambda each: [Markup(text) for text in _facts(each, hosts, told_of_all(report)) if text],
        warning_of=lambda each: Markup(warning_line(each, PAGE)),
        footer=Markup(footer(report, PAGE, hosts)),
        **_functions(),
    )


def _facts(notebook: Notebook, hosts: Sequence[str] | None, told: frozenset[str]) -> tuple[str, str, str]:
    return changed_line(notebook, PAGE), run_line(notebook, PAGE, hosts), trust_line(notebook, PAGE, told)


def _functions() -> dict[str, Any]:
    return {
        "arrows": wording.ARROWS,
        "verdicts": wording.VERDICTS,
        "tones": {verdict: _TONES.get(verdict, "muted") for verdict in MetricVerdict},
        "decimals_of": wording.decimals_of,
        "shown": wording.shown,
        "difference": wording.difference,
        "tone_of": wording.tone_of,
        "headline_of": lambda each: Markup(wording.headline(each, PAGE)),
        "base": lambda each: Markup(wording.base_name(each, PAGE)),
        "base_name": lambda each: each.baseline.name if each.baseline and each.baseline.name else "base",
        "reason_of": wording.reason_of,
        "above_of": above_the_fold,
        "rest_of": _rest,
        "plots_of": _plots,
        "cells_of": _cells,
        "code": lambda text, limit=400: Markup(PAGE.code(text, limit)),
        "line": lambda text: one_line(text, 2_000),
        "lines": lines,
        "source_lines": source_lines,
        "output_lines": output_lines,
        "picture_rows": picture_rows,
    }


def _rest(notebook: Notebook) -> list[Metric]:
    above = {id(metric) for metric in above_the_fold(notebook)}
    return [metric for metric in sorted(notebook.metrics, key=wording.gate_rank) if id(metric) not in above]


def _plots(notebook: Notebook) -> list[tuple[Image | None, Image | None]]:
    of_cells = {output.path for cell in notebook.cells for output in (*cell.before, *cell.after)}
    return image_rows([image for image in notebook.images if image.path not in of_cells])


def _cells(notebook: Notebook) -> list[Cell]:
    chosen = {id(cell) for cell in sorted(notebook.cells, key=lambda cell: -cell.effect)[:_MOST_CELLS]}
    return [cell for cell in notebook.cells if id(cell) in chosen]


def _data_urls(report: PullRequestReport, files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the pictures as addresses, those that differ most first, as far as a page can be sent on."""
    left = _MAX_PICTURES
    found = {}
    for image in sorted(report.images, key=lambda image: -image.effect):
        content = files.get(image.path)
        if content is None or len(content) > left:
            continue
        left -= len(content)
        kind = "png" if image.path.endswith(".png") else "jpeg"
        found[image.path] = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return found


@functools.cache
def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("mlops_nb.reports")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.get_template("pull_request.html.j2")
