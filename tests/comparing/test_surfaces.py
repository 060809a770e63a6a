"""`%compare`, `mlops-nb compare` and `mlops_nb.compare`: the same words, the same answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from IPython.core.interactiveshell import InteractiveShell

import mlops_nb
from mlops_nb.cli import commands
from mlops_nb.comparing.comparison import Comparison
from mlops_nb.errors import MlopsError
from mlops_nb.magics.comparing import CompareMagics
from mlops_nb.magics.completion import TrackCompleter
from mlops_nb.magics.scoring import evaluate
from mlops_nb.tracking import scores
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.session import Session


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session in a project with four runs."""
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLOPS_NB_TRACKING_URI", "MLOPS_NB_CAPTURE", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sessions, "current", current := Session())
    for number, name in enumerate(("old", "base", "hgb", "rf")):
        with mlops_nb.start_run(name, params={"depth": number}) as run:
            run.log(val_auc=0.9 + number / 100, loss=0.5 - number / 10)
    current.flush(30)
    yield current
    current.close()


class Magic:
    """`%compare` in a shell of its own."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shell = InteractiveShell()
        self.magics = CompareMagics(self.shell, self.said.append)

    def __call__(self, line: str) -> Any:
        return self.magics.compare(line)


@pytest.fixture
def magic(session: Session) -> Iterator[Magic]:
    magic = Magic()
    yield magic
    magic.shell.history_manager.end_session()


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        ("", ("hgb", "rf")),
        ("old hgb rf", ("old", "hgb", "rf")),
        ("@best:val_auc @last~2", ("rf", "base")),
        ("last 3", ("base", "hgb", "rf")),
        ("val_auc > .905 and val_auc < .925", ("base", "hgb")),
        ("old rf --base hgb", ("hgb", "old", "rf")),
        ("--base old", ("old", "rf")),
        ("old", ("old", "rf")),
        ("run rf", ("old", "rf")),
    ],
)
def test_runs_are_named_in_every_way(magic: Magic, line: str, labels: tuple[str, ...]) -> None:
    magic.shell.user_ns["run"] = mlops_nb.get_run("old")
    found = magic(line)
    assert isinstance(found, Comparison)
    assert found.labels == labels


def test_options_reach_the_comparison(magic: Magic) -> None:
    found = magic("old rf --metric -val_auc,loss --what metrics")
    assert [row.key for row in found.metrics] == ["val_auc", "loss"]
    assert found.outcome == "worse"
    assert "depth" not in str(found) and "depth 0 → 3" in str(magic("old rf"))
    assert magic("old rf -m -loss").outcome == "better"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("@best:auc rf", "No metric 'auc' in 4 runs here. Have: loss, val_auc. Did you mean 'val_auc'?"),
        ("hgb rff", "There is no run 'rff' here. Did you mean 'rf'?"),
        ("hgb rf --metric aucc", "No metric 'aucc' in these runs."),
        ("hgb rf --what cell", "--what cannot be 'cell'. Did you mean"),
        ("hgb rf --by dept", "No run has a param or tag 'dept'. Did you mean 'depth'?"),
        ("hgb rf --onlychanged", "unrecognized arguments: --onlychanged. Did you mean '--only-changed'?"),
        ("hgb hgb", "All of these are the same run"),
        ("last 99", "Use last 2 to last 50."),
        ("val_auc > 5", "No run fits 'val_auc > 5'."),
        ("hgb rf --export x.pdf", "Let the name end in .md, .html or .csv"),
        ("hgb rf --alpha 3", "alpha is 3.0"),
        ("hgb rf --by seed", "Each of these groups has one run"),
    ],
)
def test_errors_are_one_line_with_a_guess(magic: Magic, line: str, message: str) -> None:
    with pytest.raises(MlopsError) as caught:
        magic(line)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_magic_tells_its_python_twin_and_its_help(magic: Magic) -> None:
    magic("hgb rf --metric -loss --what cells --only-changed --code")
    magic("val_auc > .9 --code")
    magic("--help")
    assert magic.said[0] == "import mlops_nb\nmlops_nb.compare('hgb', 'rf', what='cells', metrics='-loss', only_changed=True)"
    assert magic.said[1] == "import mlops_nb\nmlops_nb.compare('val_auc > .9')"
    assert "--only-changed" in magic.said[2]
    names: dict[str, Any] = {}
    exec(magic.said[0].replace("mlops_nb.compare", "found = mlops_nb.compare"), names)
    assert names["found"].labels == ("hgb", "rf")


def test_plot_draws_the_runs_that_are_compared(magic: Magic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("mlops_nb.magics.comparing.display", shown.append)
    found = magic("hgb rf --metric -loss --plot scatter")
    assert isinstance(found, Comparison)
    (figure,) = shown
    assert "loss" in figure.title and "2 runs" in " ".join(figure.summary)
    magic("hgb rf --metric -loss --plot curves --code")
    names: dict[str, Any] = {}
    exec(magic.said[0].rpartition("\n")[0], names)
    drawn = eval(magic.said[0].rpartition("\n")[2], names)
    assert "loss" in drawn.title and "<svg" in drawn.svg
    with pytest.raises(MlopsError, match="too few"):
        magic("hgb rf --plot importance")
    done = CliRunner().invoke(commands, ["plot", "curves", "hgb", "rf", "-m", "loss", "-o", str(tmp_path / "c.svg")])
    assert done.exit_code == 0 and f"wrote {tmp_path / 'c.svg'}" in done.output, done.output
    assert "hgb" in (tmp_path / "c.svg").read_text()


def test_export_writes_and_says_where(magic: Magic, tmp_path: Path) -> None:
    magic("hgb rf --export out/c.md")
    assert magic.said == ["Written: out/c.md"]
    assert "`rf` improves on `hgb`" in (tmp_path / "out" / "c.md").read_text()


def test_completion_knows_options_runs_and_metrics(session: Session) -> None:
    completer = TrackCompleter(session)
    completer.known.refresh()
    completer.known._first.wait(30)

    def complete(line: str) -> list[str]:
        return completer.complete(line, line.split(" ")[-1])

    assert {"hgb", "rf", "@last"} <= set(complete("%compare "))
    assert "--only-changed" in complete("%compare hgb --on")
    assert complete("%compare hgb rf --what ou") == ["outputs"]
    assert complete("%compare hgb rf --metric val") == ["val_auc"]
    assert complete("%compare hgb rf --by ") == ["seed"]
    assert "hgb" in complete("x = %compare ") and "hgb" in complete("%mlops compare ")


def test_the_command_answers_like_the_magic(session: Session, magic: Magic, tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(commands, ["compare", "hgb", "rf", "--metric", "val_auc"], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.output.strip() == str(magic("hgb rf --metric val_auc")).strip()
    done = runner.invoke(commands, ["compare", "last", "2", "--json", "--export", "c.csv"], catch_exceptions=False)
    answer = json.loads(done.stdout)
    assert answer["comparison"]["labels"] == ["hgb", "rf"] and answer["causes"][0]["name"] == "depth"
    assert (tmp_path / "c.csv").read_text().startswith("metric,direction,run")
    with pytest.raises(MlopsError, match="no run 'nope'"):
        runner.invoke(commands, ["compare", "nope", "rf"], catch_exceptions=False)


def test_a_logged_expression_tells_what_it_is_of_and_is_evaluated_once(session: Session, magic: Magic) -> None:
    calls: list[int] = []
    names = "import sklearn.metrics\nfrom sklearn.metrics import roc_auc_score\ny = [0, 1, 1, 0]\np = [.1, .9, .3, .4]\n"
    code = names + "def f(x):\n    calls.append(1)\n    return x"
    magic.shell.user_ns["calls"] = calls
    magic.shell.run_cell(code)
    for expression in ("roc_auc_score(y, f(p))", "sklearn.metrics.roc_auc_score(y_true=y, y_score=f(p))"):
        scores.recent.clear()
        calls.clear()
        assert evaluate(magic.shell, expression) == 0.75
        assert calls == [1] and scores.recent[0.75].function == "roc_auc_score"
    scores.recent.clear()
    for expression, value in (("1 - roc_auc_score(y, p)", 0.25), ("max(*[1, 2])", 2), ("len(y)", 4), ("0.5", 0.5), ("(lambda: 3)()", 3)):
        assert evaluate(magic.shell, expression) == value
    assert not scores.recent
    with pytest.raises(NameError):
        evaluate(magic.shell, "roc_auc_score(y, missing)")
