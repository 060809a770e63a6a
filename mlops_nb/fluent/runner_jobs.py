"""Notebooks and cells on runners, in Python: what `%runner run`, `%%runner` and `mlops-nb runner run` do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from mlops_nb import config
from mlops_nb.core.runner_jobs import EXECUTED, Job, JobState
from mlops_nb.core.runners import AgentWish, Runner, RunnerRequest
from mlops_nb.errors import InvalidInput, MlopsError, NotFound
from mlops_nb.runners.jobs.handle import JobFailed, RemoteJob, find_job
from mlops_nb.store.base import TrackingStore
from mlops_nb.tracking import session as sessions

if TYPE_CHECKING:
    from mlops_nb.runners.jobs.here import Foreground
    from mlops_nb.runners.jobs.preflight import Preflight

HERE = "here"
CELL = "mlops-cell.ipynb"
_FLUSH_SECONDS = 60.0

Told = Callable[[RemoteJob], None]


class Submitted(msgspec.Struct, kw_only=True):
    """What is about to be executed: what travels, and the notebook as it does."""

    path: Path
    found: Preflight
    document: Any
    state: bytes | None = None


def prepare(
    notebook: str | Path | None = None, *, params: Mapping[str, Any] | None = None, include: Sequence[str | Path] = ()
) -> Submitted:
    """Find what travels with a notebook, without sending anything; `found` has the findings.

    Args:
        notebook: Its path; the one of this kernel by default, as it is saved.
        params: What will be set, as papermill does it.
        include: More files and folders of the project that travel.

    Raises:
        InvalidInput, NotFound: If it cannot be executed elsewhere: it says why.
    """
    from mlops_nb.runners.jobs.preflight import preflight, read_notebook

    path = _notebook(notebook)
    document = read_notebook(path)
    return Submitted(path=path, found=preflight(path, document, parameters=params or {}, include=include), document=document)


def prepare_cell(
    source: str, variables: dict[str, Any], sends: Sequence[str] = (), returns: Sequence[str] = (), *, include: Sequence[str | Path] = ()
) -> Submitted:
    """Find what travels with a cell: the names that are sent, and of themselves modules, functions and classes that it uses.

    Args:
        source: The cell.
        variables: Of the notebook.
        sends: Names whose values travel.
        returns: Names that come back.
        include: More files and folders of the project that travel.

    Raises:
        InvalidInput: If a name is none, does not travel, or the cell reads one that is not sent.
    """
    import nbformat

    from mlops_nb.execution.course import LARGEST
    from mlops_nb.execution.kernel_state import dump_values
    from mlops_nb.runners.jobs.lock import names_read
    from mlops_nb.runners.jobs.preflight import cleaned, preflight

    for name in (*sends, *returns):
        if not name.isidentifier():
            raise InvalidInput(f"'{name[:60]}' is no name of a variable.", hint="Write --in X,y --out model")
    unknown = [name for name in sends if name not in variables]
    if unknown:
        raise InvalidInput(f"There is no variable `{unknown[0]}` to send.", hint="Run the cell that gives it first.")
    used = names_read([source]) & variables.keys()
    along = _code_used(used, variables)
    staying = sorted(used - along.keys() - set(sends))
    if staying:
        hint = f"Send what it reads: --in {','.join([*sends, *staying])}"
        raise InvalidInput(f"The cell reads {', '.join(f'`{name}`' for name in staying[:5])}, which would not be there.", hint=hint)
    document = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
        cells=[nbformat.v4.new_code_cell(source, id="cell")],  # type: ignore[no-untyped-call]
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    try:
        path = _notebook(None).with_name(CELL)
    except InvalidInput:  # a cell needs no notebook
        path = Path.cwd() / CELL
    modules = sorted({module for names in along.values() for module in names})
    found = preflight(path, cleaned(document, "the cell"), include=include, modules=modules)
    state = dump_values(variables, [*along, *sends], limit=LARGEST)
    return Submitted(path=path, found=found, document=document, state=state)


def run(
    work: Submitted,
    *,
    on: str | None = None,
    request: RunnerRequest | None = None,
    params: Mapping[str, Any] | None = None,
    cells: tuple[int, int] | None = None,
    returns: Sequence[str] = (),
    name: str | None = None,
    env: str = "auto",
    experiment: str | None = None,
    detach: bool = False,
    told: Told = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
    variables: dict[str, Any] | None = None,
) -> RemoteJob:
    """Execute what was prepared, on a runner or here, and return the job when it is over, or at once with `detach`.

    Args:
        work: From `prepare` or `prepare_cell`.
        on: The name of a runner; aws, gcp, azure, k8s, ssh:HOST or local, which launches one for it; `here`, the default: a fresh
            process of this machine, which ends with this one.
        request: What to launch for it, instead of `on`.
        params: As for `prepare`.
        cells: First and last code cell, from 1.
        returns: Names that come back.
        name: Of the job and its run.
        env: `auto`: the machine's Python if it has the same packages, else one made of the lock; `own` or `lock`: always that.
        experiment: Of its run.
        detach: Return when it is submitted.
        told: Called about once a second while it goes on.
        tell: Called with lines for people.
        variables: What functions that come back see as their notebook's.

    Raises:
        JobFailed: If it did not come to its end; the executed notebook is there all the same.
        MlopsError: If it could not be submitted, or no machine could be had.
    """
    from mlops_nb.runners.jobs.submitting import Order, check_cells, submit

    if env not in ("auto", "own", "lock"):
        raise InvalidInput(f"There is no environment '{env}'.", hint="Use auto, own or lock.")
    check_cells(cells, work.found.cells)
    sessions.current.flush(_FLUSH_SECONDS)
    store = _store()
    with _place(store, on, request, detach=detach, tell=tell) as (runner, foreground):
        is_cell = work.state is not None
        order = Order(
            name=name or ("cell" if is_cell else work.path.stem),
            kind="cell" if is_cell else "notebook",
            parameters=params or {},
            cells=cells,
            returns=returns,
            environment=env,
            experiment=experiment or "",
            parent_id=sessions.current.active.run_id if is_cell and sessions.current.active is not None else "",
            runner_id=runner.id,
        )
        job = RemoteJob(
            store.runners, store, submit(store, store.runners, work.found, work.document, order, state=work.state),
            original=None if is_cell else work.path, variables=variables,
        )  # fmt: skip
        if detach:
            return job
        _follow(job, foreground, told)
    return _brought_back(job, tell, is_cell=is_cell)


def submit_notebook(
    notebook: str | Path | None = None, *, params: Mapping[str, Any] | None = None, include: Sequence[str | Path] = (), **options: Any
) -> RemoteJob:
    """Execute a notebook on a runner, or in a fresh process here; `prepare` and `run` in one. See there.

    Raises:
        JobFailed: If it did not come to its end.
    """
    return run(prepare(notebook, params=params, include=include), params=params, **options)


def jobs(*, everything: bool = False) -> Sequence[Job]:
    """Return the jobs that are not over, or all, the newest first."""
    states = None if everything else [state for state in JobState if not state.is_over]
    return _store().runners.jobs(states=states)


def job(name: str) -> RemoteJob:
    """Return a job by its id, a beginning of it, or its name.

    Raises:
        NotFound: If there is none.
    """
    store = _store()
    return find_job(store.runners, store, name)


def cancel(name: str) -> RemoteJob:
    """Ask that a job ends.

    Raises:
        NotFound, IllegalTransition: If there is none, or it is over.
    """
    found = job(name)
    found.cancel()
    return found


# -- parts


def _code_used(names: set[str], variables: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return, of these names and those that their functions use, modules, functions and classes, with the modules behind each."""
    found: dict[str, list[str]] = {}
    todo = sorted(names)
    while todo:
        name = todo.pop()
        value = variables.get(name)
        if name in found:
            continue
        if isinstance(value, ModuleType):
            found[name] = [value.__name__.partition(".")[0]]
        elif isinstance(value, (FunctionType, type)):
            found[name] = [] if value.__module__ == "__main__" else [value.__module__.partition(".")[0]]
            code = value.__code__.co_names if isinstance(value, FunctionType) and value.__module__ == "__main__" else ()
            todo += [used for used in code if isinstance(variables.get(used), (ModuleType, FunctionType, type))]
    return found


def _notebook(notebook: str | Path | None) -> Path:
    if notebook is not None:
        return Path(notebook).expanduser()
    from mlops_nb.tracking import capture

    found = capture.notebook_path(sessions.current.user_ns) or capture.notebook_of_server()
    if found is None:
        raise InvalidInput("Which notebook? This kernel does not know its own.", hint="Give its path: %runner run train.ipynb")
    return found


def _store() -> TrackingStore:
    from mlops_nb.tracking.target import connect, resolve

    store = connect(resolve())
    assert store is not None  # it is made where there is none
    return store


def is_cloud(word: str) -> bool:
    """Return whether a word names a cloud, where a machine would be launched."""
    from mlops_nb.runners.requests import cloud_of

    try:
        cloud_of(word)
    except InvalidInput:
        return False
    return word != HERE


@contextlib.contextmanager
def _place(
    store: TrackingStore, on: str | None, request: RunnerRequest | None, *, detach: bool, tell: Callable[[str], None]
) -> Iterator[tuple[Runner, Foreground | None]]:
    """Give the runner for a job; one that was made for it ends if the job cannot be submitted."""
    if request is None and (on or HERE) == HERE:
        if detach:
            raise InvalidInput("What runs here ends with this process, and cannot be detached.", hint="Use --on local, which stays.")
        with _foreground(store) as foreground:
            yield foreground.runner, foreground
        return
    if request is None:
        assert on is not None
        known = _known(store, on)
        if known is not None:
            yield known, None
            return
        from mlops_nb.runners.requests import request_of

        request = request_of(on=on, agent=AgentWish(kind="notebook", single=True))
    from mlops_nb.fluent import runners

    launched = runners.launch(request, wait=False, tell=tell)
    try:
        yield launched, None
    except JobFailed:
        raise  # the machine ends by itself after its one job
    except BaseException:
        runners.down(launched.id)
        raise


def _known(store: TrackingStore, word: str) -> Runner | None:
    """Return the runner that a word names, if it names one; clouds have words of their own.

    Raises:
        InvalidInput: If it takes no jobs.
    """
    from mlops_nb.runners.requests import cloud_of

    try:
        runner = store.runners.get(word)
    except NotFound:
        try:
            cloud_of(word)
            return None
        except InvalidInput:
            names = [each.name for each in store.runners.list() if not each.state.is_over and each.request.agent.kind == "notebook"]
            hint = f"There is: {', '.join(names[:5])}." if names else "Launch one: %runner launch --on aws, or use --on local"
            raise NotFound(f"There is no runner '{word[:80]}'.", hint=hint) from None
    if runner.request.agent.kind != "notebook":
        raise InvalidInput(f"The runner '{runner.name}' works for CI, not for notebooks.", hint="Launch one: %runner launch --on local")
    if runner.state.is_over or runner.interrupted is not None:
        raise InvalidInput(f"The runner '{runner.name}' is {runner.state}.", hint=f"Launch another: %runner launch --on {runner.cloud}")
    return runner


@contextlib.contextmanager
def _foreground(store: TrackingStore) -> Iterator[Foreground]:
    from mlops_nb.runners.jobs.attempt import Tracking
    from mlops_nb.runners.jobs.here import Foreground
    from mlops_nb.tracking.target import resolve

    target = resolve()
    target.project.create()
    token = "" if target.store_uri.startswith("sqlite:") else config.tracking_token() or ""
    foreground = Foreground(store.runners, store, Tracking(uri=target.store_uri, token=token), target.state_dir / "runners")
    foreground.start()
    try:
        yield foreground
    finally:
        foreground.leave("its job is over", 5.0)


def _follow(job: RemoteJob, foreground: Foreground | None, told: Told) -> None:
    """Wait until a job is over. Who interrupts cancels one that runs here; one elsewhere goes on."""
    try:
        job.wait(told=told, check=False)
    except KeyboardInterrupt:
        if foreground is None:
            raise InvalidInput(f"The job '{job.name}' goes on.", hint=f"Follow it: %runner attach {job.id[:8]}") from None
        with contextlib.suppress(MlopsError):
            job.cancel()
        job.wait(60.0, told=told, check=False)


def _brought_back(job: RemoteJob, tell: Callable[[str], None], *, is_cell: bool) -> RemoteJob:
    if not is_cell:
        try:
            with contextlib.suppress(NotFound):  # it did not come so far
                tell(f"The executed notebook: {job.fetch_notebook()}")
        except OSError as error:
            tell(f"The executed notebook cannot be written beside the original: {error.strerror}. It is with its run:")
            tell(f"  mlops-nb artifacts download -r {job.run_id} -a {EXECUTED} -d FOLDER")
    if job.state is not JobState.DONE:
        raise JobFailed(job.job)
    return job
