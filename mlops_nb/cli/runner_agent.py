"""`mlops-nb runner agent`: what machines of runners run; people have no use for it."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("agent")
@click.option(
    "--settings",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("/etc/mlops-nb/agent.json"),
    show_default=True,
    help="What the machine was launched for; secrets in it are removed when they were used.",
)
def agent(settings: Path) -> None:
    """Work on this machine for the runner that it was launched for, until that is over."""
    from mlops_nb.runners.machine.agent import run_agent

    sys.exit(1 if run_agent(settings).failed else 0)
