"""Noting data sets by hand, and those that a model is trained on."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_nb.core.datasets import CONTEXT_TAG, Dataset, DatasetInput
from mlops_nb.core.events import DatasetLogged
from mlops_nb.core.records import TAG_GIT_COMMIT, TAG_NOTEBOOK, TAG_SOURCE_NAME
from mlops_nb.core.redaction import Redactor
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.data.hashing import HashCache
from mlops_nb.tracking.data.sources import Places

if TYPE_CHECKING:
    from mlops_nb.tracking.data.frames import Study
    from mlops_nb.tracking.run import ActiveRun

logger = logging.getLogger("mlops_nb")


def log_data(run: ActiveRun, thing: Any, name: str | None = None, context: str | None = None) -> Dataset:
    """Note a data set that a run reads, and return it.

    Args:
        run: The run.
        thing: A path, an address, a table, an array, a data set of ours or one of MLflow's.
        name: What to call it; by default the path within the project, or the variable.
        context: What it is for, such as `training`.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If a text is longer than MLflow allows, or a file cannot be read.
    """
    if isinstance(thing, Dataset):
        dataset = thing
    elif (theirs := _of_mlflow(thing)) is not None:
        dataset = theirs
    elif isinstance(thing, (str, os.PathLike)):
        dataset = dataset_of(thing, name)
    else:
        study = _study(thing, None, name or variable_name(thing))
        _keep_sketch(run, study)
        dataset = study.dataset
    if name and dataset.name != name:
        dataset = _renamed(dataset, name)
    run.log_input(dataset, context)
    return dataset


def log_fit_data(run: ActiveRun, features: Any, target: Any = None, context: str = "training", name: str | None = None) -> Dataset | None:
    """Note what a model is trained on, told apart by every value in it. Never raises.

    Args:
        run: The run.
        features: A table, an array, a tensor, a list; what can be read only once (a generator, a loader) is left alone.
        target: The labels.
        context: What it is for.
        name: What to call it; by default the variable's name in the notebook.
    """
    if _level() == "off":
        return None
    try:
        from mlops_nb.tracking.data.tables import row_count

        if row_count(features) is None:
            return None
        study = _study(features, target, name or variable_name(features))
        _keep_sketch(run, study)
        run.tell(
            DatasetLogged(input=DatasetInput(dataset=study.dataset, tags={CONTEXT_TAG: context} if context else {}), cell=run.running_cell)
        )
        return study.dataset
    except Exception:  # it is the training that matters
        logger.debug("the data of a training could not be told apart", exc_info=True)
        return None


def dataset_in_memory(features: Any, target: Any = None, name: str | None = None) -> Dataset:
    """Return a table or an array as a data set, with the notebook or program as its source."""
    return _study(features, target, name or variable_name(features)).dataset


def variable_name(thing: Any) -> str | None:
    """Return the name of the notebook's variable that holds a value."""
    there = sessions.current.user_ns or {}
    return next((key for key, value in list(there.items()) if value is thing and not key.startswith("_")), None)


def _study(features: Any, target: Any, name: str | None) -> Study:
    from mlops_nb.tracking.data.frames import DEFAULT_NAME, Part, study

    parts = [Part(data=features)]
    if target is not None:
        parts.append(Part(data=target, name="target", role="target"))
    return study(parts, name=name, source=_here(name or DEFAULT_NAME), shows_values=_level() == "source")


def _here(name: str) -> Dataset:
    """Return what stands for the source of data that code made: the notebook or program, in MLflow's form."""
    from mlops_nb.tracking import capture

    project = sessions.current.shipper().target.project
    found = capture.source_tags(project, sessions.current.user_ns)
    tags = {key: found[key] for key in (TAG_SOURCE_NAME, TAG_NOTEBOOK, TAG_GIT_COMMIT) if key in found}
    return Dataset(name=name, digest="", source_type="code", source=json.dumps({"tags": tags}))


def dataset_of(path: str | os.PathLike[str], name: str | None = None) -> Dataset:
    """Return a path or address as a data set; see `log_data`."""
    path = os.fspath(path)
    target = sessions.current.shipper().target
    places = Places(target.project.root, HashCache(target.state_dir / "hashes.db"), Redactor(os.environ))
    try:
        if "://" in path and not path.startswith("file://"):
            return places.remote(path, name=name)
        local = Path(path.removeprefix("file://")).expanduser()
        if not local.exists():
            raise NotFound(f"There is no file '{path}'.", hint="Give a path, an address or a variable.")
        return places.path(local, name=name)
    except OSError as error:
        raise InvalidInput(f"'{path}' cannot be read: {error.strerror or error}.") from None
    finally:
        places.cache.close()


def _of_mlflow(thing: Any) -> Dataset | None:
    """Return what MLflow's own data set objects say of themselves (`mlflow.data.from_pandas(...)`)."""
    to_dict = getattr(thing, "to_dict", None)
    if not callable(to_dict) or not all(hasattr(thing, part) for part in ("name", "digest", "source", "profile")):
        return None
    said = to_dict()
    return Dataset(
        name=str(said["name"]),
        digest=str(said["digest"]),
        source_type=str(said["source_type"]),
        source=str(said["source"]),
        schema=said.get("schema"),
        profile=said.get("profile"),
    )


def _keep_sketch(run: ActiveRun, study: Study) -> None:
    if study.sketch is not None and study.profile.sketch is not None:
        run.add_beside(study.profile.sketch, study.sketch)


def _renamed(dataset: Dataset, name: str) -> Dataset:
    import msgspec

    return msgspec.structs.replace(dataset, name=name)


def _level() -> str:
    return os.environ.get("MLOPS_NB_CAPTURE", "source")
