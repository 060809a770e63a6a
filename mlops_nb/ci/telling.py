"""What a job tells GitHub Actions: outputs for later steps, the job's summary, and remarks at the lines that are to blame."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO

from mlops_nb.ci.protocol import Ending
from mlops_nb.ci.result import CiResult
from mlops_nb.core.formatting import one_line
from mlops_nb.core.redaction import Redactor
from mlops_nb.forges.summaries import add_job_summary

_MOST_REMARKS = 10
"""GitHub shows no more of a kind for each step."""


def tell_github(result: CiResult, environment: Mapping[str, str], *, summary: bool) -> None:
    """Write `verdict`, `exit-code` and `report` as outputs of the step, and the report into the job's summary if asked.

    Outside of GitHub Actions nothing happens.
    """
    report = next((path for path in result.files if path.suffix == ".md"), None)
    if outputs := environment.get("GITHUB_OUTPUT"):
        values = {"verdict": result.verdict, "exit-code": str(result.exit_code), "report": "" if report is None else str(report)}
        with Path(outputs).open("a", encoding="utf-8") as file:
            file.writelines(f"{name}={one_line(value)}\n" for name, value in values.items())
    if summary and report is not None:
        add_job_summary(environment, report.read_text(encoding="utf-8"))


def annotate(result: CiResult, environment: Mapping[str, str], file: IO[str]) -> None:
    """Write a workflow command for each notebook that failed, at its cell, and for each gate, at its line.

    Outside of GitHub Actions nothing happens.

    Args:
        result: What came of all.
        environment: The variables of this process.
        file: Where commands go, such as standard error.
    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return
    redact = Redactor(environment)
    remarks = []
    for each in result.notebooks:
        if each.ending is not Ending.FINISHED:
            title = f"{each.notebook}: cell {each.cell}" if each.cell else each.notebook
            remarks.append(
                _command(_from_root(each.path, environment), each.line or 1, title, redact(f"{each.ending.value}: {each.reason}"))
            )
        for gate in each.gates:
            if gate.is_failure:
                remarks.append(_command(result.gates_file, gate.line or 1, f"{each.notebook}: {gate.metric}", redact(gate.reason)))
    file.writelines(f"{remark}\n" for remark in remarks[:_MOST_REMARKS])
    file.flush()


def _from_root(path: Path, environment: Mapping[str, str]) -> str:
    """Return a path as GitHub knows it: from the root of the checkout."""
    root = Path(environment.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _command(path: str, line: int, title: str, message: str) -> str:
    """Return an `error` command, escaped as `@actions/core` does."""
    fields = {"file": path, "line": str(line), "title": one_line(title)[:200]}
    shown = ",".join(f"{name}={_escaped(value).replace(':', '%3A').replace(',', '%2C')}" for name, value in fields.items())
    return f"::error {shown}::{_escaped(message[:4_000])}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
