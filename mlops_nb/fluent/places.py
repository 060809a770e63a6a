"""Where runs are recorded."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from mlops_nb.errors import InvalidInput
from mlops_nb.fluent.active import active_or_new
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.target import resolve

logger = logging.getLogger("mlops_nb")

_VARIABLE = "MLOPS_NB_TRACKING_URI"
_FILE = "mlops_nb.db"


def set_tracking_uri(uri: str | Path) -> None:
    """Record the runs that follow, of this process and those that it starts, somewhere else. Open runs stay where they are.

    Args:
        uri: `http(s)://host:port/mlops`, `sqlite:///file.db`, a folder (as a path or `file:` URI), which gets a database
            of ours, or "" for the project's own store.

    Raises:
        InvalidInput: If it names no store that we know.
    """
    text = _folder_as_store(str(uri)) if isinstance(uri, Path) or _is_folder(str(uri)) else uri
    if not text:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = resolve(text).store_uri
    sessions.current.retarget()


def _is_folder(uri: str) -> bool:
    return uri.startswith("file:") or (bool(uri) and "://" not in uri and not uri.startswith(("databricks", "sqlite:")))


def _folder_as_store(uri: str) -> str:
    """Return the database that stands for a folder which MLflow would fill with files."""
    folder = Path(unquote(urlsplit(uri).path) if uri.startswith("file:") else uri).expanduser().absolute()
    if folder.is_file():
        raise InvalidInput(f"'{uri}' is a file.", hint=f"Use sqlite:///{folder}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"The folder '{folder}' cannot be made: {error.strerror}.", hint="Name a folder of yours.") from None
    logger.warning("Runs go to %s, not to MLflow's files. What MLflow has in %s: mlops-nb import mlflow", folder / _FILE, folder)
    return f"sqlite:///{quote(str(folder / _FILE))}"


def get_tracking_uri() -> str:
    """Return the URI of the store that a run started now is recorded in."""
    return resolve().store_uri


def get_artifact_uri(artifact_path: str | None = None) -> str:
    """Return where the active run's files are, or one of them; starts a run if none is open. "" where the store does not answer."""
    base = active_or_new().info.artifact_uri
    return f"{base.rstrip('/')}/{artifact_path.strip('/')}" if base and artifact_path else base


def set_registry_uri(uri: str) -> None:
    """Do nothing but say so: models are registered in the store that the runs are in."""
    if uri and uri != get_tracking_uri():
        logger.warning("The registry '%s' is not used: models are registered where the runs are recorded.", uri)


def get_registry_uri() -> str:
    """Return the URI of the registry: that of the store."""
    return get_tracking_uri()
