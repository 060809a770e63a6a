"""Reports of one run or of several side by side: Markdown for a pull request, HTML as one file, figures as PNG."""

from mlops_nb.reports.content import Report, build_report
from mlops_nb.reports.writing import write_report

__all__ = ["Report", "build_report", "write_report"]
