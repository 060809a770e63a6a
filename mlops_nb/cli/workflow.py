"""`mlops-nb workflow ...`"""

from __future__ import annotations

import click

from mlops_nb.cli.forge_options import EXIT_CODES, flag, forge_command, forge_group


@forge_group()
def workflow() -> None:
    """Run a workflow again."""


@forge_command(workflow, "rerun", "WORKFLOW", epilog=f"{EXIT_CODES}.")
@click.option("--id", "run_id", metavar="ID", help="The run or pipeline; else the one that this job belongs to.")
@flag("--failed-only", help="Only the jobs that failed.")
def rerun(run_id: str | None, failed_only: bool, driver: str | None, repo: str | None, driver_token: str | None) -> None:
    """Run a workflow or pipeline again, after it was cancelled if it still runs, and print its URL."""
    from mlops_nb.cli.places import open_forge
    from mlops_nb.errors import InvalidInput

    forge, context = open_forge(driver, repo, driver_token)
    known = run_id or context.run_id
    if known is None:
        raise InvalidInput("No CI says which run this is.", hint="Name it: --id ID.")
    click.echo(forge.rerun(known, failed_only=failed_only))
