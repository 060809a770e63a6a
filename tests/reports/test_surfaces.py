"""`%report`, `mlops-nb report show` and `mlops_nb.report`: from two runs to what a reviewer reads."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure

import mlops_nb
from mlops_nb.cli import commands
from mlops_nb.errors import InvalidInput, MlopsError
from mlops_nb.magics.reporting import ReportMagics
from mlops_nb.reports.pull_request.data import Side, Verdict, read
from mlops_nb.reports.pull_request.preview import Preview
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.session import Session
from tests.reports.examples import large, report
from tests.reports.rendered import assert_well_formed


def figure(height: float) -> Figure:
    drawn = Figure(figsize=(2, 2))
    drawn.add_subplot().bar([0, 1], [1, height])
    return drawn


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session in a project with a run of the base, a better one, a gate, curves, and pictures: one that differs, one that does not."""
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLOPS_NB_TRACKING_URI", "MLOPS_NB_CAPTURE", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sessions, "current", current := Session())
    (tmp_path / ".mlops").mkdir(exist_ok=True)
    (tmp_path / ".mlops" / "gates.yml").write_text("gates:\n  - {metric: val_auc, direction: maximize, tolerance: 0.002}\n")
    for name, auc in (("base", 0.90), ("this", 0.93)):
        with mlops_nb.start_run(name, params={"lr": auc / 10, "depth": 3}) as run:
            for step in range(4):
                run.log(loss=1 / (step + auc), step=step)
            run.log(val_auc=auc)
            mlops_nb.log_figure(figure(auc), "plots/same.png") if name == "base" else mlops_nb.log_figure(figure(0.90), "plots/same.png")
            mlops_nb.log_figure(figure(auc * 10 - 8), "plots/other.png")
    current.flush(30)
    yield current
    current.close()


@pytest.fixture
def shown(session: Session) -> Preview:
    return mlops_nb.report("this", vs="base")


def test_a_run_against_its_base_has_verdict_gate_change_and_curves(shown: Preview) -> None:
    text = shown.to_markdown()
    assert_well_formed(text)
    assert text.splitlines()[2].startswith("### ✅ Improves on base — safe to merge")
    assert "`val_auc` ↑ (gate" in text and "**+0.0300**" in text
    assert "params `lr` `0.09` → `0.093" in text
    assert "![loss](report_files/loss-both-" in text


def test_a_pair_of_pictures_is_shown_only_where_it_differs(shown: Preview) -> None:
    subjects = {(image.subject, image.side) for image in shown.data.images}
    assert ("plots/other.png", Side.BASE) in subjects and ("plots/other.png", Side.THIS) in subjects
    assert not any(subject == "plots/same.png" for subject, _ in subjects)
    assert set(shown.files) == {image.path for image in shown.data.images}


def test_a_gate_that_fails_is_the_verdict(session: Session) -> None:
    found = mlops_nb.report("base", vs="this")
    assert found.data.notebooks[0].verdict is Verdict.WORSE
    assert "### ❌ Worse than this — a gate fails: `val_auc`" in found.to_markdown()


def test_without_a_base_the_report_says_so(session: Session) -> None:
    found = mlops_nb.report("base")
    assert found.data.notebooks[0].baseline is None  # no run is one of a default branch
    assert "No baseline yet" in found.to_markdown()
    with pytest.raises(MlopsError, match="nowhere"):
        mlops_nb.report("base", vs="nowhere")


def test_written_and_read_again_it_is_the_same_with_its_pictures(shown: Preview, tmp_path: Path) -> None:
    written = shown.write(
        markdown=tmp_path / "out" / "report.md", html=tmp_path / "out" / "report.html", json=tmp_path / "out" / "report.json"
    )
    assert [path.name for path in written[:3]] == ["report.json", "report.html", "report.md"]
    again = Preview.open(tmp_path / "out" / "report.json")
    assert (again.data, again.files) == (shown.data, shown.files)
    text = (tmp_path / "out" / "report.md").read_text()
    linked = [part.split(")")[0] for part in text.split("](") if part.startswith("report_files/")]
    assert linked and all((tmp_path / "out" / path).is_file() for path in linked)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png") == len(shown.data.images) and "<script" not in page


@pytest.mark.parametrize("harm", ["other picture", "a link out", "a page"])
def test_a_picture_that_is_not_what_the_data_names_is_refused_or_left_out(shown: Preview, tmp_path: Path, harm: str) -> None:
    shown.write(json=tmp_path / "report.json")
    image = shown.data.images[0]
    file = tmp_path / image.path
    content = file.read_bytes()
    file.unlink()
    if harm == "other picture":
        file.write_bytes(content[:-1] + b"x")
    elif harm == "a page":
        file.write_bytes(b"<html>".ljust(image.size))
    else:
        (tmp_path.parent / "outside.png").write_bytes(content)
        file.symlink_to(tmp_path.parent / "outside.png")
        assert image.path not in Preview.open(tmp_path / "report.json").files
        return
    with pytest.raises(InvalidInput, match="refused"):
        Preview.open(tmp_path / "report.json")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("path", "../../etc/passwd", "refused"),
        ("path", "report_files/../x.png", "refused"),
        ("path", "https://evil.example/x.png", "refused"),
        ("size", 10**9, "refused"),
        ("digest", "0" * 63, "refused"),
    ],
)
def test_data_that_names_other_files_is_refused(shown: Preview, tmp_path: Path, field: str, value: object, said: str) -> None:
    shown.write(json=tmp_path / "report.json")
    data = json.loads((tmp_path / "report.json").read_text())
    data["notebooks"][0]["images"][0][field] = value
    with pytest.raises(InvalidInput, match=said):
        read(json.dumps(data).encode())


def test_the_card_in_the_notebook_shows_the_verdict_and_stays_small_whatever_the_report_holds(shown: Preview) -> None:
    bundle = shown._repr_mimebundle_()
    assert "<h3>✅ Improves on base" in bundle["text/html"] and "nothing has been posted" in bundle["text/html"]
    assert "<img" not in bundle["text/html"] and "its 3 pictures by .export(" in bundle["text/html"]
    bundle = Preview(report(large(gates=True)), {})._repr_mimebundle_()
    assert sum(len(text.encode()) for text in bundle.values()) <= 20_000
    assert "more plots" in bundle["text/html"] or "in the full report" in bundle["text/html"]


def test_the_magic_the_command_and_the_call_agree(session: Session, tmp_path: Path) -> None:
    shell = InteractiveShell()
    said: list[str] = []
    magics = ReportMagics(shell, said.append)
    by_magic = magics.report("this --vs base --forge bitbucket")
    magics.report("this --vs base --forge bitbucket --code")
    assert said == ["import mlops_nb\nmlops_nb.report('this', vs='base', forge='bitbucket')"]
    shell.history_manager.end_session()
    done = CliRunner().invoke(commands, ["report", "show", "this", "--vs", "base", "--forge", "bitbucket"])
    assert done.exit_code == 0, done.output

    def without_time(text: str) -> str:
        return text.rpartition(" · updated")[0]

    assert without_time(done.stdout) == without_time(by_magic.to_markdown())
    assert "of 32,768 characters on bitbucket" in done.stderr


def test_the_command_of_today_still_reports_runs(session: Session, tmp_path: Path) -> None:
    for words in (["report", "base", "this"], ["report", "-m", "report.md", "this"], ["report"], ["report", "runs", "this"]):
        (tmp_path / "report.md").unlink(missing_ok=True)
        done = CliRunner().invoke(commands, words)
        assert done.exit_code == 0 and (tmp_path / "report.md").is_file(), done.output


def test_metrics_and_plots_of_dvc_stand_behind_our_own(session: Session, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps({"metrics.json": {"f1": {"old": 0.5, "new": 0.6, "diff": 0.1}}}))
    spec = {"data": {"values": [{"a": 1, "b": 2}]}, "mark": "point", "encoding": {"x": {"field": "a"}, "y": {"field": "b"}}}
    (tmp_path / "p.json").write_text(json.dumps({"data": {"curve": [{"type": "vega", "revisions": ["main"], "content": spec}]}}))
    done = CliRunner().invoke(
        commands, ["report", "show", "this", "--vs", "base", "--dvc-metrics", "m.json", "--dvc-plots", "p.json", "-m", "r.md"]
    )
    assert done.exit_code == 0, done.output
    text = (tmp_path / "r.md").read_text()
    assert "| `f1` ↑ | 0.5000 | **0.6000** | **+0.1000** | ▲ better" in text and "![curve](report_files/curve-both-" in text


def test_what_is_no_report_is_refused_in_one_line(session: Session, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"notebooks": [], "extra": 1}')
    for words, part in ((["bad.json"], "unknown field"), (["none.json"], "no file"), (["bad.json", "--vs", "base"], "already")):
        done = CliRunner().invoke(commands, ["report", "show", *words])
        assert isinstance(done.exception, MlopsError) and part in str(done.exception)


def test_a_broken_picture_is_no_picture(session: Session) -> None:
    from mlops_nb.reports.pull_request.pictures import Pictures

    pictures = Pictures()
    assert pictures.add(b"<svg onload=alert(1)>", "x.png", Side.THIS) is None
    assert pictures.add(b"\x89PNG\r\n\x1a\n" + b"0" * 3_000_000, "x.png", Side.THIS) is None
    stream = io.BytesIO()
    figure(1).savefig(stream, format="png")
    kept = pictures.add(stream.getvalue(), "../../weird <name>.png", Side.THIS)
    assert kept is not None and kept.path.startswith("report_files/weird-name-this-")
