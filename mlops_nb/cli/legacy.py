"""CML's old names of commands: they work, and say the new one."""

from __future__ import annotations

from typing import Any

import click

from mlops_nb.cli.asset import publish as new_publish
from mlops_nb.cli.check import create as new_check
from mlops_nb.cli.comment import create as new_comment
from mlops_nb.cli.forge_options import ForgeCommand
from mlops_nb.cli.repo import prepare as new_prepare
from mlops_nb.cli.tensorboard import connect as new_connect
from mlops_nb.cli.workflow import rerun as new_rerun


def _old(name: str, command: click.Command, words: str) -> click.Command:
    """Return a command under its old name."""
    assert isinstance(command, ForgeCommand) and command.callback is not None
    callback = command.callback

    def call(*args: Any, **given: Any) -> Any:
        click.echo(f"· '{name}' is now 'mlops-nb {words}'.", err=True)
        return callback(*args, **given)

    return ForgeCommand(
        name, group=command.group_name, callback=call, params=command.params, help=command.help, epilog=command.epilog, hidden=True
    )


ci = _old("ci", new_prepare, "repo prepare")
publish = _old("publish", new_publish, "asset publish")
rerun_workflow = _old("rerun-workflow", new_rerun, "workflow rerun")
send_comment = _old("send-comment", new_comment, "comment create")
send_github_check = _old("send-github-check", new_check, "check create")
tensorboard_dev = _old("tensorboard-dev", new_connect, "tensorboard connect")
