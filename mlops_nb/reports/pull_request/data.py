"""The data of a pull-request report: what a job that holds no token hands to the one that posts.

That job may run the code of a stranger. `read` therefore takes nothing for granted: sizes, counts and kinds are bounded,
names of files stay in their folder, addresses are of the web. What the texts hold is left as it is; rendering escapes it.
"""

from __future__ import annotations

import hashlib
import math
import re
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mlops_nb.core.comparison import Direction
from mlops_nb.core.comparison import Verdict as MetricVerdict
from mlops_nb.errors import InvalidInput

VERSION: Literal[1] = 1
FOLDER = "report_files"
"""Where images lie, beside the report."""
MAX_BYTES = 32_000_000
MAX_IMAGE_BYTES = 2_000_000

Word = Annotated[str, Meta(max_length=400)]
Sentence = Annotated[str, Meta(max_length=2_000)]
Text = Annotated[str, Meta(max_length=24_000)]
Amount = Annotated[float, Meta(ge=0, le=1e15)]
Time = Annotated[int, Meta(ge=0, le=10**14)]
Url = Annotated[str, Meta(max_length=2_000, pattern=r"^https?://[^\s\x00-\x1f<>\"'`\\|(){}\[\]@]+$")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
ImagePath = Annotated[str, Meta(max_length=200, pattern=rf"^{FOLDER}/[A-Za-z0-9][A-Za-z0-9_-]{{0,120}}\.(png|jpg|jpeg)$")]
Number = float | Literal["NaN", "Infinity", "-Infinity"] | None
"""A value of a metric: JSON has no word for some; None: there is none."""


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of the records: a field that is not known is an error."""


class Verdict(StrEnum):
    """What became of a notebook.

    GATE_FAILED: a gate fails, but not because its metric got worse: it is missing, or beyond a bound. MIXED: some of what
    counts is better and some worse.
    """

    IMPROVES = "improves"
    WORSE = "worse"
    GATE_FAILED = "gate failed"
    MIXED = "mixed"
    NOISE = "noise"
    FAILED = "failed"
    NOT_COMPARABLE = "not comparable"
    NO_BASELINE = "no baseline"


class CellStatus(StrEnum):
    """What became of a cell; as in `comparing.cells`, without those that are the same."""

    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    MOVED = "moved"


class Side(StrEnum):
    """Of which run an image is. BOTH: it shows both, such as curves on shared axes."""

    BASE = "base"
    THIS = "this"
    BOTH = "both"


class Image(_Strict, frozen=True, kw_only=True):
    """A picture beside the report.

    Attributes:
        path: Its file, relative to the report.
        digest: SHA-256 of the file in hexadecimal.
        side: The run that it is of.
        subject: What it shows, the same for both sides of a pair: a cell's label, a file's name, a metric's key.
        size: Bytes.
        effect: How much the pair differs, from 0 to 1; the largest are shown first.
    """

    path: ImagePath
    digest: Digest
    side: Side
    subject: Word
    size: Annotated[int, Meta(ge=0, le=MAX_IMAGE_BYTES)]
    effect: Annotated[float, Meta(ge=0, le=1)] = 0.0


class GateOutcome(StrEnum):
    """What came of a gate; as in `core.gates`."""

    PASS = "pass"
    FAIL = "fail"
    NOISE = "noise"
    NEW = "new"
    MISSING = "missing"
    NOT_COMPARABLE = "not comparable"


class Gate(_Strict, frozen=True, kw_only=True):
    """A condition of the gates file and what came of it. `limit` says it short ("Δ ≥ −0.002"), `reason` why in a sentence."""

    limit: Word
    outcome: GateOutcome
    is_failure: bool
    reason: Sentence = ""


class Metric(_Strict, frozen=True, kw_only=True):
    """A metric in the base and in this run. `interval` is that of the difference at the level that `Trust` names."""

    key: Word
    direction: Direction = Direction.NONE
    base: Number = None
    this: Number = None
    difference: Number = None
    interval: tuple[float, float] | None = None
    p_value: Annotated[float, Meta(ge=0, le=1)] | None = None
    verdict: MetricVerdict = MetricVerdict.NEW
    note: Sentence = ""
    gates: Annotated[list[Gate], Meta(max_length=50)] = []


class Change(_Strict, frozen=True, kw_only=True):
    """A param, data set, package or fact of the environment that differs; None: it is not there."""

    key: Word
    base: Sentence | None = None
    this: Sentence | None = None


class Output(_Strict, frozen=True, kw_only=True):
    """What a cell showed: `text` of a stream, result or error, `rows` of a table, or the `path` of an image."""

    kind: Literal["text", "table", "image", "error"]
    text: Text = ""
    rows: Annotated[list[Annotated[list[Word], Meta(max_length=60)]], Meta(max_length=120)] = []
    path: ImagePath | None = None


Outputs = Annotated[list[Output], Meta(max_length=40)]


class Cell(_Strict, frozen=True, kw_only=True):
    """A cell that differs.

    Attributes:
        label: What people call it, such as "[3]" or "[3] → [4]".
        status: What became of it.
        first_line: Of its source.
        summary: What differs, in one line.
        diff: Lines of its source, each behind "  ", "- " or "+ "; empty where the source is the same.
        before: What it showed in the base.
        after: What it showed in this run.
        effect: How much it matters, from 0 to 1; the largest are shown first.
    """

    label: Word
    status: CellStatus
    first_line: Word = ""
    summary: Sentence = ""
    diff: Text = ""
    before: Outputs = []
    after: Outputs = []
    effect: Annotated[float, Meta(ge=0, le=1)] = 0.0


class Failure(_Strict, frozen=True, kw_only=True):
    """Why the notebook did not run to its end.

    `cell` is the number of the failing code cell, from 1; None: no cell is to blame. `line` is where it begins in the notebook's
    file, from 1; None: it is not in there, or nobody looked.
    """

    cell: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    line: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    reason: Sentence
    source: Text = ""
    traceback: Text = ""
    hint: Sentence = ""


class Baseline(_Strict, frozen=True, kw_only=True):
    """What this run is compared with.

    Attributes:
        name: In a word for columns, such as the branch "main".
        words: Where its values come from, such as "run 7f2c of main, 2 days ago" or "main, run again in this job"; or why
            there is none.
        commit: Its commit.
    """

    name: Word = "main"
    words: Sentence = ""
    commit: Word = ""


class Machine(_Strict, frozen=True, kw_only=True):
    """What the run took and where. Memory in bytes, energy in Wh, cost in `currency`."""

    words: Word = ""
    duration_ms: Amount | None = None
    base_duration_ms: Amount | None = None
    cost: Amount | None = None
    currency: Annotated[str, Meta(max_length=8)] = "USD"
    energy_wh: Amount | None = None
    peak_memory: Amount | None = None
    is_fresh: bool | None = None


class Link(_Strict, frozen=True, kw_only=True):
    """An address that the report leads to."""

    title: Word
    url: Url


class Trust(_Strict, frozen=True, kw_only=True):
    """How the differences were judged: `significance` in words; `gates` is the path of the gates file.

    `changed_gates` is what the commit itself changes of the gates, and `warning` which of them judged.
    """

    significance: Sentence = ""
    gates: Word = ""
    changed_gates: Annotated[list[Change], Meta(max_length=200)] = []
    warning: Sentence = ""


Metrics = Annotated[list[Metric], Meta(max_length=5_000)]
Changes = Annotated[list[Change], Meta(max_length=2_000)]


class Notebook(_Strict, frozen=True, kw_only=True):
    """A notebook's part of the report.

    Attributes:
        key: What tells it from the others, mostly its path in the repository.
        verdict: What became of it.
        headline: The metric that decided, in words, such as "val_auc +0.0062".
        failure: Why it did not run to its end.
        metrics: All metrics, the most important first; those with gates make the table above the fold.
        params, data, packages, environment: What differs of them.
        unchanged: What was compared and is the same: of `params`, `data`, `code`. What is not known stands nowhere.
        cells: The cells that differ; `cell_count` is how many there are.
        images: To show.
        next_step: What the reader should do, in one sentence.
    """

    key: Annotated[str, Meta(min_length=1, max_length=400)]
    verdict: Verdict
    headline: Sentence = ""
    failure: Failure | None = None
    baseline: Baseline | None = None
    metrics: Metrics = []
    params: Changes = []
    data: Changes = []
    packages: Changes = []
    environment: Changes = []
    unchanged: Annotated[list[Literal["params", "data", "code"]], Meta(max_length=3)] = []
    cells: Annotated[list[Cell], Meta(max_length=5_000)] = []
    cell_count: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    images: Annotated[list[Image], Meta(max_length=600)] = []
    machine: Machine = Machine()
    links: Annotated[list[Link], Meta(max_length=20)] = []
    trust: Trust = Trust()
    run_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{0,64}$")] = ""
    next_step: Sentence = ""


class PullRequestReport(_Strict, frozen=True, kw_only=True):
    """A report: its notebooks, the commit that ran, when it was made (ms since 1970), and a link to all of it.

    `key` tells several reports in one pull request apart, such as those of several jobs.
    """

    version: Literal[1] = VERSION
    key: Word = ""
    created: Time = 0
    commit: Word = ""
    branch: Word = ""
    full_report: Url | None = None
    notebooks: Annotated[list[Notebook], Meta(max_length=200)]

    @property
    def images(self) -> list[Image]:
        """All images, each once."""
        return list({image.path: image for notebook in self.notebooks for image in notebook.images}.values())


def number(value: Number) -> float | None:
    """Return a metric's value as number."""
    return float(value) if value is not None else None


def to_json(report: PullRequestReport) -> bytes:
    """Return a report as JSON; values that JSON has no word for keep theirs."""
    return msgspec.json.format(msgspec.json.encode(_finite(msgspec.to_builtins(report))), indent=1) + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value


def read(content: bytes) -> PullRequestReport:
    """Return the report that JSON holds, whoever wrote it.

    Raises:
        InvalidInput: If it is not a report, too large, or of another version.
    """
    if len(content) > MAX_BYTES:
        raise _refused(f"it has {len(content):,} bytes, more than {MAX_BYTES:,}")
    try:
        report = msgspec.json.decode(content, type=PullRequestReport)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # ValidationError is a DecodeError
        raise _refused(f"{error}"[:400]) from None
    keys = [notebook.key for notebook in report.notebooks]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise _refused(f"it holds the notebook {twice[:100]!r} twice")
    for notebook in report.notebooks:
        _check_references(notebook)
    by_path: dict[str, str] = {}
    for image in (image for notebook in report.notebooks for image in notebook.images):
        if by_path.setdefault(image.path, image.digest) != image.digest:
            raise _refused(f"it gives the image {image.path} two digests")
    return report


def _check_references(notebook: Notebook) -> None:
    known = {image.path for image in notebook.images}
    for cell in notebook.cells:
        for output in (*cell.before, *cell.after):
            if (output.kind == "image") != (output.path is not None):
                raise _refused(f"an output of cell {cell.label[:40]!r} is half an image")
            if output.path is not None and output.path not in known:
                raise _refused(f"cell {cell.label[:40]!r} shows {output.path}, which is not among the images")
    for metric in notebook.metrics:
        if metric.interval is not None and not all(map(math.isfinite, metric.interval)):
            raise _refused(f"the interval of {metric.key[:100]!r} is not finite")


def check_image(image: Image, content: bytes) -> None:
    """Make sure that a file is the image that the report names.

    Raises:
        InvalidInput: If it is another file, or no picture.
    """
    if len(content) > MAX_IMAGE_BYTES or hashlib.sha256(content).hexdigest() != image.digest:
        raise _refused(f"{image.path} is not the file that the report names")
    is_png = content.startswith(b"\x89PNG\r\n\x1a\n")
    if not (is_png if image.path.endswith(".png") else content.startswith(b"\xff\xd8\xff")):
        raise _refused(f"{image.path} is not the picture that its name says")


def _refused(reason: str) -> InvalidInput:
    shown = re.sub(r"[^\x20-\x7e→–…]", "?", reason)
    return InvalidInput(
        f"The report's data is refused: {shown}.", hint="Use what `mlops-nb ci run --report` wrote, by the same version of mlops_nb."
    )


def schema() -> bytes:
    """Return the JSON Schema of a report, as `schema.json` beside this file holds it."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(PullRequestReport)}
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
