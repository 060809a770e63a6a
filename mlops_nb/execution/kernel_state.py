"""The variables of a notebook as a file, written and read in its kernel: what lets another kernel go on where this one was.

All that can be pickled goes into one pickle, so that what two names share stays shared. Functions that the notebook has
defined see, read back, the variables of the new notebook and not copies. Open runs become the same runs again. What cannot
be pickled (generators, connections, locks) is left out and named.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import random
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from mlops_nb.core.records import TAG_EXECUTION
from mlops_nb.core.redaction import is_secret_name
from mlops_nb.errors import InvalidInput, MissingDependencyError, MlopsError
from mlops_nb.execution.course import Saved, Value
from mlops_nb.store.base import RunQuery
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.run import ActiveRun

_NAMESPACE, _RUN, _SHELL = "namespace", "run", "shell"


class TooLarge(MlopsError):
    """The variables take more room than a checkpoint may."""


class _OpenRun(msgspec.Struct, frozen=True):
    run_id: str
    steps: dict[str, int]


class _Namespace(dict[str, Any]):
    """Stands for the notebook's variables in a pickle."""


class _Limited(io.RawIOBase):
    """Counts, hashes and passes on what is written, up to a limit."""

    def __init__(self, file: IO[bytes] | None, limit: int) -> None:
        self.size = 0
        self.hash = hashlib.sha256()
        self._file = file
        self._limit = limit

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.size += len(view)
        if self.size > self._limit:
            raise TooLarge(f"The variables take more than {self._limit >> 20:,} MiB.", hint="MLOPS_NB_CHECKPOINT_MIB allows more.")
        if self._file is not None:
            self._file.write(view)
            self.hash.update(view)
        return len(view)


def _pickler(file: Any, variables: dict[str, Any]) -> Any:
    try:
        import cloudpickle
    except ImportError:
        raise MissingDependencyError("cloudpickle", extra="models", purpose="Keeping the variables of a notebook") from None
    stand_in = _Namespace()

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
        def persistent_id(self, obj: Any) -> Any:
            if obj is stand_in or obj is variables:
                return (_NAMESPACE,)
            if isinstance(obj, ActiveRun):
                return (_RUN, obj.run_id)
            if type(obj).__name__ == "ZMQInteractiveShell":
                return (_SHELL,)
            return None

    made = Pickler(file, protocol=5)
    # Functions of the notebook refer to its variables by this, instead of bringing a copy of them.
    made.globals_ref[id(variables)] = stand_in
    return made


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, variables: dict[str, Any], runs: Mapping[str, Any], shell: Any) -> None:
        super().__init__(file)
        self._variables, self._runs, self._shell = variables, runs, shell

    def persistent_load(self, pid: Any) -> Any:
        kind = pid[0]
        if kind == _NAMESPACE:
            return self._variables
        if kind == _SHELL:
            return self._shell
        if kind == _RUN:
            return self._runs.get(pid[1]) or sessions.current.attach(pid[1])
        raise pickle.UnpicklingError(f"unknown reference {kind!r}")


def prepare() -> None:
    """Load what writing needs.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    _pickler(io.BytesIO(), {})


def own_names(shell: Any) -> list[str]:
    """Return the names that the notebook has given, without IPython's."""
    hidden = shell.user_ns_hidden
    return [
        name
        for name, value in shell.user_ns.items()
        if not name.startswith("_") and name not in ("In", "Out", "exit", "quit", "get_ipython") and hidden.get(name, shell) is not value
    ]


def save(shell: Any, path: Path, *, names: Iterable[str] | None = None, limit: int) -> Saved:
    """Write variables to a file that appears whole; those that cannot be pickled are left out.

    Args:
        shell: The notebook's IPython shell.
        path: The file.
        names: Which; None: all, with the surroundings: working directory, search path, generators of random numbers, open runs.
        limit: The most bytes.

    Raises:
        TooLarge: If they take more.
    """
    variables = shell.user_ns
    chosen = own_names(shell) if names is None else [name for name in names if name in variables]
    values = {name: variables[name] for name in chosen}
    surroundings = _surroundings(shell) if names is None else {}
    partial = path.with_suffix(".partial")
    left_out: dict[str, str] = {}
    try:
        for is_last in (False, True):
            try:
                with partial.open("wb") as file:
                    sink = _Limited(file, limit)
                    _dump(sink, surroundings, values, variables)
                    file.flush()
                    os.fsync(file.fileno())
                break
            except (MlopsError, OSError, MemoryError):
                raise
            except Exception:
                left_out = _problems(values, variables, limit)
                if is_last or not left_out:
                    raise
                values = {name: value for name, value in values.items() if name not in left_out}
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return Saved(size=sink.size, sha256=sink.hash.hexdigest(), left_out=left_out)


def _dump(sink: _Limited, surroundings: Mapping[str, Any], values: Mapping[str, Any], variables: dict[str, Any]) -> None:
    """Write two pickles: what the second needs to be read (search path, open runs) is in the first."""
    _pickler(sink, variables).dump(dict(surroundings))
    _pickler(sink, variables).dump(dict(values))


def _problems(names: Mapping[str, Any], variables: dict[str, Any], limit: int) -> dict[str, str]:
    """Return, by name, why variables cannot be pickled."""
    found = {}
    for name, value in names.items():
        try:
            _pickler(_Limited(None, limit), variables).dump(value)
        except TooLarge:
            raise
        except Exception as error:  # noqa: BLE001  # any object may refuse in any way
            found[name] = f"{type(value).__name__}: {error}"[:300]
    return found


def _surroundings(shell: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "time": time.time_ns() // 1_000_000,
        "folder": os.getcwd(),  # noqa: PTH109  # a text, as it stands
        "search": list(sys.path),
        "environment": {key: value for key, value in os.environ.items() if _AT_START.get(key) != value and not is_secret_name(key)},
        "random": random.getstate(),
        "count": shell.execution_count,
        "extensions": sorted(shell.extension_manager.loaded),
        "runs": [_OpenRun(run.run_id, run.steps) for run in sessions.current.runs if run.thread is None],
    }
    if "numpy" in sys.modules:
        found["numpy"] = sys.modules["numpy"].random.get_state()
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_rng_state"):
        found["torch"] = torch.get_rng_state()
    return found


_saved_at = [0]
"""When the variables of this kernel were saved by the one before (ms since 1970): runs that began later are begun again."""
_AT_START: dict[str, str] = dict(os.environ)


def restore(shell: Any, path: Path) -> None:
    """Give a notebook the variables of a file, and the surroundings that were saved with them.

    This runs the code that the file names: read only what a digest vouches for.

    Raises:
        InvalidInput: If the file is none of ours, or this environment lacks what its objects are made of.
    """
    variables = shell.user_ns
    try:
        with path.open("rb") as file:
            around = pickle.load(file)
            runs = _reopen(around.get("runs", ()))
            if around:
                _surround(around)
            variables.update(_Unpickler(file, variables, runs, shell).load())
    except (MlopsError, OSError):
        raise
    except Exception as error:
        raise InvalidInput(
            f"The variables cannot be read: {type(error).__name__}: {error}"[:500],
            hint="They need the environment that they were written in.",
        ) from error
    for name in around.get("extensions", ()):
        shell.extension_manager.load_extension(name)
    shell.execution_count = around.get("count", shell.execution_count)
    _saved_at[0] = around.get("time", 0)
    _set_generators(around)


def _reopen(open_runs: Sequence[_OpenRun]) -> dict[str, Any]:
    """Resume the runs that were open, with the steps that they had then, and return them by id."""
    session = sessions.current
    runs: dict[str, Any] = {run.run_id: run for run in session.runs}
    for each in open_runs:
        if each.run_id not in runs:
            run = session.start(resume=session.store().get_run(each.run_id), nested=True)
            run.count_from(each.steps)
            runs[each.run_id] = run
    return runs


def _surround(around: Mapping[str, Any]) -> None:
    if Path(around["folder"]).is_dir():
        os.chdir(around["folder"])
    sys.path.extend(entry for entry in around["search"] if entry not in sys.path)
    os.environ.update(around["environment"])


def _set_generators(around: Mapping[str, Any]) -> None:
    """Let random numbers go on where they were; last, because reading the variables may have drawn some."""
    if "random" in around:
        random.setstate(around["random"])
    if "numpy" in around:
        import numpy as np

        np.random.set_state(around["numpy"])
    if "torch" in around and "torch" in sys.modules:
        sys.modules["torch"].set_rng_state(around["torch"])


def go_on_with_runs(execution_id: str, parent_id: str) -> int:
    """Let the runs that the interrupted execution began behind its checkpoint be gone on with, and return how many these are."""
    session = sessions.current
    store = session.store()
    query = RunQuery(filter=f"tags.`{TAG_EXECUTION}` = '{execution_id}'", order_by=["start_time ASC"], lifecycle_stage=None)
    others = {parent_id, *(run.run_id for run in session.runs)}
    session.cut_off = [run for run in store.search_runs(query).items if run.run_id not in others and run.start_time > _saved_at[0]]
    return len(session.cut_off)


def save_values(variables: dict[str, Any], names: Sequence[str], folder: Path, *, limit: int) -> dict[str, Value]:
    """Write each variable to a file of its own, and return what became of each."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in names:
        if name not in variables:
            found[name] = Value(problem="the cell has not given it")
            continue
        value = variables[name]
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        file = folder / f"{name}.pkl"
        try:
            with file.open("wb") as opened:
                sink = _Limited(opened, limit)
                _pickler(sink, variables).dump(value)
            found[name] = Value(file=file.name, size=sink.size, sha256=sink.hash.hexdigest(), kind=kind)
        except Exception as error:  # noqa: BLE001  # any object may refuse in any way, and the others still come
            file.unlink(missing_ok=True)
            found[name] = Value(kind=kind, problem=f"it cannot be pickled: {error}"[:300])
    return found


def load_value(content: bytes, variables: dict[str, Any] | None = None) -> Any:
    """Return the variable that `save_values` has written; its functions see `variables`.

    This runs the code that the pickle names: read only what your own machine has written.
    """
    return _Unpickler(io.BytesIO(content), {} if variables is None else variables, {}, None).load()


def dump_values(variables: dict[str, Any], names: Iterable[str], *, limit: int) -> bytes:
    """Return a file for `restore` with these variables alone.

    Raises:
        InvalidInput: If one of them cannot be pickled: it says which, and why.
        TooLarge: If they take more than `limit` bytes.
    """
    chosen = {name: variables[name] for name in names}
    buffer = io.BytesIO()
    try:
        _dump(_Limited(buffer, limit), {}, chosen, variables)
    except (MlopsError, MemoryError):
        raise
    except Exception:
        problems = _problems(chosen, variables, limit)
        if not problems:
            raise
        name, why = next(iter(problems.items()))
        raise InvalidInput(
            f"`{name}` cannot be sent: it cannot be pickled ({why}).", hint="Send what it is made from, and make it there."
        ) from None
    return buffer.getvalue()
