"""Options of MLflow's commands that ours do not have: each is known, and says what to do instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from mlops_nb.errors import InvalidInput

F = TypeVar("F", bound=Callable[..., Any])


def unsupported(options: Mapping[str, str]) -> Callable[[F], F]:
    """Give a command options that end it with an error.

    Args:
        options: What to do instead, for each: `--name` is a flag, `--name VALUE` takes a value.
    """

    def give(command: F) -> F:
        for declared, remedy in options.items():
            name, _, value = declared.partition(" ")
            refuse = _refusal(name, remedy)
            command = click.option(name, is_flag=not value, default=None, hidden=True, expose_value=False, callback=refuse)(command)
        return command

    return give


def _refusal(name: str, remedy: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def refuse(_context: click.Context, _parameter: click.Parameter, value: object) -> None:
        if value is not None:
            raise InvalidInput(f"{name} is an option of MLflow's that mlops-nb does not have.", hint=remedy)

    return refuse
