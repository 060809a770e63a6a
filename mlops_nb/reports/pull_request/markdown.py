"""A pull-request report as Markdown that its forge takes, whatever is in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from mlops_nb.errors import InvalidInput
from mlops_nb.reports.pull_request import wording
from mlops_nb.reports.pull_request.budget import VERDICT, Group, Item, Section, fit
from mlops_nb.reports.pull_request.data import Notebook, PullRequestReport
from mlops_nb.reports.pull_request.flavors import GITHUB, Flavor, is_address
from mlops_nb.reports.pull_request.outline import above_the_fold, sections_of, trust_parts


def to_markdown(report: PullRequestReport, flavor: Flavor = GITHUB, *, hosts: Sequence[str] | None = None) -> str:
    """Return a report as Markdown: the marker, the verdict, what counts; folded, what else fits.

    Args:
        report: The data. Its texts come out as text.
        flavor: Of the forge; its limits are kept.
        hosts: Hosts that links may lead to, where the data may come from a stranger; None: any.

    Raises:
        InvalidInput: If the report holds no notebook.
    """
    if not report.notebooks:
        raise InvalidInput("The report holds no notebook.", hint="Run one: mlops-nb ci run NOTEBOOK --report report.md")
    ordered = wording.by_urgency(report)
    start = [flavor.marker(report.key or (ordered[0].key if len(ordered) == 1 else "notebooks"))]
    told = told_of_all(report)
    if len(ordered) == 1:
        start.append(f"### {_title(report, ordered[0], flavor)}")
        groups = [Group(head="", sections=sections_of(ordered[0], flavor, hosts, told))]
    else:
        start.append("### " + " · ".join([wording.verdict_line(report, flavor), *title_parts(report, None, flavor)]))
        groups = [Group(head="", sections=[_overview(ordered, flavor)])]
        groups += [Group(head=f"#### {_title(report, each, flavor)}", sections=sections_of(each, flavor, hosts, told)) for each in ordered]
    return fit(start, groups, flavor.small(footer(report, flavor, hosts)), flavor)


def _title(report: PullRequestReport, notebook: Notebook, flavor: Flavor) -> str:
    sign = wording.SIGNS[wording.tone_of(notebook)]
    return " · ".join([f"{sign} {wording.headline(notebook, flavor)}", *title_parts(report, notebook, flavor)])


def title_parts(report: PullRequestReport, notebook: Notebook | None, flavor: Flavor) -> list[str]:
    """Return what stands behind a verdict: the notebook and the commits that were compared."""
    parts = [flavor.code(notebook.key)] if notebook else []
    if report.commit:
        this = flavor.code(report.commit[:7], 7)
        base = notebook.baseline.commit if notebook and notebook.baseline else ""
        parts.append(f"{this} vs {flavor.code(base[:7], 7)}" if base else this)
    return parts


def _overview(ordered: Sequence[Notebook], flavor: Flavor) -> Section:
    deciding = [flavor.prose(each.headline, 120) or _deciding(each, flavor) for each in ordered]
    is_told = any(deciding)
    rows = [partial(_overview_row, each, said if is_told else None, flavor) for each, said in zip(ordered, deciding, strict=True)]
    items = [Item(render=row, rank=VERDICT, weight=len(rows) - place) for place, row in enumerate(rows)]
    head = "| notebook | verdict | Δ |\n|:--|:--|:--|" if is_told else "| notebook | verdict |\n|:--|:--|"
    return Section(items=items, noun="notebooks", head=head)


def _overview_row(notebook: Notebook, deciding: str | None, flavor: Flavor) -> str:
    verdict = f"{wording.SIGNS[wording.tone_of(notebook)]} {wording.headline(notebook, flavor)}"
    return f"| {flavor.code(notebook.key)} | {verdict} |{'' if deciding is None else f' {deciding} |'}"


def _deciding(notebook: Notebook, flavor: Flavor) -> str:
    """Return the first metric that differs, with its difference."""
    found = next((metric for metric in above_the_fold(notebook) if metric.difference), None)
    return "" if found is None else f"{flavor.code(found.key, 40)} {wording.difference(found)}"


def footer(report: PullRequestReport, flavor: Flavor, hosts: Sequence[str] | None) -> str:
    """Return the fine print: how noise was judged, by which gates, against what, when."""
    told = told_of_all(report)
    of_all = {text: said for each in report.notebooks for text, said in trust_parts(each, flavor).items() if text in told}
    said = list(of_all.values())
    if report.full_report and is_address(report.full_report, hosts):
        said.append(flavor.link("full report", report.full_report, hosts))
    if report.created:
        said.append(f"updated {datetime.fromtimestamp(report.created / 1000, UTC):%Y-%m-%d %H:%M} UTC")
    return " · ".join(said) or "mlops_nb"


def told_of_all(report: PullRequestReport) -> frozenset[str]:
    """Return how noise was judged, by which gates and against what, where that is the same for all notebooks that say it."""
    kinds = (
        [each.trust.significance for each in report.notebooks],
        [each.trust.gates for each in report.notebooks],
        [each.baseline.words if each.baseline else "" for each in report.notebooks],
    )
    found = [{text for text in texts if text} for texts in kinds]
    return frozenset(text for texts in found if len(texts) == 1 for text in texts)
