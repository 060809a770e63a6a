"""Reports as notebooks give them, one a situation: what the golden files show."""

from __future__ import annotations

import hashlib

from mlops_nb.core.comparison import Direction
from mlops_nb.core.comparison import Verdict as MetricVerdict
from mlops_nb.reports.pull_request.data import (
    Baseline,
    Cell,
    CellStatus,
    Change,
    Failure,
    Gate,
    GateOutcome,
    Image,
    Link,
    Machine,
    Metric,
    Notebook,
    Output,
    PullRequestReport,
    Side,
    Trust,
    Verdict,
)

HIGHER, LOWER = Direction.HIGHER, Direction.LOWER
BASE = Baseline(name="main", words="run 7f2c1a of main, 2 days ago", commit="9d0e771b2c4d")
MACHINE = Machine(
    words="GPU L4", duration_ms=221_000, base_duration_ms=218_000, cost=0.02, energy_wh=4, peak_memory=1_240_000_000, is_fresh=True
)
TRUST = Trust(significance="95 % paired bootstrap, n=2,500, Holm over 4 tests", gates=".mlops/gates.yml")
LINKS = [
    Link(title="notebook", url="https://github.com/o/r/blob/3f2c1ab/train.ipynb"),
    Link(title="run", url="https://ml.example.org/runs/7f2c"),
]


def image(name: str, side: Side, subject: str, effect: float = 0.5) -> Image:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Image(path=f"report_files/{name}.png", digest=digest, side=side, subject=subject, size=9_000, effect=effect)


def pair(subject: str, effect: float = 0.5) -> list[Image]:
    return [image(f"{subject}-base", Side.BASE, subject, effect), image(f"{subject}-this", Side.THIS, subject, effect)]


def passing(limit: str) -> list[Gate]:
    return [Gate(limit=limit, outcome=GateOutcome.PASS, is_failure=False)]


METRICS = [
    Metric(
        key="val_auc",
        direction=HIGHER,
        base=0.9127,
        this=0.9189,
        difference=0.0062,
        interval=(0.0011, 0.0113),
        p_value=0.012,
        verdict=MetricVerdict.BETTER,
        gates=passing("Δ ≥ −0.002"),
    ),
    Metric(
        key="log_loss",
        direction=LOWER,
        base=0.2410,
        this=0.2402,
        difference=-0.0008,
        interval=(-0.0031, 0.0016),
        p_value=0.6,
        verdict=MetricVerdict.NOISE,
        gates=passing("Δ ≤ +0.01"),
    ),
    Metric(
        key="worst_slice_auc",
        direction=HIGHER,
        base=0.861,
        this=0.848,
        difference=-0.013,
        interval=(-0.021, -0.004),
        verdict=MetricVerdict.WORSE,
    ),
    Metric(
        key="p95_latency_ms",
        direction=LOWER,
        base=5.8,
        this=6.1,
        difference=0.3,
        verdict=MetricVerdict.NOISE,
        note="single value, noise unknown",
    ),
]
CELLS = [
    Cell(
        label="[3]",
        status=CellStatus.CHANGED,
        first_line="model = HistGradientBoostingClassifier(learning_rate=lr)",
        summary="source +1 −1",
        diff="  import numpy as np\n- lr = 0.06\n+ lr = 0.12\n  model.fit(X, y)",
        effect=0.9,
    ),
    Cell(
        label="[4]",
        status=CellStatus.CHANGED,
        first_line="print(report)",
        summary="auc 0.9127 → 0.9189 (+0.0062); 2 table cells differ; picture differs in 3.2% of its pixels",
        before=[
            Output(kind="text", text="auc 0.9127\nrows 2500\ndone"),
            Output(kind="table", rows=[["plan", "auc"], ["free", "0.861"], ["pro", "0.941"]]),
            Output(kind="image", path="report_files/roc-base.png"),
        ],
        after=[
            Output(kind="text", text="auc 0.9189\nrows 2500\ndone"),
            Output(kind="table", rows=[["plan", "auc"], ["free", "0.848"], ["pro", "0.953"]]),
            Output(kind="image", path="report_files/roc-this.png"),
        ],
        effect=0.7,
    ),
]


def notebook(**fields: object) -> Notebook:
    values: dict[str, object] = {
        "key": "train.ipynb",
        "verdict": Verdict.IMPROVES,
        "headline": "val_auc +0.0062",
        "baseline": BASE,
        "metrics": METRICS,
        "params": [Change(key="lr", base="0.06", this="0.12")],
        "packages": [Change(key="scikit-learn", base="1.7.0", this="1.8.0")],
        "cells": CELLS,
        "cell_count": 12,
        "images": [
            *pair("roc"),
            *pair("confusion", 0.3),
            image("loss", Side.BOTH, "loss", 0.4),
            image("val_auc", Side.BOTH, "val_auc", 0.6),
        ],
        "machine": MACHINE,
        "links": LINKS,
        "trust": TRUST,
        "run_id": "7f2c1a" + "0" * 26,
    }
    values |= fields
    is_same = {"params": not values["params"], "data": not values.get("data"), "code": not any(c.diff for c in values["cells"])}  # type: ignore[attr-defined]
    values.setdefault("unchanged", [kind for kind, same in is_same.items() if same and values["baseline"] is not None])
    return Notebook(**values)  # type: ignore[arg-type]


def report(*notebooks: Notebook) -> PullRequestReport:
    return PullRequestReport(
        created=1_764_000_000_000,
        commit="3f2c1ab90aab",
        branch="faster-boosting",
        full_report="https://ci.example.org/artifacts/42/report.html",
        notebooks=list(notebooks),
    )


def worse() -> Notebook:
    failing = Gate(limit="Δ ≥ −0.002", outcome=GateOutcome.FAIL, is_failure=True, reason="'val_auc' is worse by 0.0112, more than 0.002.")
    auc = Metric(
        key="val_auc",
        direction=HIGHER,
        base=0.9127,
        this=0.9015,
        difference=-0.0112,
        interval=(-0.017, -0.005),
        p_value=0.001,
        verdict=MetricVerdict.WORSE,
        gates=[failing],
    )
    return notebook(verdict=Verdict.WORSE, metrics=[auc, *METRICS[1:]], headline="val_auc −0.0112")


def failed() -> Notebook:
    failure = Failure(
        cell=7,
        reason="ValueError: Input X contains NaN.",
        source="model = HistGradientBoostingClassifier()\nmodel.fit(X, y)",
        traceback='Traceback (most recent call last):\n  File "cell 7", line 2\nValueError: Input X contains NaN.',
        hint="Look at cell 7; outputs until then are in the full report.",
    )
    return notebook(verdict=Verdict.FAILED, failure=failure, metrics=METRICS[3:], images=[], cells=[], headline="")


def large(metrics: int = 500, plots: int = 300, cells: int = 5_000, *, gates: bool = False) -> Notebook:
    """A report far beyond what a comment holds."""
    rows = [
        Metric(
            key=f"metric_{n:03d}",
            direction=HIGHER,
            base=n / 7,
            this=n / 7 + 0.01,
            difference=0.01,
            verdict=MetricVerdict.NOISE,
            gates=passing("Δ ≥ −0.002") if gates or n < 3 else [],
        )
        for n in range(metrics)
    ]
    if gates:
        rows[-1] = worse().metrics[0]
    found = [each for n in range(plots // 2) for each in pair(f"plot-{n:03d}", n / plots)]
    many = [
        Cell(
            label=f"[{n}]",
            status=CellStatus.CHANGED,
            summary="1 line of text differs",
            diff=f"- x = {n}\n+ x = {n + 1}\n" * 20,
            effect=n / cells,
        )
        for n in range(cells)
    ]
    return notebook(metrics=rows, images=found, cells=many, cell_count=cells)


EXAMPLES = {
    "improves": lambda: report(notebook()),
    "worse": lambda: report(worse()),
    "noise": lambda: report(
        notebook(
            verdict=Verdict.NOISE,
            metrics=[METRICS[1], METRICS[3]],
            params=[],
            packages=[],
            cells=[],
            images=[],
            headline="log_loss −0.0008",
        )
    ),
    "not-comparable": lambda: report(
        notebook(
            verdict=Verdict.NOT_COMPARABLE,
            data=[Change(key="churn.parquet", base="3f9a…", this="81bc…")],
            metrics=[
                Metric(
                    key="val_auc",
                    direction=HIGHER,
                    base=0.9127,
                    this=0.8801,
                    verdict=MetricVerdict.NOT_COMPARABLE,
                    note="other evaluation data: 3f9a… → 81bc…",
                    gates=[Gate(limit="Δ ≥ −0.002", outcome=GateOutcome.NOT_COMPARABLE, is_failure=False)],
                )
            ],
            cells=[],
            images=[],
            headline="",
        )
    ),
    "failed": lambda: report(failed()),
    "no-baseline": lambda: report(
        notebook(
            verdict=Verdict.NO_BASELINE,
            baseline=None,
            params=[],
            packages=[],
            metrics=[
                Metric(
                    key="val_auc", direction=HIGHER, this=0.9189, gates=[Gate(limit="≥ 0.9", outcome=GateOutcome.PASS, is_failure=False)]
                )
            ],
            cells=[],
            images=[image("roc-this", Side.THIS, "roc")],
            headline="",
        )
    ),
    "several": lambda: report(
        notebook(), notebook(key="evaluation/slices.ipynb", verdict=Verdict.NOISE, images=[], cells=[]), failed_as("features.ipynb")
    ),
    "cut": lambda: report(large(metrics=400, plots=120, cells=120)),
}


def failed_as(key: str) -> Notebook:
    import msgspec

    return msgspec.structs.replace(failed(), key=key)
