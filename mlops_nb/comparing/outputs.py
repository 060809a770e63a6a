"""What differs between two lists of outputs, for a reader: numbers, cells of tables, pictures; not times, addresses or progress."""

from __future__ import annotations

import base64
import binascii
import difflib
import functools
import io
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from typing import Any

from mlops_nb.core.formatting import format_number
from mlops_nb.core.records import Record

Output = dict[str, Any]

TOLERANCE = 1e-6
"""Numbers that differ by less than this share are the same: another thread order in BLAS makes such differences."""

_PIXELS = 0.001
_MOST_NUMBERS = 8
_MAX_MATCHED = 60

# What changes from one execution to the next without meaning anything.
_VOLATILE = (
    (re.compile(r"\x1b\[[0-9;?]*[A-Za-z]"), ""),
    (re.compile(r"^.*\r(?!\n)", re.MULTILINE), ""),
    (re.compile(r"^.*(?:\d+%\|.*\||[█▏▎▍▌▋▊▉━]{2,}|\[=*>?[ .]*\]).*$", re.MULTILINE), "<progress>"),
    (re.compile(r"\b0x[0-9a-fA-F]{6,}\b"), "<address>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
    # The beginning of an id, as lists of runs show it; a number or a word of the dictionary is none.
    (re.compile(r"\b(?=[0-9a-f]*\d[0-9a-f]*[a-f]|[0-9a-f]*[a-f][0-9a-f]*\d)(?!\d+e\d+\b)[0-9a-f]{8}\b"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?\b"), "<time>"),
    (re.compile(r"^(?:CPU times|Wall time|real|user|sys)\b.*$", re.MULTILINE), "<duration>"),
    (re.compile(r"\b\d+(?:\.\d+)?(?:e-?\d+)? ?(?:ns|[µu]s|ms|s|sec|secs|seconds?|min|minutes?|it/s|s/it|steps?/s)(?![\w/])"), "<duration>"),
    (re.compile(r"\b\d\d?:\d\d(?::\d\d)?(?:\.\d+)?\b"), "<duration>"),
    (re.compile(r'\b(?:id|class)="sk-[\w-]+"|#sk-[\w-]+|\bsk-container-id-\d+'), "<id>"),
)
_NUMBER = re.compile(
    r"(?<![\w.])[-+\u2212]?(?:\d[\d,_]*)(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w])|(?<![\w.])[-+]?\.\d+(?:[eE][-+]?\d+)?|\b(?:nan|inf|NaN)\b"
)


class NumberChange(Record, frozen=True, kw_only=True):
    """A number in what was shown, before and now; `label` is the text before it."""

    label: str
    before: float
    now: float

    def __str__(self) -> str:
        delta = self.now - self.before
        shown = f" ({format_number(delta, signed=True)})" if math.isfinite(delta) else ""
        return f"{self.label + ' ' if self.label else ''}{format_number(self.before)} → {format_number(self.now)}{shown}"


class OutputsChange(Record, frozen=True, kw_only=True):
    """What became of the outputs of a cell. `notes` says it in words, one line each; empty where nothing changed."""

    changed: bool = False
    notes: list[str] = []
    numbers: list[NumberChange] = []


def compare_outputs(before: Sequence[Output], now: Sequence[Output]) -> OutputsChange:
    """Compare the outputs of two executions."""
    found = [change for _, _, change in changed_outputs(before, now)]
    notes = [note for change in found for note in change.notes]
    return OutputsChange(
        changed=bool(notes), notes=notes, numbers=[number for change in found for number in change.numbers][:_MOST_NUMBERS]
    )


def changed_outputs(before: Sequence[Output], now: Sequence[Output]) -> Iterator[tuple[Output | None, Output | None, OutputsChange]]:
    """Pair the outputs of two executions, and give those that differ with what does; None: there is none on that side."""
    before, now = _merged(before), _merged(now)
    if before == now:
        return
    for old, new in _matched(before, now):
        if old is None or new is None:
            one = old if new is None else new
            assert one is not None
            if text := _kind(one):
                yield old, new, OutputsChange(changed=True, notes=[f"{text} {'gone' if new is None else 'added'}"])
        elif (found := _compare(old, new)).changed:
            yield old, new, found


def _merged(outputs: Sequence[Output]) -> list[Output]:
    """Return outputs with each stream as one, where it began, and without what means nothing to a reader."""
    merged: list[Output] = []
    streams: dict[str, Output] = {}
    for output in outputs:
        plain = {key: value for key, value in output.items() if key not in ("execution_count", "metadata")}
        if plain.get("output_type") == "stream":
            name = str(plain.get("name"))
            if name in streams:
                streams[name]["text"] += plain["text"]
                continue
            streams[name] = plain
        merged.append(plain)
    return merged


def _matched(before: Sequence[Output], now: Sequence[Output]) -> Iterator[tuple[Output | None, Output | None]]:
    """Pair the outputs of two executions in order, by nbdime; one without a partner is paired with None."""
    if len(before) == len(now) and list(map(_kind, before)) == list(map(_kind, now)):
        yield from zip(before, now, strict=True)
        return
    if max(len(before), len(now)) > _MAX_MATCHED:
        yield from zip(before, now, strict=False)
        return
    from nbdime.diffing.config import DiffConfig
    from nbdime.diffing.generic import diff_sequence_multilevel
    from nbdime.diffing.notebooks import compare_output_approximate

    # The loosest first: outputs of one kind may be the same one, equal ones surely are.
    alike = [lambda a, b: _kind(a) == _kind(b), compare_output_approximate]
    config = DiffConfig(predicates=defaultdict(lambda: alike), differs=defaultdict(lambda: lambda *_, **__: []))
    gone: set[int] = set()
    added: dict[int, int] = {}
    for change in diff_sequence_multilevel(list(before), list(now), path="/cells/*/outputs", config=config):
        if change.op == "removerange":
            gone.update(range(change.key, change.key + change.length))
        elif change.op == "addrange":
            added[change.key] = len(change.valuelist)
    place = 0
    for at in range(len(before) + 1):
        for _ in range(added.get(at, 0)):
            yield None, now[place]
            place += 1
        if at < len(before):
            if at in gone:
                yield before[at], None
            else:
                yield before[at], now[place]
                place += 1


def _kind(output: Output) -> str:
    """Return what an output is to a reader; empty for what shows nothing."""
    kind = output.get("output_type")
    if kind == "stream":
        return "text" if output.get("name") != "stderr" else "warnings"
    if kind == "error":
        return "error"
    data = output.get("data") or {}
    if any(name.startswith("image/") for name in data):
        return "picture"
    if "<table" in data.get("text/html", ""):
        return "table"
    return "text" if data else ""


def _compare(old: Output, new: Output) -> OutputsChange:
    kind, other = _kind(old), _kind(new)
    if kind != other:
        return OutputsChange(changed=True, notes=[f"{kind or 'nothing'} became {other or 'nothing'}"])
    if kind == "picture":
        share = picture_difference(old["data"], new["data"])
        return (
            OutputsChange()
            if share <= _PIXELS
            else OutputsChange(changed=True, notes=[f"picture differs in {_percent(share)} of its pixels"])
        )
    if kind == "table":
        return _tables(old["data"]["text/html"], new["data"]["text/html"])
    if kind == "error":
        same = (old["ename"], stable(old["evalue"])) == (new["ename"], stable(new["evalue"]))
        return OutputsChange() if same else OutputsChange(changed=True, notes=[f"error {new['ename']} instead of {old['ename']}"])
    return _texts(_text(old), _text(new), "warnings" if kind == "warnings" else "text")


def _text(output: Output) -> str:
    if output.get("output_type") == "stream":
        return str(output.get("text", ""))
    data = output.get("data") or {}
    return str(
        next((data[name] for name in ("text/plain", "text/markdown", "text/html", "application/json", "text/latex") if name in data), "")
    )


def stable(text: str) -> str:
    """Return a text without what differs from one execution to the next: durations, times, addresses, ids, progress."""
    for pattern, word in _VOLATILE:
        text = pattern.sub(word, text)
    return re.sub(r"(?:<progress>\s*)+", "<progress>\n", text).strip()


def same_number(before: float, now: float) -> bool:
    """Return whether two numbers are the same but for rounding; NaN is the same as NaN."""
    return before == now or (math.isnan(before) and math.isnan(now)) or math.isclose(before, now, rel_tol=TOLERANCE, abs_tol=1e-12)


def _value(text: str) -> float:
    return float(text.replace("\u2212", "-").replace(",", "").replace("_", ""))


def _texts(old: str, new: str, what: str) -> OutputsChange:
    old, new = stable(old), stable(new)
    if old == new:
        return OutputsChange()
    words, others = _NUMBER.split(old), _NUMBER.split(new)
    if words == others:  # only numbers differ
        pairs = zip(words, map(_value, _NUMBER.findall(old)), map(_value, _NUMBER.findall(new)), strict=False)
        found = [NumberChange(label=_label(word), before=a, now=b) for word, a, b in pairs if not same_number(a, b)]
        if not found:
            return OutputsChange()
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        return OutputsChange(changed=True, notes=[", ".join(map(str, found[:3])) + more], numbers=found)
    lines = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False)
    changed = sum(max(b - a, d - c) for tag, a, b, c, d in lines.get_opcodes() if tag != "equal")
    return OutputsChange(changed=True, notes=[f"{changed} line{'s' if changed != 1 else ''} of {what} differ"])


def _label(before: str) -> str:
    """Return the last words of the text before a number."""
    line = before.rsplit("\n", 1)[-1]
    return " ".join(re.sub(r"[\s:=|,;()\[\]{}'\"]+", " ", line).split()[-3:])[-40:]


# -- tables


class _Cells(HTMLParser):
    """Collects the cells of the tables of a page, row by row."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def cells_of_table(html: str) -> list[list[str]]:
    """Return the texts of the cells of the tables in HTML, row by row."""
    parser = _Cells()
    parser.feed(html)
    return parser.rows


def _tables(old: str, new: str) -> OutputsChange:
    before, now = cells_of_table(old), cells_of_table(new)
    shape, other = ((len(rows), max(map(len, rows), default=0)) for rows in (before, now))
    if shape != other:
        return OutputsChange(changed=True, notes=[f"table has {other[0]}×{other[1]} cells instead of {shape[0]}×{shape[1]}"])
    numbers: list[NumberChange] = []
    changed = 0
    for number, (first, second) in enumerate(zip(before, now, strict=True)):
        for at, (a, b) in enumerate(zip(first, second, strict=False)):
            if a == b or stable(a) == stable(b):
                continue
            x, y = (_value(text) if _NUMBER.fullmatch(text) else None for text in (a, b))
            if x is not None and y is not None:
                if same_number(x, y):
                    continue
                head = before[0][at] if number and at < len(before[0]) else ""
                numbers.append(NumberChange(label=f"{first[0] if at else ''} {head}".strip()[:40], before=x, now=y))
            changed += 1
    if not changed:
        return OutputsChange()
    shown = f": {', '.join(map(str, numbers[:2]))}" if numbers else ""
    return OutputsChange(changed=True, notes=[f"{changed} table cell{'s' if changed != 1 else ''} differ{shown}"], numbers=numbers)


# -- pictures


def picture_difference(old: dict[str, Any], new: dict[str, Any]) -> float:
    """Return in what share of their pixels two pictures differ, from 0 to 1; without Pillow whether they do at all."""
    for kind in ("image/png", "image/jpeg"):
        if kind in old and kind in new:
            if old[kind] == new[kind]:
                return 0.0
            return _pixel_difference(old[kind], new[kind])
    kind = "image/svg+xml"
    if kind in old and kind in new:
        return 0.0 if _plain_svg(old[kind]) == _plain_svg(new[kind]) else 1.0
    return 1.0


def _plain_svg(text: str) -> str:
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    # Matplotlib names clip paths and glyphs anew each time.
    return re.sub(r'(id="|url\(#|href="#)[\w-]+', r"\1", text)


@functools.lru_cache(maxsize=256)
def _pixel_difference(old: str, new: str) -> float:
    try:
        from PIL import Image, ImageChops
    except ImportError:  # without Pillow only the bytes can be compared
        return 1.0
    try:
        first, second = (Image.open(io.BytesIO(base64.b64decode(text))) for text in (old, new))
        if first.size != second.size or first.size[0] * first.size[1] > 16_000_000:
            return 1.0
        difference = ImageChops.difference(first.convert("RGB"), second.convert("RGB")).convert("L")
    except (OSError, ValueError, binascii.Error, SyntaxError):  # what Pillow raises for broken files
        return 1.0
    histogram = difference.histogram()
    # Fonts of another version smear a little: only what an eye sees counts.
    return sum(histogram[8:]) / max(1, sum(histogram))


def _percent(share: float) -> str:
    return "all" if share >= 0.995 else f"{share:.1%}" if share >= 0.01 else "under 1%"
