"""The bundle of a job: one archive with the files, the notebook, the names of a cell and the lock. The same files make the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec

from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput, StoreDamaged
from mlops_nb.runners.jobs.shipping import MOST_BYTES, MOST_FILES, Shipment

VERSION = 1
_ONE_VERSION = "Use one version of mlops-nb on both sides."
_MANIFEST, _TREE, _STATE = "manifest.json", "tree", "state.pkl"
_LARGEST_MANIFEST = 16 << 20
_LARGEST = MOST_BYTES + (4 << 30)


class Manifest(Record, frozen=True, kw_only=True):
    """What a bundle says of itself.

    Attributes:
        notebook: Path in the tree.
        python: Version that the lock was made with.
        lock: Requirements, `name==version`, of all that the code imports.
        paths: Folders in the tree that are on the search path besides the notebook's.
        environment: `auto` (the machine's own Python if it has all of the lock), `own` or `lock`.
        experiment: Of the runs that the notebook starts.
        commit, branch, repository: Where the tree comes from.
    """

    version: int = VERSION
    notebook: str
    python: str
    lock: Sequence[str] = ()
    paths: Sequence[str] = ()
    environment: str = "auto"
    experiment: str = ""
    commit: str = ""
    branch: str = ""
    repository: str = ""


def write_bundle(path: Path, manifest: Manifest, shipment: Shipment, notebook: bytes, state: bytes | None = None) -> str:
    """Write a bundle and return its SHA-256.

    Args:
        path: Where to.
        manifest: What it says of itself.
        shipment: The files.
        notebook: The notebook as it is to be executed; takes the place of the file of its name.
        state: For `kernel_state.restore`, before the first cell.
    """
    digest = hashlib.sha256()
    with path.open("wb") as raw:
        hashed = _Hashed(raw, digest)
        with (
            gzip.GzipFile(fileobj=hashed, mode="wb", mtime=0, compresslevel=6, filename="") as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            _add(archive, _MANIFEST, msgspec.json.encode(manifest))
            _add(archive, f"{_TREE}/{manifest.notebook}", notebook)
            if state is not None:
                _add(archive, _STATE, state)
            for name in shipment.files:
                if name != manifest.notebook:
                    _add_file(archive, f"{_TREE}/{name}", Path(shipment.root) / name)
    return digest.hexdigest()


class _Hashed:
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes], digest: Any) -> None:
        self._file, self._digest = file, digest

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    archive.addfile(info, io.BytesIO(content))


def _add_file(archive: tarfile.TarFile, name: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            info = tarfile.TarInfo(name)
            info.size = path.stat().st_size
            info.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            archive.addfile(info, file)
    except OSError as error:
        raise InvalidInput(f"'{path}' cannot be read: {error.strerror or error}.", hint="Was it changed meanwhile? Try again.") from None


def unpack(
    pieces: Iterator[bytes], digest: str, folder: Path, *, go_on: Callable[[], None] = lambda: None
) -> tuple[Manifest, Path, Path | None]:
    """Unpack a bundle into an empty folder, after its digest was found to be right.

    Args:
        pieces: Its bytes.
        digest: SHA-256 that they must have: nothing of other bytes is looked at.
        folder: Where to.
        go_on: Called between pieces; raises where nobody waits any more.

    Returns:
        The manifest, the folder of the tree, and the file of a state if there is one.
    Raises:
        StoreDamaged: If the bytes are others.
        InvalidInput: If it is no bundle of ours, or leads out of the folder.
    """
    packed = folder / "bundle.tar.gz"
    found = hashlib.sha256()
    with packed.open("wb") as file:
        for piece in pieces:
            found.update(piece)
            file.write(piece)
            go_on()
    if found.hexdigest() != digest:
        packed.unlink()
        raise StoreDamaged("The bundle of the job is not the one that was submitted; it is not executed.", hint="Submit the job again.")
    target = folder / "bundle"
    target.mkdir()
    try:
        with tarfile.open(packed, mode="r:gz") as archive:
            archive.extractall(target, members=_checked(archive), filter="data")
        content = (target / _MANIFEST).read_bytes()
        manifest = msgspec.json.decode(content[:_LARGEST_MANIFEST], type=Manifest)
    except (tarfile.TarError, OSError, EOFError, msgspec.MsgspecError) as error:
        raise InvalidInput(f"The bundle of the job cannot be unpacked: {error}.", hint=_ONE_VERSION) from None
    finally:
        packed.unlink(missing_ok=True)
    if manifest.version != VERSION:
        raise InvalidInput(f"The bundle is of version {manifest.version}, and this is {VERSION}.", hint=_ONE_VERSION)
    for name in (manifest.notebook, *manifest.paths):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InvalidInput(f"The bundle names '{name[:80]}', which lies outside of it.")
    state = target / _STATE
    return manifest, target / _TREE, state if state.is_file() else None


def _checked(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    size = count = 0
    for member in archive:
        size, count = size + member.size, count + 1
        if size > _LARGEST or count > MOST_FILES + 10:
            raise tarfile.TarError("it is larger than a bundle may be")
        if member.name.startswith("/") or ".." in PurePosixPath(member.name).parts:
            raise tarfile.TarError(f"'{member.name[:80]}' lies outside of it")
        if not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"'{member.name[:80]}' is no plain file")
        yield member


def tree_changes(before: Mapping[str, tuple[int, int]], tree: Path) -> dict[str, int]:
    """Return the files of a tree that are new or others than `snapshot` saw, with their sizes."""
    now = snapshot(tree)
    return {name: stat[0] for name, stat in now.items() if before.get(name) != stat}


def snapshot(tree: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of all files of a tree, by path."""
    found = {}
    for path in tree.rglob("*"):
        parts = path.relative_to(tree).parts
        if path.is_file() and not path.is_symlink() and not any(part in ("__pycache__", ".mlops", ".ipynb_checkpoints") for part in parts):
            stat = path.stat()
            found["/".join(parts)] = (stat.st_size, stat.st_mtime_ns)
    return found
