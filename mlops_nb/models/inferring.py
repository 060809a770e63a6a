"""Which packages a model imports when it is loaded and asked: found by doing that in a process of its own.

So packages that are imported only on the way are found too, and those that the notebook alone has imported are not taken.
"""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

_log = logging.getLogger(__name__)

SECONDS_VARIABLE = "MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT"
"""MLflow's: how long a model may take to be loaded and asked (s); 0: it is not asked."""
_SECONDS = 60.0
_MEMORY = 8 << 30
_OURS = ("mlops_nb", "mlops_nb_server", "__main__")


def imported_by(folder: Path) -> list[str]:
    """Return the distributions that a model imports when it is loaded and asked for its example; empty where that fails.

    A model that is not done in time or that fails is told of in the log.
    """
    try:
        seconds = float(os.environ.get(SECONDS_VARIABLE) or _SECONDS)
    except ValueError:
        seconds = _SECONDS
    if seconds <= 0:
        return []
    root = str(Path(__file__).parent.parent.parent)
    paths = [root, *(path for path in sys.path if path and Path(path).is_dir() and "site-packages" not in path)]
    with tempfile.TemporaryDirectory(prefix="mlops-nb-") as held:
        answer = Path(held) / "imported.json"
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mlops_nb.models.inferring", str(folder.absolute()), str(answer)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            cwd=held,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))},
        )
        try:
            _, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            said = f"it was not done after {seconds:g} s ({SECONDS_VARIABLE})"
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # and what it has started
            process.wait()
            if process.stderr is not None:
                process.stderr.close()
        if process.returncode == 0 and answer.is_file():
            return msgspec.json.decode(answer.read_bytes(), type=list[str])
    last = (said or "").strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
    _log.warning("The requirements of the model may lack packages that it imports when it is asked: asking it failed. %s", last[0][:300])
    return []


def main(folder: Path, answer: Path) -> None:
    """Load a model, ask it for its example, and write which distributions it has imported."""
    _limit()
    from mlops_nb.models.example import read_example
    from mlops_nb.models.flavors import named
    from mlops_nb.models.flavors.form import Opened
    from mlops_nb.models.loading import LoadedModel, _flavor_of
    from mlops_nb.models.metadata import read_metadata
    from mlops_nb.models.scan import Verdict

    about = read_metadata(folder)
    name = _flavor_of(about)
    example = read_example(folder, about.input_example, about.signature)
    # Our own imports are over: what is new from here on is the model's, and so is what its code asks for by name.
    before, asked = set(sys.modules), _watch(folder)
    opened = Opened(folder=folder, about=about.flavors.get(name, {}), pyfunc=about.pyfunc or {}, is_trusted=True, config={})
    model = LoadedModel(folder, about, named(name).load(opened), verdict=Verdict(is_allowed=True))
    if example is not None:
        model.predict(example)
    new = {module.partition(".")[0] for module in set(sys.modules) - before}
    answer.write_bytes(msgspec.json.encode(_distributions(new, asked)))


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard), hard))


def _watch(folder: Path) -> set[str]:
    """Note the top-level modules that code of the folder imports; returns the set that they are added to."""
    found: set[str] = set()
    real = builtins.__import__
    place = str(folder.resolve())

    def watched(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        file = str((globals or {}).get("__file__") or "")
        if level == 0 and file and str(Path(file).resolve()).startswith(place):
            found.add(name.partition(".")[0])
        return real(name, globals, locals, fromlist, level)

    builtins.__import__ = watched
    return found


def _distributions(new: set[str], asked: set[str]) -> list[str]:
    """Return the distributions of modules: all that were asked for, and of the rest those that no other one brings along."""
    owners = metadata.packages_distributions()

    def of(modules: set[str]) -> set[str]:
        chosen = {name for name in modules if name not in sys.stdlib_module_names and name not in _OURS}
        return {_plain(one) for name in chosen for one in owners.get(name, ())}

    wanted, loaded = of(asked), of(new)
    brought = {name for one in wanted | loaded for name in _brought_by(one)}
    return sorted((wanted | (loaded - brought)) - {"mlops-nb"})


def _brought_by(distribution: str) -> set[str]:
    """Return all distributions that come with one."""
    found: set[str] = set()
    todo = [distribution]
    while todo:
        try:
            lines = metadata.requires(todo.pop()) or []
        except metadata.PackageNotFoundError:
            continue
        names = {_plain(re.split(r"[\s\[(<>=!~;]", line)[0]) for line in lines if "extra ==" not in line}
        todo += names - found
        found |= names
    return found - {distribution}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
