"""The command line `mlops-nb`: the same verbs as the magics. What a command needs is imported when it runs."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from mlops_nb.cli.artifacts import artifacts
from mlops_nb.cli.compare import compare
from mlops_nb.cli.db import db
from mlops_nb.cli.experiments import experiments
from mlops_nb.cli.gc import gc
from mlops_nb.cli.models import models
from mlops_nb.cli.plot import plot
from mlops_nb.cli.report import report
from mlops_nb.cli.runs import runs
from mlops_nb.cli.server import server
from mlops_nb.cli.serving import models_serve, serve
from mlops_nb.cli.track import doctor, sync, track
from mlops_nb.cli.transfer import export_group, import_group
from mlops_nb.cli.webhooks import webhooks
from mlops_nb.core.formatting import one_line
from mlops_nb.errors import MlopsError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlops-nb", message="mlops-nb %(version)s")
def commands() -> None:
    """Track, compare and report machine-learning runs."""


commands.add_command(track)
commands.add_command(compare)
commands.add_command(plot)
commands.add_command(report)
commands.add_command(server)
commands.add_command(models)
for command in (experiments, runs, artifacts, import_group, export_group, gc, db):
    commands.add_command(command)
commands.add_command(serve)
models.add_command(models_serve)
commands.add_command(webhooks)
commands.add_command(sync)
commands.add_command(doctor)


def main() -> None:
    """Run the command line; an error of ours or of the file system is one line on stderr and exit status 1."""
    try:
        commands()
    except MlopsError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}." if error.filename else f"{error}.")


def _fail(message: str) -> NoReturn:
    click.echo(f"✗ {' '.join(one_line(message).split())}", err=True)
    sys.exit(1)
