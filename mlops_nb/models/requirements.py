"""What a model says that it needs, and which of it this Python does not have."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from pathlib import Path

import msgspec

from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.models.environment import PYTHON_FILE, REQUIREMENTS_FILE
from mlops_nb.models.metadata import MLMODEL_FILE, read_metadata, read_yaml

# What a line of a stranger's requirements may be: a name, extras, versions, a marker. No options, addresses or paths.
_PLAIN = re.compile(r"[A-Za-z0-9][\w.\-]*\s*(\[[\w.\-,\s]*\])?\s*((===|==|>=|<=|~=|!=|<|>)\s*[\w.*+!\-]+\s*,?\s*)*(;[^@#]*)?$")


# What the frameworks of models and what comes with them are called in the index: who asks for these gets no code of his own.
_KNOWN = {
    *("accelerate", "catboost", "cloudpickle", "cmdstanpy", "defusedxml", "dill", "h5py", "jax", "jaxlib", "joblib", "keras", "lightgbm"),
    *("lightning", "mlflow", "mlflow-skinny", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "pandas", "patsy", "pillow", "polars"),
    *("prophet", "protobuf", "psutil", "pyarrow", "pytorch-lightning", "pyyaml", "safetensors", "scikit-learn", "scipy", "sentencepiece"),
    *("sentence-transformers", "skops", "spacy", "statsmodels", "tensorflow", "tensorflow-cpu", "threadpoolctl", "tokenizers", "torch"),
    *("torchaudio", "torchvision", "tqdm", "transformers", "xgboost", "xgboost-cpu"),
}


class Unmet(msgspec.Struct, frozen=True, kw_only=True):
    """A requirement that this Python does not meet. `present` is the version that is here, or ""."""

    name: str
    wanted: str
    present: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.wanted} is wanted, {self.present or 'none'} is here"


def needed_by(folder: Path) -> tuple[str, list[str]]:
    """Return the version of Python and the requirements of a model.

    Raises:
        NotFound: If the folder does not say.
        InvalidInput: If a requirement is an option, an address or a path: installing it would run what is there.
    """
    path = folder / REQUIREMENTS_FILE
    if not path.is_file():
        raise NotFound(f"'{folder}' has no {REQUIREMENTS_FILE}.", hint="--env-manager local uses this Python.")
    lines = [line.partition(" #")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    odd = [line for line in wanted if not _PLAIN.fullmatch(line)]
    if odd:
        raise InvalidInput(
            f"The requirement '{odd[0][:120]}' is no name and version.",
            hint="Edit requirements.txt, if you trust its maker, or use --env-manager local.",
        )
    python = platform.python_version()
    if (folder / PYTHON_FILE).is_file():
        python = str(read_yaml(folder / PYTHON_FILE).get("python") or python)
    if not re.fullmatch(r"3\.\d+(\.\d+)?", python):
        raise InvalidInput(f"The model wants Python '{python[:40]}', which is no version.")
    return python, wanted


def to_install(folder: Path, wanted: list[str]) -> list[str]:
    """Return what has to be in the environment: MLflow only where its own code loads the model."""
    return wanted if _needs_mlflow(folder) else [line for line in wanted if not re.match(r"mlflow(-skinny)?\s*(\[|[=<>~!;]|$)", line)]


def unmet(folder: Path) -> list[Unmet]:
    """Return the requirements that this Python does not meet; none where the folder asks for nothing.

    Raises:
        InvalidInput: See `needed_by`.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        python, lines = needed_by(folder)
    except NotFound:
        return []
    missing: list[Unmet] = []
    here = platform.python_version()
    if python.split(".")[:2] != here.split(".")[:2]:
        missing.append(Unmet(name="Python", wanted=f" {python}", present=here))
    for line in to_install(folder, lines):
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            raise InvalidInput(f"The requirement '{line[:120]}' is no name and version.", hint="Edit requirements.txt.") from None
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            missing.append(Unmet(name=wanted.name, wanted=str(wanted.specifier)))
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            missing.append(Unmet(name=wanted.name, wanted=str(wanted.specifier), present=version))
    return missing


def unknown(lines: list[str]) -> list[str]:
    """Return the names among requirements that are neither a framework's nor of packages that this Python has.

    A package runs code as soon as it is installed beside a program, and anybody may put one into the index.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    names = dict.fromkeys(canonicalize_name(Requirement(line).name) for line in lines)
    here = {canonicalize_name(one.metadata["Name"] or "") for one in metadata.distributions()} if set(names) - _KNOWN else set()
    return [name for name in names if name not in _KNOWN and name not in here]


def told(missing: list[Unmet], shown: int = 5) -> str:
    """Return requirements in words, the first of many."""
    more = f", and {len(missing) - shown} more" if len(missing) > shown else ""
    return "; ".join(str(one) for one in missing[:shown]) + more


def _needs_mlflow(folder: Path) -> bool:
    if not (folder / MLMODEL_FILE).is_file():
        return True
    flavors = read_metadata(folder).flavors
    return set(flavors) <= {"python_function"}
