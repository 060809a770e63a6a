"""What a job tells its CI through files that the CI names: outputs for later steps, and the job's summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlops_nb.ci.result import CiResult
from mlops_nb.core.formatting import one_line

_SUMMARY_BYTES = 1_000_000


def tell_github(result: CiResult, environment: Mapping[str, str], *, summary: bool) -> None:
    """Write `verdict`, `exit-code` and `report` as outputs of the step, and the report into the job's summary if asked.

    Outside of GitHub Actions nothing happens.
    """
    report = next((path for path in result.files if path.suffix == ".md"), None)
    if outputs := environment.get("GITHUB_OUTPUT"):
        values = {"verdict": result.verdict, "exit-code": str(result.exit_code), "report": "" if report is None else str(report)}
        with Path(outputs).open("a", encoding="utf-8") as file:
            file.writelines(f"{name}={one_line(value)}\n" for name, value in values.items())
    place = environment.get("GITHUB_STEP_SUMMARY")
    if summary and place and report is not None:
        content = report.read_bytes()
        if len(content) <= _SUMMARY_BYTES:
            with Path(place).open("ab") as file:
                file.write(content + b"\n")
