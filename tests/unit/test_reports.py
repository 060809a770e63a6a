"""Reports from a real store: what they contain, in which order, and how they reach the disk."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from matplotlib.figure import Figure
from PIL import Image as Pillow

from mlops_nb.core.events import CellRan, MetricLogged, ParamLogged, RunEnded, RunStarted, TagSet
from mlops_nb.core.formatting import format_duration
from mlops_nb.core.records import TAG_GIT_BRANCH, TAG_GIT_COMMIT, TAG_NOTE, TAG_NOTEBOOK, CellExecution, CellOutcome, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, MissingDependencyError, MlopsError, PermissionDenied
from mlops_nb.reports import build_report, write_report
from mlops_nb.reports.figures import draw_figures
from mlops_nb.reports.outline import format_size
from mlops_nb.store.base import TrackingStore
from mlops_nb.store.open import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrackingStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'store' / 'store.db'}", create=True)
    assert opened is not None
    yield opened
    opened.close()


def png() -> bytes:
    stream = io.BytesIO()
    Figure(figsize=(1, 1)).savefig(stream, format="png")
    return stream.getvalue()


def record(
    store: TrackingStore,
    name: str,
    number: int,
    *,
    curves: Mapping[str, Sequence[float | str]] | None = None,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    cells: Sequence[str] = (),
    artifacts: Mapping[str, bytes] | None = None,
    status: RunStatus = RunStatus.FINISHED,
    reason: str | None = None,
) -> Run:
    """Record a run whose id consists of one digit."""
    run_id = f"{number:x}" * 32
    events: list[msgspec.Struct] = [RunStarted(seq=1, ts=1_000, experiment="tests", name=name, user="ada", tags=dict(tags or {}))]

    def add(kind: type, **fields: object) -> None:
        events.append(kind(seq=len(events) + 1, ts=1_000 + 10 * len(events), **fields))

    for key, value in (params or {}).items():
        add(ParamLogged, key=key, value=value)
    for key, values in (curves or {}).items():
        for step, point in enumerate(values):
            add(MetricLogged, key=key, value=point, step=step, cell=0 if cells else None)
    for index, source in enumerate(cells):
        outcome = CellOutcome.ERROR if "raise" in source else CellOutcome.OK
        hashed = f"{abs(hash(source)):064x}"
        cell = CellExecution(index=index, source=source, source_hash=hashed, started=1_000, duration_ms=1_234, outcome=outcome)
        add(CellRan, cell=cell)
    add(TagSet, key="stage", value="dev")
    add(RunEnded, status=status, reason=reason)
    store.ingest(run_id, run_id, events)  # type: ignore[arg-type]
    for path, content in (artifacts or {}).items():
        store.write_artifact(run_id, path, io.BytesIO(content))
    return store.get_run(run_id)


def record_pair(store: TrackingStore) -> list[Run]:
    """Two runs of one notebook: the second one is better, slower and has another learning rate."""
    git = {TAG_NOTEBOOK: "train.ipynb", TAG_GIT_BRANCH: "main"}
    base = record(
        store,
        "gentle",
        1,
        curves={"val_auc": [0.9127], "val_loss": [0.9, 0.6, 0.5], "fit_seconds": [1.5]},
        params={"lr": "0.06", "depth": "3"},
        tags={**git, TAG_GIT_COMMIT: "a" * 40},
        cells=["\nlr = 0.06\ndepth = 3", "fit()"],
        artifacts={"confusion.png": png(), "model/weights.bin": b"x" * 2_500},
    )
    other = record(
        store,
        "eager",
        2,
        curves={"val_auc": [0.9189], "val_loss": [0.8, "NaN", 0.3], "fit_seconds": [2.5]},
        params={"lr": "0.12", "depth": "3"},
        tags={**git, TAG_GIT_COMMIT: "b" * 40, "mlops.git.dirty": "true", TAG_NOTE: "first\nattempt"},
        cells=["lr = 0.12", "fit()"],
        artifacts={"confusion.png": png()},
    )
    return [base, other]


def written(store: TrackingStore, runs: Sequence[Run], folder: Path) -> tuple[str, str]:
    write_report(build_report(store, runs), markdown=folder / "report.md", html=folder / "report.html")
    return (folder / "report.md").read_text("utf-8"), (folder / "report.html").read_text("utf-8")


def test_a_comparison_answers_in_the_order_in_which_a_reviewer_asks(store: TrackingStore, tmp_path: Path) -> None:
    markdown, page = written(store, record_pair(store), tmp_path)
    lines = [line for line in markdown.splitlines() if line]
    assert lines[0] == "<!-- mlops-nb:report:train.ipynb -->"
    assert lines[1] == (
        "### ✅ `eager` improves on `gentle`: `val_auc` 0.9127 → 0.9189 (+0.0062). Of the other metrics: 1 better, 1 worse."
    )
    assert lines[2] == "`train.ipynb` · 2 runs, the first is the base · single values, noise unknown"
    titles = re.findall(r"^#### (.+)$", markdown, re.MULTILINE)
    assert titles == ["Metrics", "What changed", "Runs", "Plots", "Logged images"]
    assert [re.sub(r"<[^>]+>", "", title) for title in re.findall(r"<summary>(.+)</summary>", markdown)] == [
        "2 params, 1 changed",
        "2 cells of gentle",
        "2 cells of eager",
        "6 tags",
        "2 artifacts of gentle",
        "1 artifact of eager",
    ]
    assert re.findall(r"<h2>(.+)</h2>", page) == titles


def test_the_tables_show_differences_changes_and_where_the_runs_come_from(store: TrackingStore, tmp_path: Path) -> None:
    markdown, _ = written(store, record_pair(store), tmp_path)
    for line in (
        "| `val_auc` ↑ | 0.9127 | **0.9189** | **+0.0062** | ▲ better |",
        "| `fit_seconds` ↓ | 1.5000 | 2.5000 | +1.0000 | **▼ worse** |",
        "- **params** `lr` `0.06` → `0.12`",
        "- **git** `aaaaaaa` → `bbbbbbb`",
        "- **code** 1 cell not in the base (marked ≠ below)",
        "- `eager` notes: `first attempt`",
        "| ≠ `lr` | `0.06` | `0.12` |",
        "| 0 ≠ | 1.2 s | ✓ ok | `lr = 0.12` | `fit_seconds, val_auc, val_loss` |",
        "| `model/weights.bin` | 2.5 kB | `application/octet-stream` |",
    ):
        assert line in markdown.splitlines(), line
    assert "`bbbbbbb` + changes on `main`" in markdown


def test_one_run_is_reported_with_its_best_values(store: TrackingStore, tmp_path: Path) -> None:
    markdown, _ = written(store, record_pair(store)[1:], tmp_path)
    assert "### ✅ `eager` finished: `val_auc` 0.9189" in markdown
    assert "| `val_loss` ↓ | 0.3000 | 0.3000 | 2 | 3 |" in markdown
    assert "noise" not in markdown
    assert "What changed" not in markdown


def test_a_failed_run_says_so_first_and_why(store: TrackingStore, tmp_path: Path) -> None:
    run = record(store, "b", 3, cells=["raise KeyError('x')"], status=RunStatus.FAILED, reason="KeyError: 'x' in cell 1")
    markdown, page = written(store, [run], tmp_path)
    assert "### ❌ `b` failed (`KeyError: 'x' in cell 1`)." in markdown
    assert "**✗ error**" in markdown
    assert "No metrics were logged." in page


def test_at_most_eight_metrics_are_above_the_fold(store: TrackingStore, tmp_path: Path) -> None:
    run = record(store, "many", 4, curves={f"m{i:02d}": [float(i)] for i in range(20)})
    markdown, _ = written(store, [run, run], tmp_path)
    above, below = markdown.split("<summary>12 more metrics</summary>")
    assert above.count("= same") == 8
    assert below.count("= same") == 12


def test_many_runs_become_rows(store: TrackingStore, tmp_path: Path) -> None:
    runs = [record(store, f"run-{i}", i, curves={"val_auc": [0.5 + i / 100]}) for i in range(1, 8)]
    markdown, _ = written(store, runs, tmp_path)
    assert "Best of 6: `run-7` improves on `run-1`" in markdown
    assert "| `run-7` | 0.5700 ▲ +0.0600 |" in markdown


def test_huge_runs_give_a_bounded_report(store: TrackingStore, tmp_path: Path) -> None:
    run = record(store, "huge", 5, params={f"p{i:04d}": "v" * 6_000 for i in range(1_000)}, cells=["x = 1\n" * 2_000] * 3)
    markdown, _ = written(store, [run], tmp_path)
    assert len(markdown) < 60_000
    assert "800 more rows are left out." in markdown


def test_secrets_do_not_reach_a_report(store: TrackingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_API_KEY", "value-of-the-environment")
    run = record(
        store,
        "r",
        6,
        params={"password": "hunter2-hunter2", "url": "https://me:s3cretpass@host/x"},
        cells=["connect('value-of-the-environment')"],
        reason="bad value-of-the-environment",
        status=RunStatus.FAILED,
    )
    for text in written(store, [run], tmp_path):
        assert "[redacted" in text
        for secret in ("hunter2", "s3cretpass", "value-of-the-environment"):
            assert secret not in text


def test_the_images_of_the_markdown_are_real_and_lie_beside_it(store: TrackingStore, tmp_path: Path) -> None:
    paths = write_report(build_report(store, record_pair(store)), markdown=tmp_path / "my report.md")
    text = paths[0].read_text("utf-8")
    images = sorted((tmp_path / "my report_files").iterdir())
    assert [path.name for path in images] == ["01-differences.png", "02-val-loss.png", "artifact-01.png", "artifact-02.png"]
    assert sorted(paths[1:]) == images
    for path in images:
        with Pillow.open(path) as image:
            image.verify()
        assert f"(my%20report_files/{path.name})" in text


def test_a_file_that_only_claims_to_be_an_image_is_not_shown(store: TrackingStore) -> None:
    artifacts = {"fake.png": b"<svg onload=alert(1)>", "real.png": png(), "big.png": png() + b"\0" * 1_100_000}
    report = build_report(store, [record(store, "r", 7, artifacts=artifacts)])
    assert [picture.path for picture in report.parts[0].pictures] == ["real.png"]


def test_figures_can_be_left_out_and_are_asked_for_by_name_where_matplotlib_is_missing(
    store: TrackingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = build_report(store, record_pair(store))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mlops-nb\[report\]'"):
        write_report(report, markdown=tmp_path / "a.md")
    assert not (tmp_path / "a.md").exists()
    write_report(report, markdown=tmp_path / "a.md", figures=False)
    assert "Plots" not in (tmp_path / "a.md").read_text("utf-8")


def test_drawing_leaves_pyplot_and_the_settings_of_the_user_alone() -> None:
    program = """
import matplotlib, sys
matplotlib.rcParams["text.usetex"] = True
before = matplotlib.rcParams.copy()
from mlops_nb.core.comparison import compare
from mlops_nb.core.records import Metric, Run, Series
from mlops_nb.core.run_state import RunStatus
from mlops_nb.reports.content import Report, RunPart
from mlops_nb.reports.figures import draw_figures
metric = Metric(key="loss", value=1.0, timestamp=0)
run = Run(run_id="1" * 32, experiment_id="1", name="r", status=RunStatus.FINISHED, start_time=0, metrics={"loss": metric})
series = Series(key="loss", total=2, points=[(0, 0, 2.0), (1, 0, 1.0)])
part = RunPart(run=run, label="r", series=[series], cells=[], artifacts=[], pictures=[])
assert draw_figures(Report(title="t", created=0, comparison=compare(run, []), parts=(part,)))
assert "matplotlib.pyplot" not in sys.modules
assert matplotlib.rcParams.copy() == before
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    "values",
    [
        ["NaN", "NaN", 1.0, "Infinity", 2.0],
        [1e-12, 1.0, 1e12],
        [0.0, -5.0, 3.0],
        [1.0, 1.0, 1.0],
        [1.7e308, -1.7e308, 0.0, 1.0],
        [1e299, -1e299],
        [5e-324, 1.0],
    ],
)
def test_any_series_of_numbers_can_be_drawn(store: TrackingStore, values: list[float | str]) -> None:
    runs = [record(store, f"$r{i}^ 🚀 | <b>", i, curves={"loss_$x$": values, "val_a": [float(i), 2.0]}) for i in (1, 2)]
    images = draw_figures(build_report(store, runs))
    assert images
    for image in images:
        assert image.dark is not None
        for content in (image.light, image.dark):
            with Pillow.open(io.BytesIO(content)) as picture:
                assert picture.width > 400
                assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 10


def test_without_a_single_finite_value_there_is_nothing_to_draw(store: TrackingStore) -> None:
    assert draw_figures(build_report(store, [record(store, "r", 1, curves={"loss": ["NaN", "Infinity"]})])) == []


def test_a_report_replaces_an_earlier_one_whole_and_leaves_no_scraps(store: TrackingStore, tmp_path: Path) -> None:
    runs = record_pair(store)
    target = tmp_path / "deep" / "down"
    for _ in range(2):
        written(store, runs, target)
    assert sorted(path.name for path in target.iterdir()) == ["report.html", "report.md", "report_files"]


def test_a_folder_that_may_not_be_written_is_named_in_the_error(store: TrackingStore, tmp_path: Path) -> None:
    report = build_report(store, record_pair(store))
    draw_figures(report)  # Matplotlib reads its settings from the home folder at first use, as whoever that belongs to
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o555)
    user = os.geteuid()
    if user == 0:  # to root every folder is open
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionDenied, match=r"may not be written to .*report\.html"):
            write_report(report, html=folder / "report.html")
    finally:
        os.seteuid(user)
    assert list(folder.iterdir()) == []


def test_a_place_that_is_no_folder_is_an_error_of_one_line(store: TrackingStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MlopsError, match=r"could not be written to .*: (Not a directory|File exists)"):
        write_report(build_report(store, record_pair(store)), markdown=tmp_path / "file" / "report.md", figures=False)


def test_a_report_needs_runs_and_a_place(store: TrackingStore) -> None:
    with pytest.raises(InvalidInput, match="at least one run"):
        build_report(store, [])
    with pytest.raises(InvalidInput, match="no place to go"):
        write_report(build_report(store, record_pair(store)))


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "–"),
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.0 s"),
        (59_960, "1 min 00 s"),
        (221_000, "3 min 41 s"),
        (7_500_000, "2 h 05 min"),
    ],
)
def test_durations_read_as_people_say_them(milliseconds: float | None, text: str) -> None:
    assert format_duration(milliseconds) == text


@pytest.mark.parametrize(("size", "text"), [(None, "–"), (0, "0 B"), (999, "999 B"), (2_500, "2.5 kB"), (3_100_000, "3.1 MB")])
def test_sizes_read_as_people_say_them(size: int | None, text: str) -> None:
    assert format_size(size) == text
