"""The command line `mlops-nb`: the same verbs as the magics. Commands are imported when they are used, and what they need when they run."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import click

from mlops_nb.cli.lazy import LazyGroup
from mlops_nb.core.formatting import log_line
from mlops_nb.errors import MlopsError

_COMMANDS = {
    "artifacts": ("artifacts:artifacts", "List, download and log the files of runs."),
    "asset": ("asset:asset", "Publish files that a report shows or links to."),
    "check": ("check:check", "Set a check on a commit."),
    "ci": ("ci:ci", "Run notebooks in CI: compared with a baseline, judged by gates, reported."),
    "comment": ("comment:comment", "Post a report to a pull request, commit or issue."),
    "compare": ("compare:compare", "Compare runs: better, worse or noise, and why."),
    "db": ("db:db", "Look after the database of a store."),
    "doctor": ("track:doctor", "Check the installation and the store."),
    "experiments": ("experiments:experiments", "Make, find, rename, delete and restore experiments."),
    "export": ("transfer:export_group", "Take everything out: open files, or for MLflow."),
    "gc": ("gc:gc", "Remove for good what was deleted."),
    "import": ("transfer:import_group", "Bring runs in from MLflow or TensorBoard."),
    "models": ("models:models", "Score, package and register models."),
    "plot": ("plot:plot", "Draw runs into a picture or a page."),
    "pr": ("pr:pr", "Make a pull request of changed files."),
    "repo": ("repo:repo", "Prepare the checked-out repository for git."),
    "report": ("report:report", "Report a run, or compare several."),
    "runner": ("runner:runner", "Rent or use machines for CI jobs and notebooks."),
    "runs": ("runs:runs", "Make, list, show, delete and restore runs."),
    "serve": ("serving:serve", "Endpoints of the Jupyter server that runs for this project."),
    "server": ("server:server", "Serve a tracking store to a team, and to MLflow's clients."),
    "sync": ("track:sync", "Deliver what is left in the journals."),
    "tensorboard": ("tensorboard:tensorboard", "Bring TensorBoard's logs in and link to them."),
    "track": ("track:track", "List, show and change runs."),
    "webhooks": ("webhooks:webhooks", "Tell other programs of changes of the registry."),
    "workflow": ("workflow:workflow", "Run a workflow again."),
    # CML's old names: hidden, with a word about the new one.
    "publish": ("legacy:publish", ""),
    "rerun-workflow": ("legacy:rerun_workflow", ""),
    "send-comment": ("legacy:send_comment", ""),
    "send-github-check": ("legacy:send_github_check", ""),
    "tensorboard-dev": ("legacy:tensorboard_dev", ""),
}


class _Commands(LazyGroup):
    """All commands. CML's `ci --fetch-depth 0`, which has options only, is `repo prepare`."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] == "ci" and not any(word in ("-h", "--help") or not word.startswith("-") for word in args[1:2]):
            from mlops_nb.cli.legacy import ci

            return ci.name, ci, args[1:]
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlops-nb", message="mlops-nb %(version)s")
@click.option("--log", hidden=True)
@click.option("--driver", hidden=True)
@click.option("--repo", hidden=True)
@click.option("--driver-token", "--token", "driver_token", hidden=True)
@click.pass_context
def commands(ctx: click.Context, /, **before: Any) -> None:
    """Track, compare and report machine-learning runs."""
    # CML takes these before the command, too: the commands that know them find them here.
    ctx.meta["mlops_nb.before"] = {name: value for name, value in before.items() if value is not None}


def main() -> None:
    """Run the command line; an error of ours or of the file system is one line on stderr and exit status 1."""
    try:
        commands()
    except MlopsError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}." if error.filename else f"{error}.")


def _fail(message: str) -> NoReturn:
    click.echo(f"✗ {' '.join(log_line(message).split())}", err=True)
    sys.exit(1)
