"""`mlops-nb db ...`"""

from __future__ import annotations

import sys

import click

from mlops_nb.cli.output import output_option, say
from mlops_nb.cli.stores import STORE_HELP, served_store


@click.group()
def db() -> None:
    """Look after the database of a store."""


@db.command(
    help=f"""Bring the schema of a store up to date.

Opening a store does the same; this does it at a time of your choice. A SQLite file is copied first, to a file of the same
name and `.VERSION.bak`. Of PostgreSQL make a backup yourself.

URL: {STORE_HELP}
"""
)
@click.argument("url", required=False)
@output_option
def upgrade(url: str | None, as_json: bool) -> None:
    from mlops_nb.store.sql.schema import SCHEMA_VERSION

    with served_store(url) as store:
        status = store.status()
    answer = {"schema": SCHEMA_VERSION, "experiments": status.experiment_count, "runs": status.run_count}
    say(answer, f"The schema is {SCHEMA_VERSION}; the store has {status.run_count} runs.", as_json=as_json)


@db.command(
    help=f"""Read the whole store and say whether it is sound.

URL: {STORE_HELP}
"""
)
@click.argument("url", required=False)
@output_option
def check(url: str | None, as_json: bool) -> None:
    with served_store(url) as store:
        faults = store.check()
    told = "\n".join(f"✗ {fault}" for fault in faults) + "\nRestore the last good copy of the file; the journals are sent again."
    say({"faults": faults}, told if faults else "✓ The store is sound.", as_json=as_json)
    if faults:
        sys.exit(1)
