"""The model registry: registered models, their versions, stages and aliases, and what each may be called.

Limits and messages are MLflow's, whose clients match on them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput

MAX_NAME = 256
MAX_TAG_KEY = 250
MAX_TAG_VALUE = 100_000
MAX_ALIAS = 255
MAX_ID = 64
LATEST = "latest"

# Prompts are registered models with this tag; their text is a tag of the version.
TAG_IS_PROMPT = "mlflow.prompt.is_prompt"
TAG_PROMPT_TEXT = "mlflow.prompt.text"
# The tag of a logged model that lists the versions made from it.
TAG_MODEL_VERSIONS = "mlflow.modelVersions"

_TAG_KEY = re.compile(r"[\w\-. /:]+")
_ALIAS = re.compile(r"[\w-]+")
_VERSION_ALIAS = re.compile(r"[vV]\d+")
_PATH = "Names may be treated as files in certain cases, and must not resolve to other names when treated as such."


class Stage(StrEnum):
    """Where a version is on its way to use. Of each stage a model may have several versions; the newest counts."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"

    @property
    def is_active(self) -> bool:
        """Whether versions of this stage are in use, so that a newer one can replace them."""
        return self in (Stage.STAGING, Stage.PRODUCTION)


class ModelVersion(Record, frozen=True, kw_only=True):
    """A version of a registered model.

    Attributes:
        source: Where its files were found, in canonical form: of a run, a logged model, another version, or a cloud.
        storage_location: Where its files are: `source` with versions and logged models resolved.
        run_id: The run that made it, or "".
        model_id: The logged model that it was made from, or "".
        aliases: In order.
    """

    name: str
    version: int
    creation_time: int
    last_update_time: int
    stage: Stage = Stage.NONE
    description: str = ""
    user: str = ""
    source: str
    storage_location: str
    run_id: str = ""
    run_link: str = ""
    model_id: str = ""
    status: str = "READY"
    status_message: str = ""
    tags: dict[str, str] = {}
    aliases: list[str] = []


class RegisteredModel(Record, frozen=True, kw_only=True):
    """A name under which versions of a model are kept. `aliases` name versions; `latest` has the newest of each stage."""

    name: str
    creation_time: int
    last_update_time: int
    description: str = ""
    tags: dict[str, str] = {}
    aliases: dict[str, int] = {}
    latest: list[ModelVersion] = []

    @property
    def is_prompt(self) -> bool:
        return is_prompt(self.tags)


class RegistryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which registered models or versions, in which order.

    Prompts are found only by a filter that names the tag `mlflow.prompt.is_prompt`.

    Attributes:
        filter: In the language of `core.filters`.
        order_by: Clauses such as `name DESC`.
        max_results: At most as many as the method that takes the query says.
        page_token: From the last `Page`.
    """

    filter: str = ""
    order_by: list[str] = []
    max_results: int = 100
    page_token: str | None = None


def is_prompt(tags: Mapping[str, str]) -> bool:
    """Return whether a model or version with these tags is a prompt."""
    return tags.get(TAG_IS_PROMPT, "").lower() == "true"


def check_model_name(name: str) -> str:
    """Return `name` if it may name a registered model.

    Raises:
        InvalidInput: If it is blank, too long, has '/' or ':', or reads as a folder.
    """
    if not name.strip():
        raise InvalidInput("Missing value for required parameter 'name'.")
    if "/" in name or ":" in name:
        raise InvalidInput(f"Invalid model name '{_shown(name)}'. Names cannot contain '/' or ':'.")
    if name in (".", ".."):
        raise InvalidInput(f"Invalid value \"{name}\" for parameter 'name' supplied: {_PATH} This name would resolve to '{name}'")
    return _limited(name, MAX_NAME, "name")


def check_alias(alias: str) -> str:
    """Return `alias` if it can be an alias: letters, digits, '_' and '-'.

    Raises:
        InvalidInput: If it cannot.
    """
    if not alias:
        raise InvalidInput("Registered model alias name cannot be empty.")
    if not _ALIAS.fullmatch(alias):
        raise InvalidInput(f"Invalid alias name: '{_shown(alias)}'. Names may only contain alphanumerics, underscores (_), and dashes (-).")
    return _limited(alias, MAX_ALIAS, "Registered model alias name")


def check_new_alias(alias: str) -> str:
    """Return `alias` if a version may be given it: `latest` and `v12` mean versions already.

    Raises:
        InvalidInput: If it may not.
    """
    check_alias(alias)
    if is_latest(alias):
        raise InvalidInput("'latest' alias name (case insensitive) is reserved.")
    if _VERSION_ALIAS.fullmatch(alias):
        raise InvalidInput(f"Version alias name '{alias}' is reserved.")
    return alias


def is_latest(alias: str) -> bool:
    """Return whether an alias stands for the newest version, whatever its stage."""
    return alias.lower() == LATEST


def check_tag_key(key: str) -> str:
    """Return `key` if it may name a tag of a model or version.

    Raises:
        InvalidInput: If it may not.
    """
    _limited(key, MAX_TAG_KEY, "key")
    if key and not _TAG_KEY.fullmatch(key):
        raise InvalidInput(
            f"Invalid value \"{key}\" for parameter 'key' supplied: Names may only contain alphanumerics, underscores (_), dashes (-), "
            "periods (.), spaces ( ), colon(:) and slashes (/)."
        )
    plain = posixpath.normpath(key)
    if plain != key or plain in (".", "..") or plain.startswith(("../", "/")):
        raise InvalidInput(f"Invalid value \"{key}\" for parameter 'key' supplied: {_PATH} This name would resolve to '{plain}'")
    return key


def check_tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    """Return tags of a model or version if all of them may be.

    Raises:
        InvalidInput: If one may not.
    """
    for key, value in tags.items():
        check_tag_key(key)
        if key == TAG_PROMPT_TEXT and len(value) > MAX_TAG_VALUE:
            raise InvalidInput(f"Prompt text exceeds max length of {MAX_TAG_VALUE} characters.")
        _limited(value, MAX_TAG_VALUE, "value")
    return tags


def version_number(text: str) -> int:
    """Return the number that names a version.

    Raises:
        InvalidInput: If it is no whole number.
    """
    try:
        return int(text[:MAX_ID])
    except ValueError:
        raise InvalidInput(f"Parameter 'version' must be an integer, got '{_shown(text)}'.") from None


def stage_of(text: str) -> Stage:
    """Return the stage of this name, in any case.

    Raises:
        InvalidInput: If there is none.
    """
    for stage in Stage:
        if stage.value.lower() == text.lower():
            return stage
    raise InvalidInput(f"Invalid Model Version stage: {_shown(text)}. Value must be one of {', '.join(Stage)}.")


def check_id(text: str, what: str) -> str:
    """Return the id of a run or logged model if it can be one.

    Raises:
        InvalidInput: If it is too long.
    """
    return _limited(text, MAX_ID, what)


def _limited(text: str, limit: int, what: str) -> str:
    if len(text) > limit:
        raise InvalidInput(f"'{what}' exceeds the maximum length of {limit} characters", hint=f"It has {len(text)}.")
    return text


def _shown(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "…"
