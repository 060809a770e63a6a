"""How commands answer: a table for people, JSON for programs."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import click

from mlops_nb.core.formatting import fitted, one_line, padded, width

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN = 5
_GAP = 2
_NARROWEST = 12

VIEWS = ("active_only", "deleted_only", "all")


def output_option(command: F) -> F:
    """Give a command `-o/--output table|json` and `--json`; it gets `as_json`."""

    @functools.wraps(command)
    def answer(*args: Any, output: str, json_flag: bool, **kwargs: Any) -> Any:
        return command(*args, as_json=json_flag or output == "json", **kwargs)

    format_option = click.option(
        "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to answer."
    )
    return cast(F, format_option(json_option(answer)))


def json_option(command: F) -> F:
    """Give a command `--json`, which it gets as `json_flag`."""
    option = click.option("--json", "json_flag", is_flag=True, help="JSON for programs, as --output json.")
    return option(command)


def view_option(command: F) -> F:
    """Give a command `-v/--view`."""
    option = click.option(
        "-v", "--view", type=click.Choice(VIEWS), default="active_only", show_default=True, help="Active ones, deleted ones or all."
    )
    return option(command)


def say(value: Any, text: str | None, *, as_json: bool) -> None:
    """Answer: `value` as JSON, or `text`; None says nothing."""
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
    elif text is not None:
        click.echo(text)


def complain(problems: Sequence[str]) -> None:
    """Tell on stderr what could not be done, the first ones in full."""
    for problem in problems[:_SHOWN]:
        click.echo(f"✗ {one_line(problem)}", err=True)
    if len(problems) > _SHOWN:
        click.echo(f"✗ and {len(problems) - _SHOWN} more; --json lists them all", err=True)


def terminal_columns() -> int | None:
    """Return how wide the terminal is; None: the answer goes to a program or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, flexible: int) -> str:
    """Return rows under headers, the columns aligned; on a terminal the flexible column gives way to fit them in."""
    cells = [list(headers), *([one_line(str(cell)) for cell in row] for row in rows)]
    widths = [max(width(row[i]) for row in cells) for i in range(len(headers))]
    columns = terminal_columns()
    if columns is not None:
        surplus = sum(widths) + _GAP * (len(widths) - 1) - columns
        widths[flexible] = max(widths[flexible] - max(surplus, 0), min(widths[flexible], _NARROWEST))
        for row in cells:
            row[flexible] = fitted(row[flexible], widths[flexible])
    lines = [(" " * _GAP).join(map(padded, row, widths)).rstrip() for row in cells]
    return "\n".join([lines[0], (" " * _GAP).join("-" * size for size in widths), *lines[1:]])


def moment(milliseconds: int | None) -> str:
    """Return a time for people, in their zone."""
    import datetime

    if milliseconds is None:
        return ""
    return datetime.datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
