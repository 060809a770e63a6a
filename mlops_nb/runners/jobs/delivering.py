"""What a job gives, brought to the files of its run: the executed notebook, the variables that are wanted, the files that it wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from mlops_nb.core.formatting import format_bytes
from mlops_nb.core.runner_jobs import EXECUTED, RESULTS, Job
from mlops_nb.errors import InvalidInput, MlopsError
from mlops_nb.execution.course import Value
from mlops_nb.runners.jobs.bundle import tree_changes
from mlops_nb.store.base import TrackingStore

FILES = "runner/files"
VALUES = f"{RESULTS}/values.json"
LARGEST_FILE = 50 << 20
MOST_BYTES = 200 << 20
MOST_FILES = 200


def deliver(
    store: TrackingStore,
    job: Job,
    executed: Path,
    values: Path,
    tree: Path,
    before: Mapping[str, tuple[int, int]],
    *,
    tell: Callable[[str], None],
) -> str:
    """Bring what a job has given to its run, and return what could not be brought; "" if all could.

    Args:
        store: Where the run is.
        job: The job.
        executed: The executed notebook.
        values: The folder with the variables, if there is one.
        tree: The folder that it ran in; `before` is how that was.
        tell: Gets lines for the log.
    """
    problems = []
    try:
        if executed.is_file():
            with executed.open("rb") as file:
                store.write_artifact(job.run_id, EXECUTED, file)
        if (values / "values.json").is_file():
            problems += _values(store, job, values)
        _files(store, job, tree, before, tell)
    except (MlopsError, OSError) as error:
        problems.append(f"not all of it could be brought back: {error}")
    return "; ".join(problems)[:500]


def _values(store: TrackingStore, job: Job, folder: Path) -> list[str]:
    listed = (folder / "values.json").read_bytes()
    found = msgspec.json.decode(listed, type=dict[str, Value])
    for value in found.values():
        if value.file:
            with (folder / Path(value.file).name).open("rb") as file:
                store.write_artifact(job.run_id, f"{RESULTS}/{Path(value.file).name}", file)
    with (folder / "values.json").open("rb") as file:
        store.write_artifact(job.run_id, VALUES, file)
    return [f"`{name}` does not come back: {value.problem}" for name, value in found.items() if value.problem]


def _files(store: TrackingStore, job: Job, tree: Path, before: Mapping[str, tuple[int, int]], tell: Callable[[str], None]) -> None:
    changed = tree_changes(before, tree)
    size = count = 0
    staying = []
    for name, length in sorted(changed.items()):
        if length > LARGEST_FILE or size + length > MOST_BYTES or count >= MOST_FILES:
            staying.append(f"{name} ({format_bytes(length)})")
            continue
        try:
            with (tree / name).open("rb") as file:
                store.write_artifact(job.run_id, f"{FILES}/{name}", file)
        except InvalidInput:  # a name that no artifact may have
            staying.append(name)
            continue
        size, count = size + length, count + 1
    if count:
        tell(f"{count} files that it wrote are kept with the run, {format_bytes(size)}.")
    if staying:
        tell(f"! Not kept: {', '.join(staying[:5])}" + (f" and {len(staying) - 5} more" if len(staying) > 5 else "") + ".")
