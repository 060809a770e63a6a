"""What a job tells its CI through files that the CI names: outputs for later steps, and the job's summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlops_nb.ci.result import CiResult
from mlops_nb.core.formatting import one_line
from mlops_nb.forges.summaries import add_job_summary


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
