"""The order of a pull-request report, as a reviewer asks: may I merge, what got better, what changed, can I see it, what did it cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import groupby

from mlops_nb.core.comparison import Verdict as MetricVerdict
from mlops_nb.core.formatting import format_duration, format_number
from mlops_nb.reports.pull_request import wording
from mlops_nb.reports.pull_request.budget import CELLS, FACTS, GATES, LISTS, PLOTS, VERDICT, Item, Section
from mlops_nb.reports.pull_request.cell_changes import cell_text
from mlops_nb.reports.pull_request.data import Change, Image, Metric, Notebook, Side
from mlops_nb.reports.pull_request.flavors import Flavor, lines

ABOVE_THE_FOLD = 8
_PLOTS, _FOLDED_PLOTS = 3, 20
_NAMED = 4
_MOST_CELLS = 300
_MOST_ROWS = 2_000


def sections_of(notebook: Notebook, flavor: Flavor, hosts: Sequence[str] | None, told: Collection[str]) -> list[Section]:
    """Return the sections of a notebook in the order in which they are read; `told` stands at the report's end."""
    return [
        section
        for section in (
            _warning(notebook, flavor),
            _failure(notebook, flavor),
            *_metrics(notebook, flavor),
            _facts(notebook, flavor, hosts, told),
            *_plots(notebook, flavor),
            _cells(notebook, flavor),
            _all_metrics(notebook, flavor),
            *_changes(notebook, flavor),
        )
        if section.items
    ]


def _items(texts: Iterable[Callable[[], str]], rank: int, weights: Sequence[float] = ()) -> list[Item]:
    found = list(texts)
    # Without weights, what comes first is kept first.
    weighed = weights or [-place for place in range(len(found))]
    return [Item(render=text, rank=rank, weight=weight) for text, weight in zip(found, weighed, strict=True)]


def _failure(notebook: Notebook, flavor: Flavor) -> Section:
    failure = notebook.failure
    if failure is None:
        return Section(items=[], noun="")
    said = [f"{flavor.strong('Why:')} {flavor.code(failure.reason, 300)}"]
    if failure.hint:
        said.append(f"{flavor.strong('Next:')} {flavor.prose(failure.hint, 300)}")
    texts: list[Callable[[], str]] = [partial(str, "\n\n".join(said))]
    for text, most in ((failure.source, 14), (failure.traceback, 30)):
        if text.strip():
            texts.append(partial(_listing, text, most, flavor, from_end=text is failure.traceback))
    ranks = (VERDICT, GATES, FACTS)
    return Section(items=[Item(render=text, rank=rank) for text, rank in zip(texts, ranks, strict=False)], noun="lines")


def _listing(text: str, most: int, flavor: Flavor, *, from_end: bool = False) -> str:
    kept = lines(text.strip("\n"), 160)
    if len(kept) > most:
        kept = ["…", *kept[-most:]] if from_end else [*kept[:most], "…"]
    # Behind a blank no line begins with what a forge takes as a command.
    return flavor.fence("\n".join(f" {line}" for line in kept), "python" if not from_end else "text")


# -- metrics


def _header(notebook: Notebook, flavor: Flavor) -> str:
    return f"| metric | {wording.base_name(notebook, flavor)} | this | Δ | verdict |\n|:--|--:|--:|--:|:--|"


def _row(metric: Metric, flavor: Flavor, *, plain: bool = False) -> str:
    decimals = wording.decimals_of(metric)
    counts = metric.verdict in (MetricVerdict.BETTER, MetricVerdict.WORSE) and not plain
    this, delta = wording.shown(metric.this, decimals), wording.difference(metric)
    verdict = wording.VERDICTS[metric.verdict]
    if counts:
        value, _, interval = delta.partition(" [")
        this, delta = flavor.strong(this), flavor.strong(value) + (f" [{interval}" if interval else "")
    if metric.verdict is MetricVerdict.WORSE and not plain:
        sign, _, word = verdict.partition(" ")
        verdict = f"{sign} {flavor.strong(word)}"
    name = f"{flavor.code(metric.key, 60)}{wording.ARROWS[metric.direction]}"
    for gate in metric.gates[:3]:
        limit = f" {flavor.prose(gate.limit, 60)}" if gate.limit else ""
        # On one line, whatever the width of the column.
        name += f" (gate{limit}{' ❌' if gate.is_failure else ''})".replace(" ", "\u00a0").replace("\u00a0(", " (", 1)
    reasons = [wording.reason_of(metric, gate) for gate in metric.gates[:3] if gate.is_failure and gate.reason]
    # A single value is no proof, whatever the others in the table have.
    single = "one value each" if counts and metric.base is not None and metric.interval is None and metric.p_value is None else ""
    note = "" if single and any(single in reason for reason in reasons) else metric.note or single
    said = "; ".join(flavor.prose(text, 160) for text in (*reasons, note) if text)
    return f"| {name} | {wording.shown(metric.base, decimals)} | {this} | {delta} | {verdict}{f' – {said}' if said else ''} |"


def _metrics(notebook: Notebook, flavor: Flavor) -> list[Section]:
    """Return the table above the fold, and folded the gates for which it has no room."""
    gated = sorted((metric for metric in notebook.metrics if metric.gates), key=wording.gate_rank)
    shown = above_the_fold(notebook)
    rest = gated[ABOVE_THE_FOLD:]
    sections = [_table(notebook, flavor, shown, rank=GATES if gated else FACTS, noun="metrics")]
    if rest:
        failing = sum(wording.gate_rank(metric) == 0 for metric in rest)
        title = f"{len(rest):,} more gates{f', of which {failing:,} fail' if failing else ', none fails'}"
        section = _table(notebook, flavor, rest, rank=GATES, noun="gates")
        sections.append(Section(items=section.items, noun="gates", head=section.head, title=title, folded=True))
    return sections


def above_the_fold(notebook: Notebook) -> list[Metric]:
    """Return the metrics above the fold: those with gates, then what got worse or better, then the most important."""
    told = {MetricVerdict.WORSE: 1, MetricVerdict.BETTER: 2}
    ranks = {id(m): wording.gate_rank(m) if m.gates else 3 + told.get(m.verdict, 3) for m in notebook.metrics}
    if not any(metric.gates for metric in notebook.metrics):  # the first one is the verdict's
        return notebook.metrics[:1] + sorted(notebook.metrics[1:], key=lambda metric: ranks[id(metric)])[: ABOVE_THE_FOLD - 1]
    return sorted(notebook.metrics, key=lambda metric: ranks[id(metric)])[:ABOVE_THE_FOLD]


def _table(notebook: Notebook, flavor: Flavor, metrics: Sequence[Metric], *, rank: int, noun: str) -> Section:
    rows = [partial(_row, metric, flavor) for metric in metrics]
    ranks = [VERDICT if wording.gate_rank(metric) == 0 else rank for metric in metrics]
    items = [Item(render=row, rank=each, weight=-place) for place, (row, each) in enumerate(zip(rows, ranks, strict=True))]
    return Section(items=items, noun=noun, head=_header(notebook, flavor))


def _all_metrics(notebook: Notebook, flavor: Flavor) -> Section:
    above = {id(metric) for metric in above_the_fold(notebook)}
    rest = [metric for metric in notebook.metrics if id(metric) not in above and not metric.gates]
    title = f"{len(rest):,} more metric{'s' if len(rest) != 1 else ''}"
    rows = (partial(_row, metric, flavor) for metric in rest[:_MOST_ROWS])
    more = max(0, len(rest) - _MOST_ROWS)
    return Section(items=_items(rows, LISTS), noun="metrics", head=_header(notebook, flavor), title=title, folded=True, more=more)


# -- what changed, and what it took


def _warning(notebook: Notebook, flavor: Flavor) -> Section:
    text = warning_line(notebook, flavor)
    return Section(items=[Item(render=partial(str, text), rank=VERDICT)] if text else [], noun="warnings")


def _facts(notebook: Notebook, flavor: Flavor, hosts: Sequence[str] | None, told: Collection[str]) -> Section:
    texts = [changed_line(notebook, flavor), run_line(notebook, flavor, hosts), trust_line(notebook, flavor, told)]
    return Section(items=_items([partial(str, text) for text in texts if text], FACTS), noun="facts")


def changed_line(notebook: Notebook, flavor: Flavor) -> str:
    """Return in one line what differs besides the results."""
    kinds = (("params", notebook.params), ("data", notebook.data), ("packages", notebook.packages), ("environment", notebook.environment))
    parts = [f"{kind} {_named(changes, flavor)}" for kind, changes in kinds if changes]
    code = [cell for cell in notebook.cells if cell.diff]
    if code:
        shown = ", ".join(flavor.prose(cell.label, 24) for cell in code[:6])
        parts.append(f"code of cell{'s' if len(code) > 1 else ''} {shown}{f' and {len(code) - 6:,} more' if len(code) > 6 else ''}")
    same = ", ".join(notebook.unchanged)
    if not parts:
        return f"{flavor.strong('Unchanged:')} {same}" if same else ""
    return f"{flavor.strong('Changed:')} {' · '.join([*parts, *([f'same {same}'] if same else [])])}"


def warning_line(notebook: Notebook, flavor: Flavor) -> str:
    """Return what a reviewer must know of the gates before the verdict is believed."""
    trust = notebook.trust
    parts = [_named(trust.changed_gates, flavor)] if trust.changed_gates else []
    parts += [flavor.prose(trust.warning, 600)] if trust.warning else []
    return f"⚠️ {flavor.strong('Gates:')} {' · '.join(parts)}" if parts else ""


def trust_parts(notebook: Notebook, flavor: Flavor) -> dict[str, str]:
    """Return how noise was judged, by which gates and against what: the data's text, and what is said of it."""
    trust, baseline = notebook.trust, notebook.baseline
    found = {
        trust.significance: f"noise: {flavor.prose(trust.significance.removeprefix('noise: '), 200)}",
        trust.gates: f"gates: {flavor.code(trust.gates, 80)}",
    }
    if baseline is not None:
        found[baseline.words] = f"base: {flavor.prose(baseline.words, 240)}"
    return {text: said for text, said in found.items() if text}


def trust_line(notebook: Notebook, flavor: Flavor, told: Collection[str]) -> str:
    """Return in one line what is not the same for all notebooks of how this one was judged."""
    parts = [said for text, said in trust_parts(notebook, flavor).items() if text not in told]
    return f"{flavor.strong('Judged:')} {' · '.join(parts)}" if parts else ""


def _named(changes: Sequence[Change], flavor: Flavor) -> str:
    shown = ", ".join(
        f"{flavor.code(change.key, 40)} {_value(change.base, flavor)} → {_value(change.this, flavor)}" for change in changes[:_NAMED]
    )
    return f"{shown}{f' and {len(changes) - _NAMED:,} more' if len(changes) > _NAMED else ''}"


def _value(value: str | None, flavor: Flavor, limit: int = 40) -> str:
    return "none" if value is None else flavor.code(value or '""', limit)


def run_line(notebook: Notebook, flavor: Flavor, hosts: Sequence[str] | None) -> str:
    """Return in one line what the run took, and where it is to be found."""
    machine = notebook.machine
    took = format_duration(machine.duration_ms) if machine.duration_ms is not None else ""
    if took and machine.base_duration_ms is not None:
        took += f" ({wording.base_name(notebook, flavor)} {format_duration(machine.base_duration_ms)})"
    money = {"USD": "$", "EUR": "€", "GBP": "£"}.get(machine.currency, "")
    cost = machine.cost
    spent = "" if cost is None else f"{money}{cost:,.2f}" if money else f"{cost:,.2f} {flavor.prose(machine.currency, 8)}"
    facts = [
        flavor.prose(machine.words, 80),
        took,
        spent,
        "" if machine.energy_wh is None else f"{format_number(machine.energy_wh)} Wh",
        "" if machine.peak_memory is None else f"peak {machine.peak_memory / 1e9:.2f} GB",
    ]
    parts = [", ".join(fact for fact in facts if fact)]
    if machine.is_fresh is not None:
        parts.append("fresh kernel, top to bottom ✓" if machine.is_fresh else "not run from top to bottom ⚠️")
    parts += [flavor.link(link.title, link.url, hosts) for link in notebook.links]
    parts += [f"run {flavor.code(notebook.run_id[:8])}"] if notebook.run_id else []
    shown = " · ".join(part for part in parts if part)
    return f"{flavor.strong('Run:')} {shown}" if shown else ""


# -- plots


def image_rows(images: Sequence[Image]) -> list[tuple[Image | None, Image | None]]:
    """Return images by what they show, both sides beside each other; one that shows both sides stands alone."""
    rows: list[tuple[Image | None, Image | None]] = []
    for _, group in groupby(sorted(images, key=lambda image: (-image.effect, image.subject)), key=lambda image: image.subject):
        found = list(group)
        rows += [(image, image) for image in found if image.side is Side.BOTH]
        base, this = ([image for image in found if image.side is side] for side in (Side.BASE, Side.THIS))
        for place in range(max(len(base), len(this))):
            rows.append((base[place] if place < len(base) else None, this[place] if place < len(this) else None))
    return rows


def _plots(notebook: Notebook, flavor: Flavor) -> list[Section]:
    of_cells = {output.path for cell in notebook.cells for output in (*cell.before, *cell.after)}
    rows = image_rows([image for image in notebook.images if image.path not in of_cells])
    sections = []
    base = wording.base_name(notebook, flavor)
    for sides in (False, True):
        shown = [row for row in rows if (row[0] is row[1]) is sides]
        head = f"| {base} and this | |\n|:-:|:-:|" if sides else f"| {base} | this |\n|:-:|:-:|"
        if sides and len(shown) == 1:
            head = f"| {base} and this |\n|:-:|"
        elif not sides and not any(left for left, _ in shown):  # nothing to compare with: no column of dashes
            head = "| this |\n|:-:|"
        if sides:  # two of them fit beside each other
            shown = [(shown[place][0], shown[place + 1][0] if place + 1 < len(shown) else None) for place in range(0, len(shown), 2)]
        above = shown[: _PLOTS if not sides else 1]
        folded = shown[len(above) : _FOLDED_PLOTS]
        rest = shown[_FOLDED_PLOTS:]
        columns = head.splitlines()[0].count("|") - 1
        texts = [partial(_image_row, row if columns == 2 else (row[0] or row[1],), flavor) for row in (*above, *folded)]
        weights = [max(image.effect for image in row if image) for row in (*above, *folded)]
        items = _items(texts, PLOTS, weights)
        sections.append(Section(items=items[: len(above)], noun="rows of plots", head=head))
        title = f"{len(folded) + len(rest):,} more row{'s' if len(folded) + len(rest) != 1 else ''} of plots"
        sections.append(Section(items=items[len(above) :], noun="rows of plots", head=head, title=title, folded=True, more=len(rest)))
    return sections


def _image_row(row: Sequence[Image | None], flavor: Flavor) -> str:
    return f"| {' | '.join(flavor.image(image.subject, image.path) if image else '–' for image in row)} |"


# -- what is folded


def _cells(notebook: Notebook, flavor: Flavor) -> Section:
    cells = sorted(notebook.cells, key=lambda cell: -cell.effect)[:_MOST_CELLS]
    chosen = {id(cell) for cell in cells}
    shown = [cell for cell in notebook.cells if id(cell) in chosen]
    many = len(notebook.cells)
    of_all = f" of {notebook.cell_count:,}" if notebook.cell_count else ""
    title = f"{many:,}{of_all} cell{'s' if max(many, notebook.cell_count) != 1 else ''} changed"
    items = _items((partial(cell_text, cell, flavor) for cell in shown), CELLS, [cell.effect for cell in shown])
    return Section(items=items, noun="cells", title=title, folded=True, more=many - len(shown))


def _changes(notebook: Notebook, flavor: Flavor) -> list[Section]:
    sections = []
    kinds = (
        ("param", notebook.params),
        ("data set", notebook.data),
        ("package", notebook.packages),
        ("fact of the environment", notebook.environment),
    )
    for kind, changes in kinds:
        # Few short ones stand in the line above already.
        if len(changes) <= _NAMED and all(len(value or "") <= 40 for each in changes for value in (each.key, each.base, each.this)):
            continue
        plural = kind.replace("fact", "facts", 1) if kind.startswith("fact") else f"{kind}s"
        rows = (partial(_change_row, change, flavor) for change in changes[:_MOST_ROWS])
        head = f"| {kind.split(' of ')[0]} | {wording.base_name(notebook, flavor)} | this |\n|:--|:--|:--|"
        title = f"{len(changes):,} changed {plural if len(changes) != 1 else kind}"
        more = max(0, len(changes) - _MOST_ROWS)
        sections.append(Section(items=_items(rows, LISTS), noun=plural, head=head, title=title, folded=True, more=more))
    return sections


def _change_row(change: Change, flavor: Flavor) -> str:
    return f"| {flavor.code(change.key, 80)} | {_value(change.base, flavor, 160)} | {_value(change.this, flavor, 160)} |"
