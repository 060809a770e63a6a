"""Which model folders were written here: their content's hash is kept when they are written, in the user's own state folder.

A tag or a file beside the model would not do: whoever can put a model into a shared store can write those too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mlops_nb import config

_log = logging.getLogger(__name__)
_PIECE = 1 << 20


def content_hash(folder: Path) -> str:
    """Return the SHA-256 in hex of the names and contents of all files in a folder. Links are told from files."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda one: one.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape")
        if path.is_symlink():
            whole.update(b"link\0" + name + b"\0" + os.fsencode(os.readlink(path)) + b"\0")  # noqa: PTH115 - bytes are wanted
        elif path.is_file():
            own = hashlib.sha256()
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    own.update(piece)
            whole.update(b"file\0" + name + b"\0" + own.digest())
    return whole.hexdigest()


def remember(folder: Path) -> None:
    """Keep in mind that this folder was written here. Never raises: a model that is not known is only scanned later."""
    try:
        place = _state() / "models" / content_hash(folder)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(place, json.dumps({"written": time.time(), "folder": str(folder)}))
    except OSError as error:
        _log.warning("The model in %s will be scanned when it is loaded: %s", folder, error)


def is_known(folder: Path) -> bool:
    """Return whether exactly these files were written here by this user."""
    state = _state() / "models"
    try:
        return any(state.iterdir()) and (state / content_hash(folder)).is_file()
    except OSError:
        return False


def record_allowed(folder: Path, findings: Sequence[str]) -> None:
    """Write down that somebody had an unsafe model loaded: when, who, which files, and what the scan had said."""
    entry = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "user": config.user_name(),
        "folder": str(folder.resolve()),
        "content": content_hash(folder),
        "findings": list(findings),
    }
    _log.warning("Loading the unsafe model in %s, as allowed: %s", folder, "; ".join(findings[:3]))
    try:
        _state().mkdir(mode=0o700, parents=True, exist_ok=True)
        allowed_log().touch(mode=0o600)
        with allowed_log().open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        _log.warning("That could not be written down in %s: %s", allowed_log(), error)


def allowed_log() -> Path:
    """Return the file in which unsafe models that were loaded are written down, one JSON object a line."""
    return _state() / "unsafe-models.jsonl"


def _state() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "mlops_nb"


def _write(place: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=place.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    Path(file.name).replace(place)
