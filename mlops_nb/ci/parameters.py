"""Parameters as papermill's command line takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlops_nb.core.formatting import one_line
from mlops_nb.errors import InvalidInput, NotFound

_MAX_BYTES = 4_000_000


def parameters_of(
    pairs: Sequence[tuple[str, str]], *, raw: Sequence[tuple[str, str]] = (), files: Sequence[str] = (), texts: Sequence[str] = ()
) -> dict[str, Any]:
    """Return parameters; files come before texts, texts before pairs, and what comes later counts, as in papermill.

    Args:
        pairs: Names and values; True, False, None and numbers are read as such.
        raw: Names and texts.
        files: YAML files.
        texts: YAML.

    Raises:
        NotFound: If a file is not there.
        InvalidInput: If something is no YAML mapping.
    """
    found: dict[str, Any] = {}
    for file in files:
        path = Path(file).expanduser()
        try:
            with path.open("rb") as opened:
                content = opened.read(_MAX_BYTES)
        except FileNotFoundError:
            raise NotFound(f"There is no parameter file '{path}'.", hint="Name a YAML file for -f.") from None
        except OSError as error:
            raise InvalidInput(f"The parameter file '{path}' cannot be read: {error.strerror or error}.") from None
        found |= _mapping(content, path.name)
    for text in texts:
        found |= _mapping(text, "-y")
    found |= {name: _resolved(value) for name, value in pairs}
    return found | dict(raw)


def _mapping(content: bytes | str, where: str) -> dict[str, Any]:
    import yaml
    from papermill.cli import NoDatesSafeLoader

    try:
        value = yaml.load(content, Loader=NoDatesSafeLoader)  # a safe loader that leaves dates as texts
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"{where} is no YAML: {one_line(str(error))[:200]}.", hint="For example: {lr: 0.1, depth: 3}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} holds no parameters.", hint="For example: {lr: 0.1, depth: 3}")
    return value


def _resolved(text: str) -> Any:
    words = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
