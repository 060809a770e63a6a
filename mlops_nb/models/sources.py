"""Finding a model by its URI and bringing its folder here: checked, whole or not at all, and kept for the next time.

    models:/<name>/<version>      models:/<name>@<alias>      models:/<name>/<stage>|latest
    models:/m-<id>                runs:/<run id>/<path>       a folder

Downloaded folders are kept below the user's cache, by the place that they come from and the content of the listing. Two
processes at once both download, and the first one to finish counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from mlops_nb.core.artifacts import PROXY_SCHEME, ArtifactOwner
from mlops_nb.core.logged_models import owner_of_model
from mlops_nb.core.model_sources import LoggedModelSource, ProxySource, RunSource, VersionSource, parse_source
from mlops_nb.core.records import Artifact
from mlops_nb.errors import InvalidInput, MlopsError, NotFound, NotSupported
from mlops_nb.models.metadata import MLMODEL_FILE
from mlops_nb.store.base import ServedStore, TrackingStore
from mlops_nb.store.registering import find_version

_MAX_STEPS = 10


class Place(NamedTuple):
    """Files of an owner, such as a run: how to list and read them."""

    name: str
    files: Callable[[], list[Artifact]]
    read: Callable[[str], Iterator[bytes]]
    root: str


class Resolved(NamedTuple):
    """A model that was found: its folder on this machine, and the URI that names exactly this one for ever."""

    folder: Path
    uri: str


def is_uri(text: str) -> bool:
    """Return whether a text names a model of a store, and not a folder."""
    return text.startswith(("models:/", "runs:/", f"{PROXY_SCHEME}:/"))


def fetch_model(uri: str | Path, store: TrackingStore | None = None, *, cache: Path | None = None) -> Resolved:
    """Return the folder of a model on this machine.

    Args:
        uri: One of the forms above.
        store: Where to look; not needed for a folder.
        cache: Where to keep what is downloaded; by default the user's cache folder.

    Raises:
        NotFound: If there is no such model, run or folder, or the place holds no model.
        InvalidInput: If the URI cannot be right.
        NotSupported: If the store cannot say where its files are.
    """
    text = str(uri)
    if not is_uri(text):
        folder = Path(text.removeprefix("file://")).expanduser()
        if not (folder / MLMODEL_FILE).is_file():
            hint = "Give a folder with an MLmodel file, models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-… or runs:/ID/PATH."
            raise NotFound(f"There is no model at '{folder}'.", hint=hint)
        return Resolved(folder.resolve(), str(folder.resolve()))
    if store is None:
        raise InvalidInput(f"'{text}' names a model of a store, and no store is given.", hint="Give store=, or the path of a folder.")
    place = _place(text, store)
    return Resolved(_download(place, text, cache or default_cache()), place.name)


def default_cache() -> Path:
    """Return the folder in which downloaded models are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops_nb" / "models"


def _place(text: str, store: TrackingStore) -> Place:
    """Follow versions and aliases to where the files are."""
    for _ in range(_MAX_STEPS):
        source = parse_source(text)
        if isinstance(source, VersionSource):
            text = _of_version(source, store)
        elif isinstance(source, LoggedModelSource):
            return _of_logged_model(source.model_id, store)
        elif isinstance(source, RunSource):
            return _of_run(source, store)
        elif isinstance(source, ProxySource):
            return _of_proxy(source, store)
        else:
            raise NotSupported(f"The model is at {text[:200]}, which is not in the store.", hint="Download it, and give its folder.")
    raise InvalidInput(f"'{text[:200]}' leads to more than {_MAX_STEPS} other versions.")


def _of_version(source: VersionSource, store: TrackingStore) -> str:
    from mlops_nb.models.remote import version_source

    if not isinstance(store, ServedStore):
        return version_source(store, source)
    version = find_version(store.registry, source)
    return version.storage_location or version.source


def _of_logged_model(model_id: str, store: TrackingStore) -> Place:
    if not isinstance(store, ServedStore):
        from mlops_nb.models.remote import model_place

        return model_place(store, model_id)
    owner = owner_of_model(store.logged_models.get(model_id))
    return _of_owner(f"models:/{model_id}", owner, "", store)


def _of_owner(name: str, owner: ArtifactOwner, root: str, store: ServedStore) -> Place:
    return Place(name, lambda: store.files.list(owner, root, recursive=True), lambda path: store.files.read(owner, path), root)


def _of_run(source: RunSource, store: TrackingStore) -> Place:
    run_id, root = source.run_id, source.uri.removeprefix(f"runs:/{source.run_id}").strip("/")
    run = store.get_run(run_id)
    if root and not store.list_artifacts(run_id, root):
        # Since MLflow 3, what a run calls its model is a logged model of its own.
        for output in run.outputs:
            place = _named_model(output.model_id, root, store)
            if place is not None:
                return place
    files = lambda: store.list_artifacts(run_id, root, recursive=True)  # noqa: E731 - one line says it
    return Place(source.uri, files, lambda path: store.read_artifact(run_id, path), root)


def _named_model(model_id: str, name: str, store: TrackingStore) -> Place | None:
    if isinstance(store, ServedStore):
        return _of_logged_model(model_id, store) if store.logged_models.get(model_id).name == name else None
    from mlops_nb.models.remote import model_name, model_place

    return model_place(store, model_id) if model_name(store, model_id) == name else None


def _of_proxy(source: ProxySource, store: TrackingStore) -> Place:
    """`mlflow-artifacts:/<experiment>/<run>/artifacts/<path>`, or the same of a logged model."""
    parts = source.uri.removeprefix(f"{PROXY_SCHEME}:/").strip("/").split("/")
    if len(parts) >= 4 and parts[1] == "models" and parts[3] == "artifacts":
        return _of_logged_model(parts[2], store)
    if len(parts) >= 4 and parts[2] == "artifacts":
        return _of_run(RunSource(uri=f"runs:/{parts[1]}/{'/'.join(parts[3:])}", run_id=parts[1]), store)
    raise NotFound(f"'{source.uri[:200]}' is no folder of a run or a logged model.")


def _download(place: Place, text: str, cache: Path) -> Path:
    files = [one for one in place.files() if not one.is_dir]
    inner = {one.path[len(place.root) :].lstrip("/") if place.root else one.path: one for one in files}
    if MLMODEL_FILE not in inner:
        raise NotFound(f"'{text}' holds no model: there is no {MLMODEL_FILE}.", hint="mlops-nb artifacts list shows what a run has.")
    listing = json.dumps([place.name, sorted((name, one.file_size) for name, one in inner.items())])
    # The listing does not say what is in the files: MLmodel, which has an id of its own for each model, does.
    mlmodel = b"".join(place.read(inner[MLMODEL_FILE].path))
    key = hashlib.sha256(listing.encode() + b"\0" + mlmodel).hexdigest()[:32]
    target = cache / key
    if _is_whole(target):
        return target
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = Path(tempfile.mkdtemp(dir=cache, prefix=".part-"))
    try:
        sums = {name: _fetch(place, one, held / _checked(name)) for name, one in inner.items()}
        (held.parent / f"{held.name}.sums").write_text(json.dumps(sums), encoding="utf-8")
        try:
            held.rename(target)
        except OSError:  # another process was first, or what is there is damaged
            if not _is_whole(target):
                shutil.rmtree(target, ignore_errors=True)
                held.rename(target)
        (held.parent / f"{held.name}.sums").replace(_sums_of(target))
    finally:
        shutil.rmtree(held, ignore_errors=True)
        (held.parent / f"{held.name}.sums").unlink(missing_ok=True)
    return target


def _checked(name: str) -> str:
    parts = name.split("/")
    if not name or name.startswith("/") or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise InvalidInput(f"The store names a file '{name[:100]}', which is no place in a folder.")
    return name


def _fetch(place: Place, one: Artifact, to: Path) -> str:
    to.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with to.open("wb") as file:
        for piece in place.read(one.path):
            file.write(piece)
            digest.update(piece)
            size += len(piece)
    if one.file_size is not None and size != one.file_size:
        raise MlopsError(f"Of '{one.path}' {size} of {one.file_size} bytes came.", hint="Try again.")
    return digest.hexdigest()


def _is_whole(target: Path) -> bool:
    """Return whether a kept folder has the files that were downloaded, and nothing else."""
    try:
        sums = json.loads(_sums_of(target).read_text(encoding="utf-8"))
        there = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
        return there == set(sums) and all(_sum(target / name) == known for name, known in sums.items())
    except (OSError, ValueError, AttributeError):
        return False


def _sums_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.sums")


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
