"""How what cells read reaches the runs: files become data sets, and each run is told of those that its cells read."""

from __future__ import annotations

import functools
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlops_nb.core.datasets import Dataset, DatasetInput
from mlops_nb.core.events import DatasetLogged
from mlops_nb.core.redaction import Redactor
from mlops_nb.tracking.data.hashing import HashCache, Stamp, Stopped
from mlops_nb.tracking.data.sources import Places
from mlops_nb.tracking.data.versions import delta_root

if TYPE_CHECKING:
    from mlops_nb.tracking.data.watch import CellReads
    from mlops_nb.tracking.run import ActiveRun
    from mlops_nb.tracking.session import Session

logger = logging.getLogger("mlops_nb")

GROUP = 9
"""Files of one folder that a cell reads from which on they are one data set."""

MAX_CONTENT = 256_000_000
"""How large a table from an address may be to be told apart by its content (bytes)."""

WRITTEN_FILE = "data/written.json"
_MAX_WRITTEN = 1000
_QUIET_SECONDS = 0.5


class Handing:
    """Tells runs of data sets, each once per run and cell. The watch's thread and `stop` of a run use it in turn."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._given: dict[str, set[tuple[int | None, str]]] = {}
        self._counts: dict[str, dict[int | None, tuple[int, int]]] = {}
        self._known: Places | None = None
        self._deadline = math.inf
        self._lock = threading.Lock()

    def hand_out(self, reads: Sequence[CellReads], *, running: CellReads | None) -> None:
        """Tell every open run of what its cells read by now.

        What is being read in this moment, and folders of a cell that still runs, wait.
        """
        for run in list(self._session.runs):
            for read in list(reads) if run.thread is None else ():
                if read is not running or time.monotonic() - read.last > _QUIET_SECONDS:
                    with self._lock:
                        self._give(run, read, with_folders=read is not running, is_last=False)

    def finish(self, run: ActiveRun, reads: Sequence[CellReads], timeout: float) -> None:
        """Tell a run that is about to end of all the rest; what is not hashed in time counts by size and time of change."""
        self._deadline = time.monotonic() + timeout
        with self._lock:  # whoever hashes meanwhile stops at the deadline
            try:
                for read in list(reads):
                    self._give(run, read, with_folders=True, is_last=True)
                self._give_written(run, reads)
            finally:
                self._given.pop(run.run_id, None)
                self._counts.pop(run.run_id, None)
                self._deadline = math.inf

    def remote(self, uri: str, details: Mapping[str, Any] | None, content: Any) -> Dataset:
        """Return what was read from an address as a data set; without a word of its place about it, by its content."""
        places = self._places()
        found = places.remote(uri, details)
        if content is None or not found.digest.startswith("unread"):
            return found
        usage = getattr(content, "memory_usage", None)
        if callable(usage) and int(usage().sum()) <= MAX_CONTENT:
            from mlops_nb.tracking.data.frames import Part, study

            return study([Part(data=content)], name=found.name, source=found, shows_values=shows_values()).dataset
        return found

    def _give(self, run: ActiveRun, read: CellReads, *, with_folders: bool, is_last: bool) -> None:
        cell = None
        if read.cell is not None:
            cell = run.number_of_cell(read.cell)
            if cell is None:
                return
        size = (len(read.files), len(read.known))
        counts = self._counts.setdefault(run.run_id, {})
        if counts.get(read.cell) == size:
            return
        places = self._places()
        groups, singles = grouped(read.files, places.root)
        for dataset in list(read.known):
            self._log(run, dataset, read.cell, cell)
        finders: list[tuple[Path, Callable[[bool], Dataset]]] = []
        for path in singles:
            finders.append((path, functools.partial(self._file, places, path, _stamp(read, path))))
        for folder, files in groups.items() if with_folders else ():
            table = delta_root(folder)
            if table is not None and (found := places.delta(table)) is not None:
                self._log(run, found, read.cell, cell)
            else:
                stamps = {path: _stamp(read, path) for path in files}
                finders.append((folder, functools.partial(self._folder, places, folder, stamps)))
        done = [self._try(run, read.cell, cell, path, find, is_last=is_last) for path, find in finders]
        if all(done) and (with_folders or not groups):
            counts[read.cell] = size

    def _file(self, places: Places, path: Path, stamp: Stamp, is_hashed: bool) -> Dataset:
        return places.file(path, expected=stamp, is_hashed=is_hashed, stopped=self._is_late)

    def _folder(self, places: Places, folder: Path, stamps: Mapping[Path, Stamp], is_hashed: bool) -> Dataset:
        return places.folder(folder, stamps, is_hashed=is_hashed, stopped=self._is_late)

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def _try(
        self, run: ActiveRun, number: int | None, cell: int | None, path: Path, find: Callable[[bool], Dataset], *, is_last: bool
    ) -> bool:
        """Tell the run of one file or folder; return whether that is done with."""
        if (number, str(path)) in self._given.get(run.run_id, ()):
            return True
        try:
            dataset = find(True)
        except Stopped:
            if not is_last:
                return False
            dataset = find(False)
        except Exception:  # it is gone, it may not be read, or another tool's file beside it is strange
            logger.debug("%s cannot be told apart", path, exc_info=True)
            return True
        self._given.setdefault(run.run_id, set()).add((number, str(path)))
        self._log(run, dataset, number, cell)
        return True

    def _log(self, run: ActiveRun, dataset: Dataset, number: int | None, cell: int | None) -> None:
        key = (number, f"{dataset.name}\n{dataset.digest}")
        given = self._given.setdefault(run.run_id, set())
        if key not in given and run.is_open:
            given.add(key)
            run.tell(DatasetLogged(input=DatasetInput(dataset=dataset), cell=cell))

    def _give_written(self, run: ActiveRun, reads: Iterable[CellReads]) -> None:
        written = [
            {"path": self._places().redact(path), "cell": None if read.cell is None else run.number_of_cell(read.cell)}
            for read in reads
            if read.cell is None or run.number_of_cell(read.cell) is not None
            for path in read.written
            if Path(path).exists()
        ]
        if written:
            run.add_beside(WRITTEN_FILE, msgspec.json.format(msgspec.json.encode(written[:_MAX_WRITTEN]), indent=1))

    def _places(self) -> Places:
        target = self._session.shipper().target
        if self._known is None or self._known.root != target.project.root:
            self._known = Places(target.project.root, HashCache(target.state_dir / "hashes.db"), Redactor(os.environ))
        return self._known


def grouped(files: Mapping[str, Any], root: Path) -> tuple[dict[Path, list[Path]], list[Path]]:
    """Tell the folders of which many files were read from files that stand alone.

    Folders beside each other (a class of images each) are one, but never the whole project. The files of a Delta table
    always are.
    """
    by_folder: dict[Path, list[Path]] = {}
    for path in map(Path, files):
        by_folder.setdefault(path.parent, []).append(path)
    groups: dict[Path, list[Path]] = {}
    singles: list[Path] = []
    for folder, paths in by_folder.items():
        table = delta_root(folder)
        if table is not None:
            groups.setdefault(table, []).extend(paths)
        elif len(paths) >= GROUP:
            groups[folder] = paths
        else:
            singles += paths
    for parent in {folder.parent for folder in groups}:
        beside = [folder for folder in groups if folder.parent == parent]
        if len(beside) > 1 and parent not in (root, *root.parents) and len(parent.parts) > 2:
            groups[parent] = groups.get(parent, []) + [path for folder in beside for path in groups.pop(folder)]
            inside = [path for path in singles if parent in path.parents]
            groups[parent] += inside
            singles = [path for path in singles if path not in set(inside)]
    return groups, singles


def _stamp(read: CellReads, path: Path) -> Stamp:
    return Stamp(*read.files[str(path)])


def shows_values() -> bool:
    """Return whether values of the data may be kept, such as ends, levels and rows."""
    return os.environ.get("MLOPS_NB_CAPTURE", "source") == "source"
