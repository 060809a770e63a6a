"""`mlops-nb gc`"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from mlops_nb.cli.output import complain, output_option, say
from mlops_nb.cli.stores import FILES_HELP, STORE_HELP, served_store
from mlops_nb.cli.unsupported import unsupported

if TYPE_CHECKING:
    from mlops_nb.store.purge import Purged

_NOT_HERE = {
    "--jobs": "This store has no jobs: leave it out.",
    "--job-ids ID": "This store has no jobs: leave it out.",
    "--workspace NAME": "This store has no workspaces: leave it out, or name its database by --backend-store-uri.",
    "--all-workspaces": "This store has no workspaces: leave it out.",
}
_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}
_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_TIME = re.compile("".join(f"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in _UNITS))


@click.command(short_help="Remove for good what was deleted.")
@click.option("--older-than", metavar="TIME", help="Only what was deleted at least so long ago, such as 7d, 7d2h or 1.5h30m.")
@click.option("--backend-store-uri", metavar="URI", help=STORE_HELP)
@click.option("--artifacts-destination", metavar="URI", help=FILES_HELP)
@click.option("--run-ids", metavar="ID,ID…", help="Only these deleted runs.")
@click.option("--experiment-ids", metavar="ID,ID…", help="Only these deleted experiments, with all that is in them.")
@click.option("--logged-model-ids", metavar="ID,ID…", help="Only these deleted logged models.")
@click.option("--tracking-uri", metavar="URI", help="The same as --backend-store-uri.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@unsupported(_NOT_HERE)
@output_option
def gc(
    older_than: str | None,
    backend_store_uri: str | None,
    artifacts_destination: str | None,
    run_ids: str | None,
    experiment_ids: str | None,
    logged_model_ids: str | None,
    tracking_uri: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove deleted runs, experiments and logged models for good, with their files.

    Nothing brings back what this removes. Without ids everything goes that is deleted, and old enough; with ids only
    what they name. Running runs stay. Data sets that no run uses any more go too, and what uploads left that broke off
    over a day ago. It may be interrupted at any time: what was removed is removed, and the next one goes on.

    Examples: mlops-nb gc --older-than 30d --dry-run; mlops-nb gc --run-ids ID1,ID2
    """
    from mlops_nb.store.purge import PurgeQuery

    query = PurgeQuery(
        older_than_ms=duration_ms(older_than) if older_than else 0,
        run_ids=_ids(run_ids),
        experiment_ids=_ids(experiment_ids),
        model_ids=_ids(logged_model_ids),
        dry_run=dry_run,
    )
    with served_store(backend_store_uri or tracking_uri, artifacts_destination) as store:
        done = store.purge(query)
    say(done, _told(done, "would be" if dry_run else "is", "would be " if dry_run else ""), as_json=as_json)
    complain(done.problems)
    if done.problems:
        sys.exit(1)


def duration_ms(text: str) -> int:
    """Return the milliseconds of a time such as `1d2h3m4s`; each number may have a fraction."""
    found = _TIME.fullmatch(text)
    if found is None or not any(found.groups()):
        raise click.BadParameter(f"'{text}' is no time: write 8h, 2d8h5m20s or 1.5d.", param_hint="--older-than")
    return int(sum(float(number) * _UNITS[unit] for unit, number in found.groupdict().items() if number))


def _ids(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _told(done: Purged, one: str, some: str) -> str:
    lines = [f"Run {run_id} {one} removed." for run_id in done.runs]
    lines += [f"Experiment {experiment_id} {one} removed." for experiment_id in done.experiments]
    lines += [f"Logged model {model_id} {one} removed." for model_id in done.models]
    others = {"traces": done.traces, "data sets": done.datasets, "remains of uploads": done.leftovers}
    lines += [f"{count} {what} {some}removed." for what, count in others.items() if count]
    return "\n".join([*lines, *done.kept] or ["Nothing to remove."])
