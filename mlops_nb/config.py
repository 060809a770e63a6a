"""Where things are and how they are set: arguments, then environment, then the project file, then defaults.

A project's state is one folder, `.mlops/` at the project root. Where the project cannot be written, the state
lives in the user's state folder instead, so that nothing is lost; every face resolves it the same way.
"""

from __future__ import annotations

import functools
import getpass
import hashlib
import os
import tempfile
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from mlops_nb.errors import InvalidInput

STATE_FOLDER = ".mlops"
# What of the state folder belongs into the repository: the gates and the baseline of `mlops-nb ci run`.
GATE_FILE, BASELINE_FILE = "gates.yml", "baseline.json"
_IGNORE = f"*\n!/{GATE_FILE}\n!/{BASELINE_FILE}\n"
_IGNORE_ALL = "*\n"
_ROOT_MARKERS = (STATE_FOLDER, ".git", "pyproject.toml")
_ENV_TRACKING_URI = ("MLOPS_NB_TRACKING_URI", "MLFLOW_TRACKING_URI")
_ENV_ARTIFACT_ROOT = ("MLOPS_NB_ARTIFACT_ROOT",)
_ENV_EXPERIMENT = ("MLOPS_NB_EXPERIMENT", "MLFLOW_EXPERIMENT_NAME")
_ENV_TOKEN = ("MLOPS_NB_TRACKING_TOKEN", "MLFLOW_TRACKING_TOKEN")


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A folder whose runs belong together.

    Attributes:
        root: The project's root folder.
        state_dir: Where its store, artifacts and journals are; may not exist yet.
        is_fallback: Whether `state_dir` is not in the project, because that cannot be written.
    """

    root: Path
    state_dir: Path
    is_fallback: bool = False

    @property
    def name(self) -> str:
        return self.root.name or "project"

    @property
    def store_uri(self) -> str:
        return f"sqlite:///{quote(str(self.state_dir / 'store.db'))}"

    @property
    def journal_dir(self) -> Path:
        return self.state_dir / "journal"

    def create(self) -> None:
        """Make the state folder, private to the user and invisible to git, but for the gate file and the baseline.

        It may exist already.

        Raises:
            OSError: If it cannot be made.
        """
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = self.state_dir / ".gitignore"
        # Folders of earlier versions ignore all; what somebody wrote otherwise stays.
        if not ignore.exists() or ignore.read_text(encoding="utf-8", errors="replace") == _IGNORE_ALL:
            ignore.write_text(_IGNORE)


def find_project(start: Path | None = None) -> Project:
    """Return the project that a folder belongs to: the nearest parent with `.mlops`, `.git` or `pyproject.toml`.

    Without such a parent the folder itself is the project. Nothing is created.
    """
    try:
        folder = (start or Path.cwd()).resolve()
    except FileNotFoundError:  # the working directory has been removed under this process
        folder = Path(os.environ.get("PWD") or Path.home())
    root = next((p for p in (folder, *folder.parents) if any((p / marker).exists() for marker in _ROOT_MARKERS)), folder)
    state = root / STATE_FOLDER
    if _can_write(state if state.exists() else root):
        return Project(root=root, state_dir=state)
    return Project(root=root, state_dir=_fallback_state_dir(root), is_fallback=True)


def _can_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _fallback_state_dir(root: Path) -> Path:
    name = f"{root.name or 'root'}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}"
    state_home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    nearest = next((p for p in (state_home, *state_home.parents) if p.exists()), state_home)
    base = state_home / "mlops_nb" if _can_write(nearest) else Path(tempfile.gettempdir()) / f"mlops_nb-{os.getuid()}"
    return base / "projects" / name


def setting(name: str, environment: tuple[str, ...], *, argument: str | None = None, start: Path | None = None) -> str | None:
    """Return a setting: the argument, else the first environment variable that is set, else `[tool.mlops_nb]`."""
    if argument:
        return argument
    for variable in environment:
        if value := os.environ.get(variable):
            return value
    value = _project_file(find_project(start).root / "pyproject.toml").get(name)
    return None if value is None else str(value)


@functools.lru_cache(maxsize=8)
def _read_project_file(path: Path, _modified: int) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("mlops_nb", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}.", hint="Mend the file, or set the MLOPS_NB_… variables.") from None
    return dict(table)


def _project_file(path: Path) -> dict[str, Any]:
    try:
        modified = path.stat().st_mtime_ns
    except OSError:
        return {}
    return _read_project_file(path, modified)


def ci_table(start: Path | None = None) -> dict[str, Any]:
    """Return `[tool.mlops_nb.ci]` of the project file: the settings of `mlops-nb ci run`.

    Raises:
        InvalidInput: If it is no table, or the file cannot be read.
    """
    table = _project_file(find_project(start).root / "pyproject.toml").get("ci", {})
    if not isinstance(table, dict):
        raise InvalidInput("tool.mlops_nb.ci in pyproject.toml is no table.", hint="Write [tool.mlops_nb.ci] and its settings below.")
    return table


def tracking_uri(argument: str | None = None) -> str | None:
    """Return the tracking URI that the user chose, or None for the default (this Jupyter server, else the embedded store)."""
    return setting("tracking_uri", _ENV_TRACKING_URI, argument=argument)


def is_mlflows(uri: str) -> bool:
    """Return whether a tracking URI comes from MLflow's variable: then a database that it names is MLflow's, not ours."""
    return not os.environ.get("MLOPS_NB_TRACKING_URI") and uri == os.environ.get("MLFLOW_TRACKING_URI")


def tracking_token() -> str | None:
    """Return the token for a tracking server, from the environment only: tokens do not belong in files of a project."""
    return next((os.environ[v] for v in _ENV_TOKEN if os.environ.get(v)), None)


def artifact_root(start: Path | None = None) -> str | None:
    """Return the URI of the place that the user chose for the files of runs, or None for the database's own.

    `start` is the folder whose project is asked; by default the working directory.
    """
    return setting("artifact_root", _ENV_ARTIFACT_ROOT, start=start)


def experiment_name(argument: str | None = None) -> str | None:
    """Return the experiment that new runs join, or None for the default."""
    return setting("experiment", _ENV_EXPERIMENT, argument=argument)


def user_name() -> str:
    """Return the name of whoever runs this, or "" where the system does not know."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in passwd
        return ""
