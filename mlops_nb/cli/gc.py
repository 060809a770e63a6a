"""`mlops-nb gc`"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from mlops_nb.cli.output import output_option, say
from mlops_nb.cli.stores import FILES_HELP, STORE_HELP, served_store

if TYPE_CHECKING:
    from mlops_nb.store.purge import Purged

_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}
_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_TIME = re.compile("".join(f"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in _UNITS))


@click.command()
@click.option("--older-than", metavar="TIME", help="Only what was deleted at least so long ago, such as 7d, 7d2h or 1.5h30m.")
@click.option("--backend-store-uri", metavar="URI", help=STORE_HELP)
@click.option("--artifacts-destination", metavar="URI", help=FILES_HELP)
@click.option("--run-ids", metavar="ID,ID…", help="Only these deleted runs.")
@click.option("--experiment-ids", metavar="ID,ID…", help="Only these deleted experiments, with all that is in them.")
@click.option("--logged-model-ids", metavar="ID,ID…", help="Only these deleted logged models.")
@click.option("--tracking-uri", metavar="URI", help="The same as --backend-store-uri.")
@output_option
def gc(
    older_than: str | None,
    backend_store_uri: str | None,
    artifacts_destination: str | None,
    run_ids: str | None,
    experiment_ids: str | None,
    logged_model_ids: str | None,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Remove deleted runs, experiments and logged models for good, with their files.

    Nothing brings back what this removes. Without ids everything goes that is deleted, and old enough; with ids only
    what they name. Running runs stay. Data sets that no run uses any more go too, and what uploads left that broke off
    over a day ago. It may be interrupted at any time: what was removed is removed, and the next one goes on.

    Examples: mlops-nb gc --older-than 30d; mlops-nb gc --run-ids ID1,ID2
    """
    from mlops_nb.store.purge import PurgeQuery

    query = PurgeQuery(
        older_than_ms=duration_ms(older_than) if older_than else 0,
        run_ids=_ids(run_ids),
        experiment_ids=_ids(experiment_ids),
        model_ids=_ids(logged_model_ids),
    )
    with served_store(backend_store_uri or tracking_uri, artifacts_destination) as store:
        done = store.purge(query)
    say(done, _told(done), as_json=as_json)
    for problem in done.problems:
        click.echo(f"✗ {problem}", err=True)
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


def _told(done: Purged) -> str:
    lines = [f"Run {run_id} is removed." for run_id in done.runs]
    lines += [f"Experiment {experiment_id} is removed." for experiment_id in done.experiments]
    lines += [f"Logged model {model_id} is removed." for model_id in done.models]
    others = {"traces": done.traces, "data sets": done.datasets, "remains of uploads": done.leftovers}
    lines += [f"{count} {what} removed." for what, count in others.items() if count]
    return "\n".join([*lines, *done.kept] or ["Nothing to remove."])
