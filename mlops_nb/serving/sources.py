"""From a model's URI to a folder with a copy of its files, which a worker can load."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from mlops_nb.core.artifacts import ArtifactOwner, owner_of_run
from mlops_nb.core.logged_models import LoggedModelQuery, owner_of_model
from mlops_nb.core.model_sources import LoggedModelSource, RunSource, Source, VersionSource, parse_source
from mlops_nb.core.registry import ModelVersion
from mlops_nb.errors import NotFound, NotSupported
from mlops_nb.serving import references
from mlops_nb.serving.records import ServedModel
from mlops_nb.store.artifacts.paths import check_artifact_path
from mlops_nb.store.base import ServedStore
from mlops_nb.store.registering import find_version, register

_MOST_FILES = 100_000
_ID_SHOWN = 10
_LONGEST_CHAIN = 10


def fetch(store: ServedStore, uri: str, models: Path, *, register_as: str = "", allow_unsafe: bool = False) -> ServedModel:
    """Return a version with its files below `models`. Models do not change: one that is there already is not copied again.

    Args:
        store: Where the model is.
        uri: As in `StartRequest`.
        models: The folder of copies.
        register_as: Make it a version of this registered model, if it is none of any yet.
        allow_unsafe: Kept with the version.

    Raises:
        NotFound: If there is no such model, or it has no files.
        NotSupported: If its files are in a place that this server does not serve.
    """
    given = parse_source(uri)
    registered, number = "", 0
    source = given
    if isinstance(given, VersionSource):
        version = find_version(store.registry, given)
        registered, number = given.name, version.version
        source = _origin(store, version)
    elif isinstance(given, RunSource) and given.uri == f"runs:/{given.run_id}":
        source = _model_of_run(store, given.run_id)
    if isinstance(source, LoggedModelSource):
        model = store.logged_models.get(source.model_id)
        owner, inner, run_id = owner_of_model(model), "", model.source_run_id
        canonical, key = source.uri, source.model_id
    elif isinstance(source, RunSource):
        owner, run_id = owner_of_run(store.get_run(source.run_id)), source.run_id
        inner = source.uri.removeprefix(f"runs:/{source.run_id}").strip("/")
        canonical, key = source.uri, ""
    else:
        raise NotSupported(
            f"The model '{uri[:200]}' is in a place that this server does not serve.", hint="Register models:/m-… or runs:/…"
        )
    folder = _copy(store, owner, inner, models, key, canonical)
    if register_as and not registered:
        registered, number = register_as, _register(store, register_as, canonical, source, run_id)
    label = str(number) if number else (key or folder.name)[:_ID_SHOWN]
    return ServedModel(
        label=label,
        model=f"models:/{registered}/{number}" if number else canonical,
        folder=folder.name,
        registered=registered,
        run_id=run_id,
        allow_unsafe=allow_unsafe,
        reference=references.of_model(store, run_id, folder),
    )


def _origin(store: ServedStore, version: ModelVersion) -> Source:
    """Return what a version was made from, through the versions between."""
    first = version
    for _ in range(_LONGEST_CHAIN):
        if version.model_id:
            return LoggedModelSource(uri=f"models:/{version.model_id}", model_id=version.model_id)
        source = parse_source(version.source)
        if not isinstance(source, VersionSource):
            return source
        version = find_version(store.registry, source)
    raise NotSupported(f"The version {first.version} of '{first.name}' was made from too long a chain of versions.")


def _model_of_run(store: ServedStore, run_id: str) -> LoggedModelSource:
    """Return the model that a run logged last."""
    run = store.get_run(run_id)
    query = LoggedModelQuery(experiment_ids=[run.experiment_id], filter=f"source_run_id = '{run.run_id}'", max_results=1)
    found = store.logged_models.search(query).items
    if not found:
        raise NotFound(
            f"The run {run.name} ({run.run_id[:8]}) has logged no model.", hint="Log one: %track model VAR, or mlops_nb.log_model."
        )
    return LoggedModelSource(uri=f"models:/{found[0].model_id}", model_id=found[0].model_id)


def _register(store: ServedStore, name: str, canonical: str, source: LoggedModelSource | RunSource, run_id: str) -> int:
    model_id = source.model_id if isinstance(source, LoggedModelSource) else None
    try:
        versions = store.registry.latest_versions(name)
    except NotFound:
        versions = []
    for version in versions:
        if version.source == canonical or (model_id and version.model_id == model_id):  # served again: it is that version
            return version.version
    return register(store, name, canonical, run_id=None if model_id else run_id or None, model_id=model_id).version


def _copy(store: ServedStore, owner: ArtifactOwner, inner: str, models: Path, key: str, canonical: str) -> Path:
    if key:
        known = models / key
        if (known / "MLmodel").is_file():
            return known
    files = [artifact for artifact in store.files.list(owner, inner, recursive=True) if not artifact.is_dir]
    names = {artifact.path for artifact in files}
    if f"{inner}/MLmodel".strip("/") not in names:
        raise NotFound(f"There is no model at {canonical}: no file 'MLmodel'.", hint="Log it with %track model, or mlops_nb.log_model.")
    if len(files) > _MOST_FILES:
        raise NotSupported(f"The model {canonical} has {len(files)} files.", hint=f"At most {_MOST_FILES} are served.")
    models.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.blake2b(canonical.encode(), digest_size=6).hexdigest()
    partial = Path(tempfile.mkdtemp(prefix=f"r-{digest}-", dir=models))
    try:
        for artifact in files:
            parts = check_artifact_path(artifact.path)[len(inner.split("/")) if inner else 0 :]
            target = partial.joinpath(*parts)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with target.open("xb") as file:
                for piece in store.files.read(owner, artifact.path):
                    file.write(piece)
        if not key:
            return partial
        try:
            os.rename(partial, models / key)  # noqa: PTH104 - fails where another start was faster
        except OSError:
            shutil.rmtree(partial)
        return models / key
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def sweep(models: Path, needed: set[str]) -> None:
    """Remove the copies that no endpoint needs."""
    if models.is_dir():
        for folder in models.iterdir():
            if folder.name not in needed and folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)
