"""How a job is going, for people: a line a cell in the log of a CI, one that moves on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from mlops_nb.ci.protocol import CellEnded, CellStarted, Event
from mlops_nb.core.formatting import format_duration, log_line, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


class Progress:
    """Says nothing: the base of those that do."""

    def say(self, text: str) -> None:
        """Say a line."""

    def event(self, notebook: str, event: Event) -> None:
        """Tell of an event of a notebook's execution."""

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Keep together what is said meanwhile."""
        yield


class Lines(Progress):
    """Writes lines.

    Args:
        file: Where to.
        is_github: Fold each notebook's lines, as GitHub Actions can.
    """

    def __init__(self, file: IO[str] | None = None, *, is_github: bool = False) -> None:
        self._file = file
        self._is_github = is_github

    def say(self, text: str) -> None:
        """Write a line that is no command to a CI, whatever it holds."""
        self._write(log_line(text))

    def _write(self, line: str) -> None:
        print(line, file=self._file or sys.stderr, flush=True)

    def event(self, notebook: str, event: Event) -> None:
        """Write a line for a cell that ended."""
        if isinstance(event, CellEnded):
            how = " ✗" if event.is_failed else ""
            self.say(f"  {notebook}  cell {event.number}/{event.count}  {format_duration(event.seconds * 1000)}{how}")

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Fold what is said meanwhile under a title."""
        if not self._is_github:
            self.say(title)
            yield
            return
        self._write(f"::group::{one_line(title).replace('%', '%25')}")
        try:
            yield
        finally:
            self._write("::endgroup::")


class Live(Lines):
    """Shows the running cell in a line that moves, for a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(console.file)
        self._console = console
        self._status: Status | None = None

    def _write(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def event(self, notebook: str, event: Event) -> None:
        """Show which cell runs; a cell that took long, or failed, gets a line that stays."""
        if self._status is not None and isinstance(event, CellStarted):
            from rich.markup import escape

            self._status.update(f"{escape(one_line(notebook))}  cell {event.number}/{event.count}")
        elif isinstance(event, CellEnded) and (event.seconds >= 1 or event.is_failed):
            super().event(notebook, event)

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Show that a notebook runs."""
        from rich.markup import escape

        with self._console.status(escape(one_line(title))) as status:
            self._status = status
            try:
                yield
            finally:
                self._status = None


def progress_for(environment: dict[str, str]) -> Progress:
    """Return what suits where this process writes to."""
    if environment.get("GITHUB_ACTIONS") == "true":
        return Lines(is_github=True)
    if sys.stderr.isatty() and not environment.get("CI"):
        from rich.console import Console

        return Live(Console(stderr=True))
    return Lines()
