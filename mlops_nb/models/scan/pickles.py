"""Pickles: which names they look up, and loading them so that they can look up nothing else.

picklescan lists the names and knows the dangerous ones. Of the scanners that were tried on the corpus of the tests it was
the one that read every harmless model, in milliseconds, without dependencies: fickling 0.1 does not read protocol 5,
modelaudit-picklescan 0.1 takes seconds and sees pickles in the bytes of arrays, modelscan 0.8 misses what is cut off.
All of them know bad names; none decides alone here. A name has to be known as harmless, and `load` checks it again while
the pickle is read, by the reader itself: what a scanner could misread is still refused there.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from typing import Any, BinaryIO

from mlops_nb.errors import MissingDependencyError, UnsafeModel
from mlops_nb.models.scan.allowed import is_allowed

_SHOWN = 4


def reasons(file: BinaryIO, name: str, *, has_ids: bool = False) -> Iterator[str]:
    """Yield why a pickle is not harmless; nothing if it is.

    Args:
        file: The pickle.
        name: What to call it.
        has_ids: Whether its reader has the numbers in other files, and knows them by ids: so it is in files of torch.

    Raises:
        MissingDependencyError: If picklescan is not installed.
    """
    try:
        from picklescan import scanner
    except ImportError:
        raise MissingDependencyError("picklescan", extra="models", purpose="Opening a pickle of somebody else") from None
    import contextlib
    import logging

    # It writes what it finds to its log, which would repeat each refusal.
    log = logging.getLogger("picklescan")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            result = scanner.scan_pickle_bytes(file, name, multiple_pickles=True)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, EOFError, MemoryError, RecursionError, OverflowError) as error:
        yield f"it cannot be read as a pickle ({type(error).__name__})"
        return
    finally:
        log.setLevel(before)
    unknown = sorted({(one.module, one.name) for one in result.globals if not is_allowed(one.module, one.name)})
    if unknown:
        shown = ", ".join(f"{module}.{last}"[:100] for module, last in unknown[:_SHOWN])
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        yield f"loading it runs or looks up {shown}{more}"
    if result.scan_err:
        yield "it is cut off, or no pickle that can be checked"
    yield from _by_opcodes(file, has_ids)


def _by_opcodes(file: BinaryIO, has_ids: bool) -> Iterator[str]:
    """Yield what a pickle does that needs no name."""
    import pickletools

    file.seek(0)
    told: set[str] = set()
    try:
        while file.read(1):
            file.seek(-1, io.SEEK_CUR)
            for opcode, _, _ in pickletools.genops(file):
                why = _TELLING.get(opcode.name)
                if why and why not in told and not (has_ids and opcode.name == "BINPERSID"):
                    told.add(why)
                    yield why
    except (ValueError, IndexError, KeyError, EOFError, UnicodeDecodeError, OverflowError, MemoryError):
        if not told:
            yield "it is cut off, or no pickle that can be checked"


_TELLING = {
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), "it uses codes of copyreg instead of names"),
    **dict.fromkeys(("PERSID", "BINPERSID"), "it asks its reader for objects by an id"),
}


class _Careful(pickle.Unpickler):
    """Looks up names that are known as harmless."""

    def find_class(self, module: str, name: str) -> Any:
        if not is_allowed(module, name):
            raise UnsafeModel(f"The pickle looks up {module[:80]}.{name[:80]}, which could run code.", hint=HINT)
        return super().find_class(module, name)


HINT = "If you trust whoever made the model: allow_unsafe=True, or --allow-unsafe. Better: have it saved as skops, safetensors or ONNX."


def load(file: BinaryIO) -> Any:
    """Load a pickle that may look up harmless names only.

    Raises:
        UnsafeModel: If it looks up another one; nothing of it has been called then.
    """
    return _Careful(file).load()
