"""One worker process, as its supervisor sees it: started, listened to, watched, ended with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import site
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mlops_nb.serving import channel, descendants, devices, figures
from mlops_nb.serving.channel import Drain, Failed, Ready, Seen, Stuck, Watch, WorkerConfig
from mlops_nb.serving.logs import WorkerLog

_HEARTBEAT_GRACE = 10.0
_FLUSH_SECONDS = 0.2
_POLL_SECONDS = 0.2
_SECRETS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "PRIVATE_KEY", "ACCESS_KEY", "API_KEY", "APIKEY")


class WorkerProcess:
    """A worker.

    Threads: used from one event loop, and made on the thread that lives longest: the system ends the worker with it.

    Args:
        config: What it serves.
        listeners: The open sockets that the numbers in the configuration stand for.
        log: Where its output goes.
        python: The interpreter that it runs in.
        variables: What the interpreter's environment needs; None where it is this one's.
        threads: Threads that numeric libraries may use.
        on_ended: Called once, when it is gone.
        on_seen: Called with what it counted of requests.

    Attributes:
        ready: What it said when it was ready.
        failure: What it said when it could not begin.
        why: Why we ended it, or "".
    """

    def __init__(
        self,
        config: WorkerConfig,
        listeners: list[socket.socket],
        log: WorkerLog,
        *,
        python: str | Path = sys.executable,
        variables: Mapping[str, str] | None = None,
        threads: int,
        on_ended: Callable[[WorkerProcess], None],
        on_seen: Callable[[Seen], None] = lambda _: None,
    ) -> None:
        self.config = config
        self.ready: Ready | None = None
        self.failure: Failed | None = None
        self.why = ""
        self.started = time.monotonic()
        self.memory = 0
        self._log = log
        self._mark = descendants.new_mark()
        self._on_ended = on_ended
        self._on_seen = on_seen
        self._loop = asyncio.get_running_loop()
        self._heard = self.started
        self._settled: asyncio.Event = asyncio.Event()
        self._gone: asyncio.Event = asyncio.Event()
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                [os.fspath(python), "-P", "-m", "mlops_nb.serving.worker", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                pass_fds=[theirs.fileno(), *(one.fileno() for one in listeners)],
                start_new_session=True,
                env={**_environment(threads, variables, gpu=config.gpu), descendants.VARIABLE: self._mark},
                cwd=Path(config.figures).parent,
            )
        except BaseException:
            ours.close()
            os.close(reading)
            raise
        finally:
            theirs.close()
            os.close(writing)
        self._output = log.follow(reading, config.name)
        ours.setblocking(False)
        self._control = ours
        self._received = b""
        self._loop.add_reader(ours.fileno(), self._hear)
        self._send(config)
        self._watching = self._loop.create_task(self._wait_for_end())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return not self._gone.is_set()

    @property
    def status(self) -> int | None:
        """How it ended, as `subprocess` tells it; None while it runs."""
        return self._process.returncode

    async def settled(self) -> None:
        """Wait until it is ready or gone."""
        await self._settled.wait()

    async def gone(self) -> None:
        """Wait until it is gone."""
        await self._gone.wait()

    def drain(self) -> None:
        """Let it finish its requests and end."""
        self.why = self.why or "it is no longer needed"
        self._send(Drain())

    def watch(self, order: Watch) -> None:
        """Let it count requests by another reference."""
        self._send(order)

    def kill(self, why: str) -> None:
        """End it at once, with all that it has started."""
        self.why = self.why or why
        self._kill_group()

    def look(self) -> None:
        """End it if it has not been heard of for too long. Called now and then."""
        now = time.monotonic()
        limits = self.config.limits
        if self.ready is None and now - self.started > limits.start_timeout:
            self.kill(f"it was not ready after {limits.start_timeout:g} s")
        elif self.ready is not None and now - self._heard > limits.timeout + _HEARTBEAT_GRACE:
            self.kill(f"it gave no sign of life for {now - self._heard:.0f} s")

    def measured(self, memory: int, processes: int) -> None:
        """Take note of the memory of it and its children (bytes), and of how many those are; end it over a limit."""
        self.memory = memory
        limits = self.config.limits
        if memory > limits.memory_limit:
            self.kill(f"it used {memory >> 20} MiB of memory; it may use {limits.memory_limit >> 20} MiB")
        elif processes > limits.processes:
            self.kill(f"it had started {processes} processes; it may have {limits.processes}")

    # -- its words

    def _send(self, word: Any) -> None:
        with contextlib.suppress(OSError):  # it is gone, which `_wait_for_end` notices
            self._control.sendall(channel.line(word))

    def _hear(self) -> None:
        try:
            data = self._control.recv(64 << 10)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._control.fileno())
            return
        *lines, self._received = (self._received + data).split(b"\n")
        if len(self._received) > 32 << 20:
            self.kill("it says too much on its channel")
        for line in lines:
            self._heed(line)

    def _heed(self, line: bytes) -> None:
        self._heard = time.monotonic()
        try:
            word = channel.decode_word(line)
        except msgspec.MsgspecError:
            self.kill("it says what nobody understands on its channel")  # the model's code wrote to it
            return
        if isinstance(word, Ready):
            self.ready = word
            self._settled.set()
        elif isinstance(word, Failed):
            self.failure = word
        elif isinstance(word, Seen):
            self._on_seen(word)
        elif isinstance(word, Stuck):
            self.why = f"the model computed longer than {self.config.limits.timeout:g} s"
            self._loop.call_later(_FLUSH_SECONDS, self._kill_group)  # its answers leave first

    # -- its end

    async def _wait_for_end(self) -> None:
        ended = asyncio.Event()
        descriptor = _pidfd(self.pid)
        if descriptor is not None:
            self._loop.add_reader(descriptor, ended.set)
        try:
            if descriptor is not None:
                await ended.wait()
                self._kill_group()  # what it has started and left; before its number can be given to another
            while self._process.poll() is None:
                await asyncio.sleep(_POLL_SECONDS)
            await asyncio.to_thread(descendants.end_marked, self._mark)  # what has left its group
        finally:
            if descriptor is not None:
                self._loop.remove_reader(descriptor)
                os.close(descriptor)
        with contextlib.suppress(ValueError):
            self._loop.remove_reader(self._control.fileno())
        self._hear_the_rest()
        self._control.close()
        self._output_ends()
        figures.forget(Path(self.config.figures), self.pid)
        self._settled.set()
        self._gone.set()
        self._on_ended(self)

    def _hear_the_rest(self) -> None:
        while True:
            try:
                data = self._control.recv(64 << 10)
            except OSError:
                return
            if not data:
                return
            *lines, self._received = (self._received + data).split(b"\n")
            for line in lines:
                with contextlib.suppress(msgspec.MsgspecError):
                    word = channel.decode_word(line)
                    if isinstance(word, Failed):
                        self.failure = word

    def _output_ends(self) -> None:
        # A child that lives on would keep the pipe open: its end is not waited for.
        self._output.drain()

    def _kill_group(self) -> None:
        if self._process.returncode is None:
            descendants.end(self.pid)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except OSError:
        return None


def _environment(threads: int, variables: Mapping[str, str] | None = None, *, gpu: bool = False) -> dict[str, str]:
    """Return the environment of a worker: without the secrets of whoever started it."""
    kept = {name: value for name, value in os.environ.items() if not any(part in name.upper() for part in _SECRETS)}
    for name in ("PROMETHEUS_MULTIPROC_DIR", "JPY_PARENT_PID", "JPY_SESSION_NAME", "NOTIFY_SOCKET"):
        kept.pop(name, None)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        kept.setdefault(name, str(threads))
    if gpu:
        kept.setdefault("MLFLOW_DEFAULT_PREDICTION_DEVICE", devices.DEVICE)
    own = str(Path(__file__).parent.parent.parent)
    if variables is not None:  # another environment, in which nothing else of this one is seen
        for name in ("PYTHONHOME", "PYTHONPATH"):
            kept.pop(name, None)
        kept.update(variables)
    elif own not in site.getsitepackages():  # a source tree: the worker is of the same one
        kept["PYTHONPATH"] = os.pathsep.join([own, *([kept["PYTHONPATH"]] if kept.get("PYTHONPATH") else [])])
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": kept.get("PYTHONDONTWRITEBYTECODE", "")}
