"""How a magic's line is split: words, options, and expressions that hold blanks."""

from __future__ import annotations

import pytest

from mlops_nb.errors import InvalidInput
from mlops_nb.magics.arguments import split_assignment, split_words
from mlops_nb.magics.track import begin_of_track_cell


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("start", ["start"]),
        ("log a=1 b=2", ["log", "a=1", "b=2"]),
        ("log auc=roc_auc_score(y, p) loss=a - b --step i + 1", ["log", "auc=roc_auc_score(y, p)", "loss=a - b", "--step", "i + 1"]),
        ("log ok=x == 3", ["log", "ok=x == 3"]),
        ("log a=f(b=1, c='x y')[0]", ["log", "a=f(b=1, c='x y')[0]"]),
        ("log val/auc=1 a.b-c=2", ["log", "val/auc=1", "a.b-c=2"]),
        ('start "two words" -n "it\'s" -t x', ["start", '"two words"', "-n", '"it\'s"', "-t", "x"]),
        ("start n -p lr=0.1 * 2 -p name='a b'", ["start", "n", "-p", "lr=0.1 * 2", "-p", "name='a b'"]),
        ("log a=-1 b=-x", ["log", "a=-1", "b=-x"]),
        ("ls metrics.auc > .5 and params.lr = '0.1' -n 3", ["ls", "metrics.auc", ">", ".5", "and", "params.lr", "=", "'0.1'", "-n", "3"]),
        ("log a={1: 2}[1] b=[i for i in (1, 2)][0]", ["log", "a={1: 2}[1]", "b=[i for i in (1, 2)][0]"]),
    ],
)
def test_a_line_is_split_where_a_person_would(line: str, words: list[str]) -> None:
    assert split_words(line) == words


@pytest.mark.parametrize("line", ["log a='open", "log a=f(1", 'start "x'])
def test_what_is_not_closed_is_an_error(line: str) -> None:
    with pytest.raises(InvalidInput, match="not closed"):
        split_words(line)


def test_a_comparison_is_no_assignment() -> None:
    assert split_assignment("a==1") is None and split_assignment("a=1") == ("a", "1")


@pytest.mark.parametrize(
    "cell",
    ["%%tracker x\n1", "x = 1\n%%track a\n", "%%time\n1", "# %%track\n", "%track start\n"],
)
def test_other_cells_are_left_alone(cell: str) -> None:
    lines = cell.splitlines(keepends=True)
    assert begin_of_track_cell(lines) == lines


def test_a_track_cell_keeps_its_line_numbers() -> None:
    lines = begin_of_track_cell(["%%track 'a b' -p lr=f(\"x\")\n", "x = 1\n"])
    assert len(lines) == 2 and lines[1] == "x = 1\n"
    compile("".join(lines), "cell", "exec")
