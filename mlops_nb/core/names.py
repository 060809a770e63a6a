"""What names and values may be: MLflow's limits, checked once, with errors that say what to do."""

from __future__ import annotations

import functools
import re
import secrets
import unicodedata
import uuid

from mlops_nb.errors import InvalidInput

MAX_KEY = 250
MAX_PARAM_VALUE = 6000
MAX_TAG_VALUE = 8000
MAX_EXPERIMENT_NAME = 500
MAX_EXPERIMENT_TAG_VALUE = 20_000
MAX_RUN_NAME = 250
MAX_USER = 256

_KEY = re.compile(r"[\w\-. /:]+")
_RUN_ID = re.compile(r"[0-9a-zA-Z_-]{1,64}")


@functools.lru_cache(maxsize=4096)
def check_key(key: str, what: str = "metric") -> str:
    """Return `key` if it may name a metric, param or tag.

    Raises:
        InvalidInput: If it is empty, too long, has other characters than letters, digits and `_-. /:`,
            or looks like a path that leads out of its folder.
    """
    if not isinstance(key, str) or not key:
        raise InvalidInput(f"A {what} needs a name, not {key!r}.")
    if len(key) > MAX_KEY:
        raise InvalidInput(f"The {what} name '{key[:40]}…' has {len(key)} characters; {MAX_KEY} are allowed.")
    if not _KEY.fullmatch(key):
        raise InvalidInput(
            f"The {what} name {key!r} has characters that are not allowed.",
            hint="Use letters, digits, '_', '-', '.', ' ', ':' and '/'.",
        )
    if key.startswith("/") or any(part in ("", ".", "..") for part in key.split("/")):
        raise InvalidInput(f"The {what} name {key!r} is not allowed: it reads as a path.", hint="Use it without '.' or '..' parts.")
    return key


SYSTEM_METRICS = "system/"
"""The beginning of the names of metrics about the machine, as in MLflow; they say nothing about the model."""


def clean_text(text: str) -> str:
    """Return text that can be stored: half characters, as from a file name in another encoding, are written out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def check_param(key: str, value: object) -> str:
    """Return the text of a param's value.

    Raises:
        InvalidInput: If the name is not allowed or the text too long.
    """
    text = clean_text(str(value))
    if len(text) > MAX_PARAM_VALUE:
        raise InvalidInput(f"The param '{key}' has {len(text)} characters; {MAX_PARAM_VALUE} are allowed.", hint="Use log_text.")
    check_key(key, "param")
    return text


def check_tag(key: str, value: object) -> str:
    """Return the text of a tag's value.

    Raises:
        InvalidInput: If the name is not allowed or the text too long.
    """
    text = clean_text(str(value))
    if len(text) > MAX_TAG_VALUE:
        raise InvalidInput(f"The tag '{key}' has {len(text)} characters; {MAX_TAG_VALUE} are allowed.", hint="Use log_text.")
    check_key(key, "tag")
    return text


def check_experiment_name(name: str) -> str:
    """Return `name` if it may name an experiment.

    Raises:
        InvalidInput: If it is empty or too long.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput("An experiment needs a name.")
    if len(name) > MAX_EXPERIMENT_NAME:
        raise InvalidInput(f"The experiment name has {len(name)} characters; {MAX_EXPERIMENT_NAME} are allowed.")
    return name


def clean_run_name(name: str) -> str:
    """Return `name` on one line, without control characters, cut to the allowed length.

    A run name is free text for people; it is never a path or a key, so it is cleaned and not refused.
    """
    name = clean_text(name)
    text = "".join(c if unicodedata.category(c)[0] != "C" or c == "\u200d" else " " for c in name)
    return " ".join(text.split())[:MAX_RUN_NAME]


def is_run_id(text: str) -> bool:
    """Return whether `text` can be a run id: it becomes a folder name, so it must be harmless as one."""
    return _RUN_ID.fullmatch(text) is not None


def new_run_id() -> str:
    """Return a new run id: 32 hex digits, as MLflow's."""
    return uuid.uuid4().hex


_ADJECTIVES = (
    "amber able brisk bright calm clear crisp deft eager early fair fleet gentle glad golden keen kind light lively "
    "lucid mellow merry neat nimble patient plucky polite proud quick quiet ready royal serene sharp silver smooth "
    "sober spry steady sturdy subtle sunny swift tidy vivid warm wise witty"
).split()
_NOUNS = (
    "adder albatross badger bison bittern condor crane curlew dipper dunlin egret falcon ferret finch gannet gecko "
    "heron hornet ibex ibis jackdaw jay kestrel kite lapwing lark linnet lynx marten merlin newt nuthatch oriole osprey "
    "otter owl petrel pipit plover puffin quail raven robin shrike siskin snipe stoat swift tern vole wren"
).split()


def new_run_name() -> str:
    """Return a name that people can say, such as calm-ibis-12."""
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{secrets.randbelow(100)}"
