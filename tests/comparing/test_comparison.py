"""Comparisons of runs: better, worse or noise, groups of seeds, what explains the change, and how it is shown."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from mlops_nb.comparing import card
from mlops_nb.comparing.comparison import compare_runs
from mlops_nb.comparing.explaining import importance_of
from mlops_nb.core.comparison import SINGLE_VALUES, MetricChange, Verdict
from mlops_nb.core.predictions import MetricSource, predictions_file, source_file
from mlops_nb.core.records import Run
from mlops_nb.core.run_folders import REQUIREMENTS_FILE, figure_file
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import ServedStore
from mlops_nb.tracking import predictions as writing
from tests.comparing.conftest import MakeRun, a_cell
from tests.comparing.test_cells import picture

Array = np.ndarray[Any, Any]


def scored(make_run: MakeRun, name: str, target: Array, prediction: Array, ids: Array | None = None, **more: Any) -> Run:
    """Record a run with the scores of predictions, and the predictions."""
    keys = writing._keys(target, (), np.arange(len(target)) if ids is None else ids)
    files = {predictions_file("v"): writing._packed(target, prediction, keys, "v", None)}
    values = {"val_auc": roc_auc_score(target, prediction)}
    labels = (prediction > 0.5).astype(int)
    files[predictions_file("labels")] = writing._packed(target, labels, keys, "labels", None)
    values["val_acc"] = accuracy_score(target, labels)
    for metric, file, function in (("val_auc", "v", "roc_auc_score"), ("val_acc", "labels", "accuracy_score")):
        source = MetricSource(metric=metric, file=predictions_file(file), function=function)
        files[source_file(metric)] = msgspec.json.encode(source)
    return make_run(name, {**values, **more.pop("metrics", {})}, files=files, **more)


def sample(rows: int = 800, seed: int = 0) -> tuple[Array, Array, np.random.Generator]:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, rows)
    return target, 0.35 + 0.3 * target + 0.3 * rng.normal(size=rows), rng


def change_of(result: Any, key: str) -> MetricChange:
    found: MetricChange = next(row for row in result.metrics if row.key == key).changes[0]
    return found


def test_a_lucky_difference_is_noise_and_a_real_one_is_better(store: ServedStore, make_run: MakeRun) -> None:
    target, guess, rng = sample()
    base = scored(make_run, "base", target, guess)
    lucky = scored(make_run, "lucky", target, guess + 0.02 * rng.normal(size=len(guess)))
    real = scored(make_run, "real", target, guess + 0.12 * (target - 0.5))
    found = compare_runs(store, [base, lucky, real])
    row = next(row for row in found.metrics if row.key == "val_auc")
    assert [change.verdict for change in row.changes] == [Verdict.NOISE, Verdict.BETTER]
    for change in row.changes:
        assert change.interval is not None and change.p_value is not None and change.difference is not None
        assert change.interval[0] <= change.difference <= change.interval[1]
        assert change.method == "paired bootstrap, n=800"
    assert next(row for row in found.metrics if row.key == "val_acc").changes[0].method == "exact McNemar, n=800"
    assert found.outcome is Verdict.BETTER and found.verdict.startswith("Best of 2: real improves on base: val_auc")
    assert "Holm over 4 tests" in found.significance
    assert compare_runs(store, [base, lucky]).verdict.startswith("lucky cannot be told from base: val_auc")


def test_many_metrics_make_each_harder_to_believe(store: ServedStore, make_run: MakeRun) -> None:
    target, guess, _ = sample(rows=300)
    rng = np.random.default_rng(12)
    base = scored(make_run, "base", target, guess)
    others = [scored(make_run, f"o{i}", target, guess + 0.04 * (target - 0.5) + 0.1 * rng.normal(size=300)) for i in range(12)]
    alone = [change_of(compare_runs(store, [base, other], metrics=["val_auc"], only=True), "val_auc").p_value for other in others]
    together = next(row for row in compare_runs(store, [base, *others], metrics=["val_auc"], only=True).metrics)
    corrected = [change.p_value for change in together.changes]
    assert all(many is not None and one is not None and many >= one for one, many in zip(alone, corrected, strict=True))
    unsure = [change for change in together.changes if "as one of 12 tests" in change.note]
    assert unsure and all(change.verdict is Verdict.NOISE for change in unsure)


def test_with_scalars_only_noise_is_unknown(store: ServedStore, make_run: MakeRun) -> None:
    found = compare_runs(store, [make_run("a", {"auc": 0.9}), make_run("b", {"auc": 0.91})])
    assert found.significance == SINGLE_VALUES
    change = change_of(found, "auc")
    assert change.verdict is Verdict.BETTER and change.interval is None


def test_other_evaluation_rows_are_not_compared_and_shared_ones_are(store: ServedStore, make_run: MakeRun) -> None:
    target, guess, _ = sample()
    ids = np.arange(800)
    base = scored(make_run, "base", target[:400], guess[:400], ids[:400])
    apart = scored(make_run, "apart", target[400:], guess[400:], ids[400:])
    change = change_of(compare_runs(store, [base, apart]), "val_auc")
    assert (change.verdict, change.difference, change.note) == (Verdict.NOT_COMPARABLE, None, "other evaluation rows")
    assert compare_runs(store, [base, apart]).verdict.startswith("apart cannot be compared with base by val_auc: other evaluation rows.")
    partly = scored(make_run, "partly", target[200:600], guess[200:600] + 0.2 * (target[200:600] - 0.5), ids[200:600])
    change = change_of(compare_runs(store, [base, partly]), "val_auc")
    expected = roc_auc_score(target[200:400], guess[200:400] + 0.2 * (target[200:400] - 0.5)) - roc_auc_score(
        target[200:400], guess[200:400]
    )
    assert change.difference == pytest.approx(expected)
    assert change.note == "on the 200 rows that both have, of 400 and 400"


def test_tests_can_be_switched_off_or_chosen(store: ServedStore, make_run: MakeRun) -> None:
    target, guess, _ = sample()
    runs = [scored(make_run, "a", target, guess), scored(make_run, "b", target, guess + 0.2 * (target - 0.5))]
    assert change_of(compare_runs(store, runs, sig="off"), "val_auc").p_value is None
    assert change_of(compare_runs(store, runs, sig="bootstrap"), "val_acc").method == "paired bootstrap, n=800"
    assert change_of(compare_runs(store, runs, sig="mcnemar"), "val_auc").p_value is None
    for wrong in ({"sig": "magic"}, {"alpha": 2.0}, {"alpha": float("nan")}, {"what": "everything"}):
        with pytest.raises(InvalidInput):
            compare_runs(store, runs, **wrong)  # type: ignore[arg-type]


def test_repeated_runs_are_compared_by_their_means(store: ServedStore, make_run: MakeRun) -> None:
    rng = np.random.default_rng(1)
    for depth, mean in (("3", 0.90), ("6", 0.95)):
        for seed in range(5):
            make_run(f"d{depth}", {"val_auc": mean + 0.004 * rng.normal()}, params={"depth": depth, "seed": str(seed)})
    make_run("else", {"val_auc": 0.1}, params={"depth": "9", "seed": "1"})
    runs = {run.name: run for run in store.search_runs(query()).items}
    found = compare_runs(store, [runs["d3"], runs["d6"]], by="seed")
    assert found.labels == ("d3 ×5", "d6 ×5")
    change = change_of(found, "val_auc")
    assert change.verdict is Verdict.BETTER and change.method == "Welch, 5 and 5 runs"
    assert [row.key for row in found.params if row.changed] == ["depth"]
    grouped = compare_runs(store, store.search_runs(query()).items[::-1], by="depth", expand=False)
    assert grouped.labels == ("depth=3 ×5", "depth=6 ×5", "depth=9 ×1")
    with pytest.raises(InvalidInput, match="No run has"):
        compare_runs(store, list(runs.values()), by="dept")
    with pytest.raises(InvalidInput, match="nothing to compare"):
        compare_runs(store, [runs["d3"], runs["d3"]], by="seed", expand=False)


def query() -> Any:
    from mlops_nb.store.base import RunQuery

    return RunQuery()


def test_what_explains_the_change_is_ranked(store: ServedStore, make_run: MakeRun) -> None:
    rng = np.random.default_rng(3)
    for i in range(20):
        rate = 0.1 + 0.05 * i
        make_run(f"s{i}", {"val_auc": 0.5 + 0.3 * rate}, params={"lr": f"{rate:.2f}", "colour": str(rng.choice(["red", "blue"]))})
    base = make_run(
        "a",
        {"val_auc": 0.6},
        params={"lr": "0.1", "colour": "red", "seed": "1"},
        files={REQUIREMENTS_FILE: b"numpy==1.26\nleft-pad==1.0\n"},
    )
    other = make_run(
        "b",
        {"val_auc": 0.8},
        params={"lr": "0.9", "colour": "blue", "seed": "2"},
        files={REQUIREMENTS_FILE: b"numpy==2.1\nleft-pad==1.1\n"},
        cells=[a_cell(0, "import numpy", "i")],
    )
    causes = {cause.name: cause.weight for cause in compare_runs(store, [base, other]).causes}
    assert next(iter(causes)) == "lr" and causes["lr"] > 0.9
    assert causes["lr"] > causes["numpy"] > causes["left-pad"]
    assert causes["lr"] > causes["colour"] and causes["lr"] > causes["seed"]


def test_importance_needs_enough_runs_and_takes_chance_off(make_run: MakeRun) -> None:
    rng = np.random.default_rng(4)
    runs = [make_run(f"r{i}", {"auc": float(rng.normal())}, params={"lr": str(i), "kind": "ab"[i % 2]}) for i in range(60)]
    assert importance_of("lr", "auc", runs[:7]) is None
    for param in ("lr", "kind"):
        found = importance_of(param, "auc", runs)
        assert found is not None and found[0] < 0.2


# -- how it is shown


HOSTILE = "<script>alert(1)</script> =1+1 `|x` [a](javascript:b) \x1b[31m \u202e & \" ' {{7*7}} ```"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def hostile_pair(make_run: MakeRun) -> list[Run]:
    cells = [[a_cell(i, f"print({n})\n# {HOSTILE}\n```", f"c{i}", outputs=HOSTILE * n) for i in range(30)] for n in (1, 2)]
    return [
        make_run(
            HOSTILE + name,
            {f"m{i}": float(i * (n + 1)) for i in range(60)},
            params={f"p{i}": f"{HOSTILE}{n}" for i in range(60)},
            cells=cells[n],
            files={figure_file(0, 1, ".png"): picture((n * 90, 0, 0))},
        )
        for n, name in enumerate("ab")
    ]


def test_the_card_holds_no_script_however_runs_are_called_and_stays_small(store: ServedStore, make_run: MakeRun) -> None:
    found = compare_runs(store, hostile_pair(make_run))
    for what in ("all", *card.PARTS):
        html = card.html_of(found, what)
        assert len(html.encode()) <= card.MAX_BYTES
        parser = _Tags()
        parser.feed(html)
        assert parser.tags <= {
            "div",
            "b",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "details",
            "summary",
            "code",
            "span",
            "pre",
            "svg",
            "line",
            "circle",
        }
        assert not parser.handlers
        text = card.text_of(found, what)
        assert "\x1b" not in text and "\u202e" not in text
    bundle = found._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}


def test_a_usual_card_says_it_all_at_once(store: ServedStore, make_run: MakeRun) -> None:
    target, guess, _ = sample()
    base = scored(make_run, "first", target, guess, params={"lr": "0.06"}, cells=[a_cell(0, "lr = 0.06", "a")])
    other = scored(make_run, "second", target, guess + 0.2 * (target - 0.5), params={"lr": "0.12"}, cells=[a_cell(0, "lr = 0.12", "a")])
    found = compare_runs(store, [base, other])
    text = str(found)
    assert text.splitlines()[0].startswith("second improves on first: val_auc ")
    assert re.search(r"val_auc ↑ .* \+0\.\d+ \[\+0\.\d+, \+0\.\d+\]  ▲ better", text)
    assert "changed: lr 0.06 → 0.12" in text and "1 of 1 cells changed" in text
    html = card.html_of(found)
    assert html.count("<svg") == 2 and "<details" in html and "▲ better" in html


def test_only_changed_leaves_noise_and_sameness_out(store: ServedStore, make_run: MakeRun) -> None:
    runs = [
        make_run("a", {"auc": 0.9, "same": 1.0}, params={"x": "1", "y": "1"}),
        make_run("b", {"auc": 0.8, "same": 1.0}, params={"x": "2", "y": "1"}),
    ]
    text = str(compare_runs(store, runs, only_changed=True))
    assert "auc" in text and "same ↑" not in text
    assert "y" not in str(compare_runs(store, runs, what="params", only_changed=True)).split("x", 1)[1]


def test_a_comparison_is_written_as_markdown_html_and_csv(store: ServedStore, make_run: MakeRun, tmp_path: Path) -> None:
    found = compare_runs(store, hostile_pair(make_run))
    for name in ("c.md", "c.html", "c.csv"):
        assert found.export(tmp_path / name).stat().st_size > 1000
    html = (tmp_path / "c.html").read_text()
    assert "<script" not in html and "What may explain it" in html and "cells changed" in html
    markdown = (tmp_path / "c.md").read_text()
    assert "````diff" in markdown  # longer than the fence within
    assert "<script>" not in re.sub(r"(?ms)^````diff$.*?^````$", "", markdown)
    rows = list(csv.reader((tmp_path / "c.csv").open()))
    assert rows[0][:3] == ["metric", "direction", "run"] and len(rows) == 1 + 60 + 2 + 60
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row if not re.fullmatch(r"[-+]?[\d.]+(e-?\d+)?", cell))
    with pytest.raises(InvalidInput, match=r"\.md, \.html or \.csv"):
        found.export(tmp_path / "c.xlsx")


def test_formulas_in_names_are_text_to_a_spreadsheet(store: ServedStore, make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run(name, {"auc": 0.5}, params={"f": "=HYPERLINK(1)", "n": "-3"}) for name in ("=cmd()", "@SUM(1)")]
    text = compare_runs(store, runs).export(tmp_path / "c.csv").read_text()
    assert "'@SUM(1)" in text and "'=HYPERLINK(1)" in text and ",-3," in text


def test_the_table_has_a_row_for_each_metric_and_run(store: ServedStore, make_run: MakeRun) -> None:
    frame = compare_runs(store, [make_run(name, {"auc": value, "loss": 1.0}) for name, value in (("a", 0.5), ("b", 0.6), ("c", 0.7))]).df
    assert frame[["metric", "run", "verdict"]].values.tolist() == [
        ["auc", "b", "better"],
        ["auc", "c", "better"],
        ["loss", "b", "same"],
        ["loss", "c", "same"],
    ]


def test_secrets_are_taken_out_of_what_is_passed_on(store: ServedStore, make_run: MakeRun) -> None:
    secret = "ghp_" + "a1B2" * 9
    runs = [make_run(f"r{n}", {"auc": n / 2}, params={"token": secret}, cells=[a_cell(0, f"login('{secret}') # {n}", "c")]) for n in (0, 1)]
    found = compare_runs(store, runs)
    for text in (str(found), found.to_markdown(), found.to_html(), card.html_of(found)):
        assert secret not in text
