"""Serializing estimators: skops where it can say which types it holds, pickles else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mlops_nb.errors import InvalidInput, MissingDependencyError

# Types of these packages come with the model's own requirements: whoever loads the model runs them anyway.
_KNOWN = frozenset({"builtins", "catboost", "collections", "imblearn", "lightgbm", "numpy", "pandas", "scipy", "sklearn", "xgboost"})
FORMATS = ("skops", "cloudpickle", "pickle")


def dump(model: Any, folder: Path, wanted: str | None = None) -> tuple[str, str, list[str] | None]:
    """Write a model as `model.skops` or `model.pkl`.

    Args:
        model: An estimator.
        folder: Where.
        wanted: One of `FORMATS`; None takes skops if all types in the model come from packages that are known to be
            needed, and cloudpickle else.

    Returns:
        The name of the file, the format, and the types that the loader of skops is to trust.

    Raises:
        InvalidInput: If there is no such format.
    """
    if wanted is not None and wanted not in FORMATS:
        raise InvalidInput(f"There is no format '{wanted}'.", hint=f"There are: {', '.join(FORMATS)}.")
    if wanted in (None, "skops"):
        trusted = _dump_skops(model, folder / "model.skops", must=wanted == "skops")
        if trusted is not None:
            return "model.skops", "skops", trusted or None
    return "model.pkl", _dump_pickle(model, folder / "model.pkl", wanted), None


def _dump_skops(model: Any, path: Path, *, must: bool) -> list[str] | None:
    try:
        import skops.io

        skops.io.dump(model, path)
        trusted = [str(name) for name in skops.io.get_untrusted_types(file=path)]
    except Exception:  # not installed, or a part of the model that skops has no form for
        if must:
            raise
        path.unlink(missing_ok=True)
        return None
    if must or all(name.partition(".")[0] in _KNOWN for name in trusted):
        return trusted
    path.unlink()
    return None


def _dump_pickle(model: Any, path: Path, wanted: str | None) -> str:
    import pickle

    kind = "pickle" if wanted == "pickle" else "cloudpickle"
    if kind == "cloudpickle":
        try:
            import cloudpickle as pickle  # type: ignore[no-redef]
        except ImportError:
            kind = "pickle"
    with path.open("wb") as file:
        pickle.dump(model, file)
    return kind


_spares = False


def spare_memory() -> None:
    """Import no more of frameworks from now on than the model needs: for a process that does nothing else than to ask it."""
    global _spares
    _spares = True


def _import_skops_alone() -> None:
    """Import skops without all estimators of scikit-learn, of which it makes a list of what it trusts by itself.

    They are 100 MB and a second. Whoever gets here has looked at the types in the file, and names those that are trusted.
    """
    if "skops.io" in sys.modules:
        return
    import sklearn.utils

    every = sklearn.utils.all_estimators
    sklearn.utils.all_estimators = list
    try:
        import skops.io  # noqa: F401 - for what it does to sys.modules
    finally:
        sklearn.utils.all_estimators = every


def undump(path: Path, kind: str, *, is_trusted: bool) -> Any:
    """Load what `dump` or MLflow wrote; the folder has been scanned.

    Args:
        path: The file.
        kind: One of `FORMATS`.
        is_trusted: Whether a pickle may run whatever it says; else it may look up harmless names only.

    Raises:
        InvalidInput: If there is no such format.
        UnsafeModel: If a pickle that is not trusted looks up something else.
        MissingDependencyError: If its package is not installed.
    """
    if kind == "skops":
        try:
            if _spares and is_trusted:
                _import_skops_alone()
            import skops.io
        except ImportError:
            raise MissingDependencyError("skops", extra="models", purpose=f"Loading {path.name}") from None
        # What a model says that it trusts is not asked: the scan has looked at every type that is in the file.
        return skops.io.load(path, trusted=[str(name) for name in skops.io.get_untrusted_types(file=path)])
    if kind not in FORMATS:
        raise InvalidInput(f"There is no format '{kind}'.", hint=f"There are: {', '.join(FORMATS)}.")
    import pickle

    from mlops_nb.models.scan import pickles

    with path.open("rb") as file:
        return pickle.load(file) if is_trusted else pickles.load(file)
