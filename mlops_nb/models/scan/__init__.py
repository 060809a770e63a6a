"""Looking at a model folder before anything in it is loaded: what in it could run code, and why.

allowed     names that a stranger's file may look up
pickles     pickles, of whatever name
files       what kind of file it is, and what is packed in it
formats     skops, Keras, HDF5, ONNX
trust       folders that were written here, known by their content
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from mlops_nb.errors import UnsafeModel
from mlops_nb.models.flavors import LOADERS
from mlops_nb.models.metadata import ModelMetadata, read_metadata
from mlops_nb.models.scan.pickles import HINT

__all__ = ["Finding", "Verdict", "check", "scan_folder"]

MAX_FILES = 20_000
_SHOWN = 5


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What in a folder could run code. `file` is relative to the folder; of what is packed: `file:member`."""

    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a folder may run code of its own.

    Attributes:
        findings: What the scan found.
        is_known: Whether this user's mlops-nb wrote exactly these files.
        is_allowed: Whether somebody said that it may, in spite of the findings.
    """

    findings: list[Finding] = []
    is_known: bool = False
    is_allowed: bool = False

    @property
    def is_trusted(self) -> bool:
        """Whether loaders may run what is in the folder."""
        return self.is_known or self.is_allowed


def scan_folder(folder: Path, metadata: ModelMetadata | None = None) -> list[Finding]:
    """Return everything in a model folder that could run code when it is loaded. Nothing of it is run.

    Raises:
        NotFound, InvalidInput: If there is no model that can be read.
        MissingDependencyError: If the folder has files that need a package to be checked.
    """
    from mlops_nb.models.scan import files

    about = metadata if metadata is not None else read_metadata(folder)
    found = [Finding(file="MLmodel", reason=reason) for reason in _of_metadata(about)]
    code = _code_folders(about)
    as_pickles = _pickled(about)
    for count, path in enumerate(sorted(folder.rglob("*"))):
        name = path.relative_to(folder).as_posix()
        if count >= MAX_FILES:
            return [*found, Finding(file=".", reason=f"it holds more than {MAX_FILES} files")]
        if path.is_symlink():
            found.append(Finding(file=name, reason="it is a link, which may lead anywhere"))
        elif path.is_file():
            if any(name == one or name.startswith(one + "/") for one in code):
                found.append(Finding(file=name, reason="it is code that is imported when the model is loaded"))
            else:
                found += [Finding(file=at, reason=why) for at, why in files.look_at(path, name, is_pickle=name in as_pickles)]
        elif not path.is_dir():
            found.append(Finding(file=name, reason="it is no plain file"))
    return found


def check(folder: Path, metadata: ModelMetadata, *, allow_unsafe: bool = False) -> Verdict:
    """Return whether a folder may be loaded, and how.

    Args:
        folder: The model folder.
        metadata: What its `MLmodel` says.
        allow_unsafe: Whether somebody said yes to whatever is in it; written down if there is something.

    Raises:
        UnsafeModel: If something in it could run code, it was not written here, and nobody said yes.
    """
    from mlops_nb.models.scan import trust

    if trust.is_known(folder):
        return Verdict(is_known=True)
    found = scan_folder(folder, metadata)
    if not found:
        return Verdict(is_allowed=allow_unsafe)
    if allow_unsafe:
        trust.record_allowed(folder, [str(finding) for finding in found])
        return Verdict(findings=found, is_allowed=True)
    raise UnsafeModel(f"The model in '{folder}' could run code when it is loaded. {_told(found)}", hint=HINT)


def _told(found: Sequence[Finding]) -> str:
    shown = "; ".join(str(finding) for finding in found[:_SHOWN])
    return f"{shown}; and {len(found) - _SHOWN} more." if len(found) > _SHOWN else f"{shown}."


def _of_metadata(metadata: ModelMetadata) -> Iterator[str]:
    about = metadata.pyfunc or {}
    loader = str(about.get("loader_module", ""))
    if loader and loader not in LOADERS and not loader.startswith("mlflow.pyfunc."):
        yield f"it has the module '{loader[:80]}' load it"
    if about.get("model_code_path"):
        yield f"it is made by running {Path(str(about['model_code_path'])).name[:80]}"


def _code_folders(metadata: ModelMetadata) -> set[str]:
    named = {str(about["code"]).strip("/") for about in metadata.flavors.values() if about.get("code")}
    model_code = (metadata.pyfunc or {}).get("model_code_path")
    return {"code", *named, *([Path(str(model_code)).name] if model_code else [])}


def _pickled(metadata: ModelMetadata) -> set[str]:
    """Return the files that a loader would unpickle, whatever they are called."""
    named: set[str] = set()
    for name, about in metadata.flavors.items():
        if about.get("serialization_format") in ("pickle", "cloudpickle", "joblib") or name in ("sklearn", "statsmodels"):
            named |= {str(about[key]) for key in ("pickled_model", "data") if isinstance(about.get(key), str)}
        if isinstance(about.get("python_model"), str):
            named.add(str(about["python_model"]))
    return {name for name in named if not name.endswith((".skops", ".lgb"))}
