"""Two runs cell by cell: pairs, diffs, outputs."""

from __future__ import annotations

import base64
import io
import json
import time
from typing import Any

import pytest

from mlops_nb.comparing.cells import CellPair, CellStatus, align, compare_cells, source_diff
from mlops_nb.comparing.outputs import compare_outputs, stable
from mlops_nb.core.run_folders import figure_file, shown_file
from mlops_nb.store.base import ServedStore
from tests.comparing.conftest import MakeRun, a_cell


def text(shown: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": shown}


def data(**kinds: str) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {key.replace("_", "/"): value for key, value in kinds.items()}, "metadata": {}}


def picture(colour: tuple[int, int, int], dots: int = 0, size: tuple[int, int] = (320, 240)) -> bytes:
    from PIL import Image

    image = Image.new("RGB", size, colour)
    for at in range(dots):
        image.putpixel((at % size[0], at // size[0]), (0, 0, 0))
    content = io.BytesIO()
    image.save(content, "png")
    return content.getvalue()


def statuses(pairs: list[CellPair]) -> list[tuple[str, str | None, str | None]]:
    return [(pair.status.value, pair.base and pair.base.cell_id, pair.other and pair.other.cell_id) for pair in pairs]


def test_cells_are_paired_by_id_across_inserts_removals_and_moves(store: ServedStore, make_run: MakeRun) -> None:
    base = make_run("a", cells=[a_cell(i, f"value_{c} = {i}", c) for i, c in enumerate("abcde")])
    other = make_run(
        "b",
        cells=[
            a_cell(0, "value_a = 0", "a"),
            a_cell(1, "plot(new)", "n"),
            a_cell(2, "value_d = 3", "d"),
            a_cell(3, "value_b = 1", "b"),
            a_cell(4, "value_c = 99", "c"),
        ],
    )
    assert statuses(compare_cells(store, base, other)) == [
        ("same", "a", "a"),
        ("added", None, "n"),
        ("moved", "d", "d"),
        ("removed", "e", None),
        ("same", "b", "b"),
        ("changed", "c", "c"),
    ]


def test_cells_without_ids_are_paired_by_source_then_by_likeness() -> None:
    before = [a_cell(0, "import numpy as np"), a_cell(1, "model = Forest(depth=3).fit(X, y)"), a_cell(2, "print(score)")]
    now = [a_cell(0, "print(score)"), a_cell(1, "model = Forest(depth=9, seed=1).fit(X, y)"), a_cell(2, "zzz + qqq")]
    assert align(before, now) == [(0, None), (2, 0), (1, 1), (None, 2)]


def test_a_cell_that_ran_often_counts_once_with_its_last_execution(store: ServedStore, make_run: MakeRun) -> None:
    base = make_run("a", cells=[a_cell(0, "x = 1", "x"), a_cell(1, "x = 2", "x"), a_cell(2, "x = 3", "x")])
    other = make_run("b", cells=[a_cell(0, "x = 4", "x")])
    (pair,) = compare_cells(store, base, other)
    assert pair.base is not None and pair.other is not None
    assert (pair.base.source, pair.base.times, pair.other.source) == ("x = 3", 3, "x = 4")
    assert pair.source_diff == [("-", "x = 3"), ("+", "x = 4")]


def test_a_diff_has_every_line_once() -> None:
    assert source_diff(["a", "b", "c"], ["a", "x", "c", "d"]) == [("=", "a"), ("-", "b"), ("+", "x"), ("=", "c"), ("+", "d")]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("done in 3.2 s", "done in 14 s"),
        ("CPU times: user 3 ms, sys: 1 ms\nWall time: 4 ms", "CPU times: user 8 ms, sys: 2 ms\nWall time: 19 ms"),
        ("<Model at 0x7f3a2b1c9d10>", "<Model at 0x7f0000009d10>"),
        ("run 0123456789abcdef0123456789abcdef", "run ffffffffffffffffffffffffffffffff"),
        ("100%|██████████| 60/60 [00:03<00:00, 17.9it/s]\nok", "100%|██████████| 60/60 [00:09<00:00, 6.5it/s]\nok"),
        ("10%|█         | 1/10\r100%|██████████| 10/10\nok", "100%|██████████| 10/10\nok"),
        ("saved at 2026-01-02 10:11:12", "saved at 2026-03-04 01:02:03"),
        ("auc 0.91230000001", "auc 0.91230000002"),
        ("\x1b[31mred\x1b[0m", "red"),
    ],
)
def test_what_means_nothing_is_no_change(before: str, now: str) -> None:
    assert not compare_outputs([text(before)], [text(now)]).changed, (stable(before), stable(now))


def test_numbers_are_told_with_their_difference() -> None:
    found = compare_outputs([text("val_auc: 0.9127 after 10 epochs")], [text("val_auc: 0.9189 after 10 epochs")])
    assert found.changed
    assert found.notes == ["val_auc 0.9127 → 0.9189 (+0.006200)"]
    assert [(one.label, one.before, one.now) for one in found.numbers] == [("val_auc", 0.9127, 0.9189)]


def test_texts_that_differ_in_words_are_told_in_lines() -> None:
    assert compare_outputs([text("a\nb\nc")], [text("a\nx\nc")]).notes == ["1 line of text differ"]


def test_a_table_is_compared_cell_by_cell() -> None:
    table = "<table><tr><th></th><th>auc</th><th>n</th></tr><tr><th>rf</th><td>{}</td><td>10</td></tr></table>"
    found = compare_outputs([data(text_html=table.format("0.91"))], [data(text_html=table.format("0.93"))])
    assert found.notes == ["1 table cell differ: rf auc 0.9100 → 0.9300 (+0.02000)"]
    assert not compare_outputs([data(text_html=table.format("0.91"))], [data(text_html=table.format("0.9100000001"))]).changed


def test_pictures_are_compared_by_their_pixels() -> None:
    def shown(content: bytes) -> list[dict[str, Any]]:
        return [data(image_png=base64.b64encode(content).decode())]

    assert not compare_outputs(shown(picture((255, 0, 0))), shown(picture((254, 1, 2)))).changed
    assert not compare_outputs(shown(picture((255, 0, 0))), shown(picture((255, 0, 0), dots=20))).changed
    assert compare_outputs(shown(picture((255, 0, 0))), shown(picture((255, 0, 0), dots=9000))).notes == [
        "picture differs in 11.7% of its pixels"
    ]
    assert compare_outputs(shown(picture((255, 0, 0))), shown(b"broken")).changed


def test_outputs_that_came_and_went_are_told_apart_from_those_that_changed() -> None:
    before = [text("loss 0.5\n"), data(image_png="AAAA"), text("done\n")]
    assert compare_outputs(before, [before[0], before[2]]).notes == ["picture gone"]
    assert compare_outputs([before[0]], [data(image_png="AAAA"), text("loss 0.4\n")]).notes == [
        "picture added",
        "loss 0.5000 → 0.4000 (−0.1000)",
    ]


def test_outputs_come_from_the_ledger_else_from_the_executed_notebook(store: ServedStore, make_run: MakeRun) -> None:
    notebook = {"cells": [{"id": "p", "cell_type": "code", "outputs": [text("auc 0.5\n")]}]}
    base = make_run("a", cells=[a_cell(3, "show()", "p")], files={"notebook/n.ipynb": json.dumps(notebook).encode()})
    files = {
        shown_file(3): json.dumps([text("auc 0.7\n"), {"figure": 1}]).encode(),
        figure_file(3, 1, ".png"): picture((0, 0, 255)),
    }
    other = make_run("b", cells=[a_cell(3, "show()", "p")], files=files)
    (pair,) = compare_cells(store, base, other)
    assert pair.status is CellStatus.CHANGED and not pair.source_changed
    assert pair.base is not None and pair.other is not None
    assert [one["output_type"] for one in pair.base.outputs] == ["stream"]
    assert [one["output_type"] for one in pair.other.outputs] == ["stream", "display_data"]
    assert pair.summary == "auc 0.5000 → 0.7000 (+0.2000); picture added"


def test_hostile_files_of_outputs_do_no_harm(store: ServedStore, make_run: MakeRun) -> None:
    for content in (b"{", b"null", b'[1, {"output_type": "display_data", "data": 3}]', b'{"cells": [{"id": 3}]}', b"\xff" * 10):
        run = make_run("a", cells=[a_cell(0, "x", "x")], files={shown_file(0): content, "notebook/n.ipynb": content})
        assert len(compare_cells(store, run, run)) == 1


def test_inputs_that_come_from_something_else_are_named(store: ServedStore, make_run: MakeRun) -> None:
    def cells(rate: str) -> list[Any]:
        return [
            a_cell(0, f"lr = {rate}", "lr", writes=["lr"]),
            a_cell(1, "X = load()", "X", writes=["X"]),
            a_cell(2, "model = fit(X, lr)", "fit", reads=["X", "lr"], writes=["model"]),
            a_cell(3, "auc = score(model, X)", "score", reads=["X", "model"], writes=["auc"]),
        ]

    base, other = make_run("a", cells=cells("0.06")), make_run("b", cells=cells("0.12"))
    pairs = {pair.other.cell_id: pair for pair in compare_cells(store, base, other) if pair.other}
    assert [pairs[name].inputs for name in ("lr", "X", "fit", "score")] == [[], [], ["lr"], ["model"]]
    assert pairs["score"].status is CellStatus.SAME
    assert pairs["score"].summary == "reads model from what differs"


def test_sixty_cells_with_plots_take_less_than_a_second_and_a_half(store: ServedStore, make_run: MakeRun) -> None:
    def run(name: str, shift: int) -> Any:
        cells = [a_cell(i, f"plot({i})\nprint('auc', {i})", f"c{i}") for i in range(60)]
        files = {shown_file(i): json.dumps([{"figure": 1}, text(f"auc 0.{i + shift}")]).encode() for i in range(60)}
        files |= {figure_file(i, 1, ".png"): picture((i, 200, 10 + shift), dots=5000 * shift, size=(640, 480)) for i in range(60)}
        return make_run(name, cells=cells, files=files)

    base, other = run("a", 0), run("b", 1)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        pairs = compare_cells(store, base, other)
        best = min(best, time.perf_counter() - began)
    assert len(pairs) == 60
    assert all(pair.outputs.changed for pair in pairs)
    assert best < 1.5, best
