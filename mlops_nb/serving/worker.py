"""The worker process: `python -m mlops_nb.serving.worker FD`. It loads one model and serves it until it is told to end.

It dies with whoever started it: the system kills it (Linux), and the end of its channel does the same everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_nb.errors import MissingDependencyError, MlopsError, NotSupported
from mlops_nb.serving import channel, devices
from mlops_nb.serving.batching import try_out
from mlops_nb.serving.channel import Alive, Failed, Ready, Seen, Stuck, Watch, WorkerConfig
from mlops_nb.serving.descendants import adopt_orphans, end_below

if TYPE_CHECKING:
    from mlops_nb.serving.schema import InputSchema

_PR_SET_PDEATHSIG = 1
_ALIVE_SECONDS = 1.0
_KEEP_ALIVE_SECONDS = 75
_FINISH_SECONDS = 30
_LONGEST_HEADERS = 64 << 10
_BACKLOG = 2048
_OPEN_FILES = 16_384


def main(control_number: int, parent: int) -> int:
    """Serve what the channel says; return the exit status."""
    _die_with(parent)
    adopt_orphans()
    os.register_at_fork(after_in_child=_die_with_parent)
    faulthandler.enable()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    control = socket.socket(fileno=control_number)
    control.set_inheritable(False)
    reader = control.makefile("rb")
    first = reader.readline()
    if not first:
        return 0
    config = channel.decode_config(first)
    worker = _Worker(config, control)
    threading.Thread(target=worker.listen, args=(reader,), name="mlops-channel", daemon=True).start()
    _limit(config)
    try:
        worker.load()
    except MlopsError as error:
        worker.say(Failed(message=error.message, hint=error.hint, code=error.code))
        return 1
    except Exception as error:  # the last word of a worker that cannot begin: the reason, with the traceback in its log
        logging.getLogger("mlops_nb.serving").exception("The model cannot be loaded.")
        worker.say(Failed(message=f"The model cannot be loaded: {type(error).__name__}: {error}"[:1000]))
        return 1
    worker.run()
    end_below(os.getpid())  # what the model has started and left, wherever it is
    return 0


class _Worker:
    def __init__(self, config: WorkerConfig, control: socket.socket) -> None:
        self.config = config
        self._control = control
        self._saying = threading.Lock()
        self._server: Any = None
        self._ends = False
        self._observer: Any = None
        self._order = Watch(reference=config.reference, reference_number=config.reference_number)

    def say(self, word: Any) -> None:
        """Tell the supervisor; one that is gone is noticed by whoever reads."""
        with self._saying, contextlib.suppress(OSError):
            self._control.sendall(channel.line(word))

    def listen(self, reader: Any) -> None:
        """Wait for the order to end, and for the end of the supervisor. Runs in a thread of its own."""
        with contextlib.suppress(OSError, ValueError):
            while line := reader.readline():
                order = channel.decode_order(line)
                if isinstance(order, Watch):
                    self._watch(order)
                    continue
                self._ends = True
                if self._server is not None:
                    self._server.should_exit = True
        os.killpg(os.getpgrp(), signal.SIGKILL)  # with all that the model has started

    def _watch(self, order: Watch) -> None:
        self._order = order
        if self._observer is not None:
            self._observer.watch(order.reference_number, order.reference)

    def load(self) -> None:
        """Load the model and ask it once."""
        began = time.perf_counter()
        config = self.config
        try:
            import uvicorn  # noqa: F401 - said before the model is loaded
        except ImportError:
            raise MissingDependencyError("uvicorn", extra="serve", purpose="Serving models") from None
        from mlops_nb.models.flavors.pickling import spare_memory
        from mlops_nb.models.loading import load_model
        from mlops_nb.serving.app import ScoringApp
        from mlops_nb.serving.figures import Figures
        from mlops_nb.serving.observing import Observer
        from mlops_nb.serving.pages import About
        from mlops_nb.serving.scorer import Scorer

        spare_memory()
        figures = Figures(Path(config.figures), config.name, config.version)
        settings = devices.settings_of(config.folder) if config.gpu else None
        model = load_model(config.folder, allow_unsafe=config.allow_unsafe, config=settings)
        example = _example(Path(config.folder))
        acceleration, engine = "", "model"
        if config.accelerate != "off":
            model, acceleration, engine = _accelerated(model, config, example)
        figures.serves(engine)
        self.scorer = Scorer(model, name=config.name, version=config.version, limits=config.limits, figures=figures, on_stuck=self._stuck)
        self._observer = self.scorer.observer = Observer(
            self.scorer.schema.names, lambda number, counts: self.say(Seen(reference_number=number, counts=counts))
        )
        trial = try_out(model, _rows_of(example, self.scorer.schema, config.limits.max_rows))
        self.scorer.batches, self.scorer.is_quick = trial.together, trial.is_quick
        platform = next((name for name in model.metadata.flavors if name != "python_function"), "python_function")
        about = About(
            name=config.name,
            version=config.version,
            signature=model.signature,
            example=example,
            platform=platform,
            model=config.model,
            mlflow_version=_mlflow_version(),
            server_version=_own_version(),
            engine=engine,
            acceleration=acceleration,
        )
        self.app = ScoringApp(self.scorer, figures, config.limits, config.door, about)
        self._ready = Ready(
            signature=model.signature.to_dict() if model.signature else None,
            example=example,
            platform=platform,
            load_ms=(time.perf_counter() - began) * 1e3,
            batching=trial.why,
            acceleration=acceleration,
            engine=engine,
        )

    def run(self) -> None:
        """Serve until told to end."""
        import uvicorn

        config = uvicorn.Config(
            self.app,
            interface="asgi3",
            lifespan="off",
            ws="none",
            backlog=_BACKLOG,
            access_log=False,
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_FINISH_SECONDS,
            h11_max_incomplete_event_size=_LONGEST_HEADERS,
        )
        self._server = uvicorn.Server(config)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        sockets = [socket.socket(fileno=number) for number in self.config.listeners]
        self.scorer.start()
        self._watch(self._order)
        telling = asyncio.ensure_future(self._tell())
        self._server.should_exit = self._ends
        await self._server.serve(sockets)
        telling.cancel()

    async def _tell(self) -> None:
        while not self._server.started:
            await asyncio.sleep(0.002)
        self.say(self._ready)
        while True:
            await asyncio.sleep(_ALIVE_SECONDS)
            self.say(Alive())

    def _stuck(self) -> None:
        print("The model computes longer than a request may take. It is here:", file=sys.stderr, flush=True)  # noqa: T201 - its log
        faulthandler.dump_traceback(all_threads=True)
        self.say(Stuck())


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _die_with_parent() -> None:
    _die_with(os.getppid())


def _die_with(parent: int) -> None:
    """Let the system kill this process when its parent dies; end now if it is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _limit(config: WorkerConfig) -> None:
    """Set limits that the system keeps. The supervisor keeps the one of resident memory, which the system does not know."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    # Written memory, mapped ahead by libraries more than used: a last bound where the supervisor's look comes too late.
    memory = 2 * config.limits.memory_limit + (1 << 30)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (memory if hard == resource.RLIM_INFINITY else min(memory, hard), hard))


def _example(folder: Path) -> Any:
    """Return the request that was kept as an example, or None."""
    import json

    try:
        with (folder / "serving_input_example.json").open("rb") as file:
            content = file.read(1 << 20)
        return json.loads(content)
    except (OSError, ValueError, RecursionError):
        return None


def _accelerated(model: Any, config: WorkerConfig, example: Any) -> tuple[Any, str, str]:
    """Return the model with a proven conversion in its place, or as it is; what to say of that; and what computes.

    Raises:
        NotSupported: If that is required and there is none.
    """
    from mlops_nb.serving.acceleration import PLAIN, accelerate
    from mlops_nb.serving.schema import InputSchema

    schema = InputSchema(model.signature.inputs if model.signature else None)
    seen = {one.name: (one.edges[0], one.edges[-1]) for one in (config.reference.inputs if config.reference else ()) if one.edges}
    done = accelerate(
        model,
        allow_unsafe=config.allow_unsafe,
        example=_rows_of(example, schema, config.limits.max_rows),
        ranges=[seen.get(name) for name in schema.names],
    )
    if done.engine == PLAIN and config.accelerate == "require":
        reason = done.told.removeprefix("plain: ")
        raise NotSupported(f"The model cannot be accelerated: {reason}.", hint="Leave out --accelerate, or give auto.")
    return done


def _rows_of(example: Any, schema: InputSchema, max_rows: int) -> Any:
    import json

    from mlops_nb.serving.failures import ScoringFailure
    from mlops_nb.serving.invocations import JSON, read_invocation

    if example is None:
        return None
    try:
        return read_invocation(json.dumps(example).encode(), JSON, schema, max_rows).array
    except ScoringFailure:
        return None


def _mlflow_version() -> str:
    from mlops_nb.models.folder import FORMAT_VERSION

    return FORMAT_VERSION


def _own_version() -> str:
    from importlib import metadata

    try:
        return metadata.version("mlops-nb")
    except metadata.PackageNotFoundError:
        return "0+unknown"


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
