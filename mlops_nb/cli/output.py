"""How commands answer: a table for people, JSON for programs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import click

F = TypeVar("F", bound=Callable[..., Any])

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


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows under headers, the columns aligned."""
    cells = [list(headers), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def moment(milliseconds: int | None) -> str:
    """Return a time for people, in their zone."""
    import datetime

    if milliseconds is None:
        return ""
    return datetime.datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
