"""Asking the model: one thread of its own, a bounded queue before it, several waiting requests at once where that was proven."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mlops_nb.errors import MlopsError
from mlops_nb.models.enforcement import enforce_params
from mlops_nb.serving import answers, v2
from mlops_nb.serving.failures import ScoringFailure
from mlops_nb.serving.invocations import Asked, read_invocation
from mlops_nb.serving.limits import Limits
from mlops_nb.serving.schema import InputSchema

if TYPE_CHECKING:
    from mlops_nb.models.loading import LoadedModel
    from mlops_nb.serving.figures import Figures
    from mlops_nb.serving.observing import Observer

log = logging.getLogger("mlops_nb.serving")

_TICK = 0.05
_LARGEST_BATCH = 64
_BATCH_ROWS = 1024
_ALONE, _SMALL, _FADING = 32, 16 << 10, 0.98
_QUICK_SECONDS = 0.002
_OVERLOAD_SECONDS = 1
_UNEXPECTED = (
    "Encountered an unexpected error while evaluating the model. Verify that the serialized input Dataframe is compatible with the "
    "model for inference."
)


class Job:
    """A request on its way through the model. `protocol` is `invocations` or `v2`."""

    __slots__ = ("answer", "asked", "body", "content_type", "protocol", "request_id", "since")

    def __init__(self, protocol: str, body: bytes, content_type: str, answer: asyncio.Future[bytes]) -> None:
        self.protocol = protocol
        self.body = body
        self.content_type = content_type
        self.answer = answer
        self.since = time.monotonic()
        self.asked: Asked | None = None
        self.request_id: str | None = None


class Scorer:
    """Answers requests with one model.

    The event loop reads and writes the network; everything else of a request happens in the model's thread.

    Args:
        model: Loaded.
        name: Of the endpoint, and `version` of the model: for the answers of the open inference protocol.
        limits: Of a request and the queue.
        figures: Where to count.
        on_stuck: Called once, in the event loop, when the model computes longer than a request may take. Nothing can end
            a thread: whoever started the process must end that.

    Attributes:
        batches: Whether requests that wait are asked together.
        observer: Takes note of what was answered, if somebody wants to know.
        is_quick: Whether a known framework answers a row in less than a millisecond, so that the event loop may ask it.
    """

    def __init__(
        self, model: LoadedModel, *, name: str, version: str, limits: Limits, figures: Figures, on_stuck: Callable[[], None]
    ) -> None:
        signature = model.signature
        self.model = model
        self.schema = InputSchema(signature.inputs if signature else None)
        self.batches = False
        self.is_quick = False
        self.observer: Observer | None = None
        self._param_names = frozenset(str(field["name"]) for field in (signature.params or () if signature else ()))
        self._name, self._version = name, version
        self.limits = limits
        self._figures = figures
        self._on_stuck = on_stuck
        self._is_stuck = False
        self._takes_arrays = model.takes_arrays
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._waiting: dict[Job, None] = {}
        self._put_back: Job | None = None
        self._working_on: Sequence[Job] = ()
        self._working_since = 0.0
        # Whether requests of late came one at a time, and how long the model took.
        self._alone = 0
        self._slowest = 1.0
        self._in_this_turn = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take requests; on the running loop."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, name="mlops-model", daemon=True).start()
        self._watching = self._loop.create_task(self._watch())

    @property
    def is_ready(self) -> bool:
        """Whether a request would be answered."""
        return not self._is_stuck

    async def respond(self, protocol: str, body: bytes, content_type: str = "") -> bytes:
        """Return the body of the answer to a request.

        Raises:
            ScoringFailure: If there is no prediction; says why.
        """
        if self._is_stuck:
            raise _restarting()
        if len(self._waiting) >= self.limits.queue:
            raise ScoringFailure(
                f"{len(self._waiting)} requests wait for the model already. Send it again in a moment.",
                "REQUEST_LIMIT_EXCEEDED",
                retry_after=_OVERLOAD_SECONDS,
            )
        assert self._loop is not None
        job = Job(protocol, body, content_type, self._loop.create_future())
        if self._waiting or self._in_this_turn:
            self._alone = 0
        elif self._alone < _ALONE:
            self._alone += 1
        elif self.is_quick and self._slowest < _QUICK_SECONDS and len(body) < _SMALL:
            return self._at_once(job)
        self._waiting[job] = None
        self._jobs.put(job)
        try:
            return await job.answer
        finally:
            self._waiting.pop(job, None)

    def _at_once(self, job: Job) -> bytes:
        """Answer in the event loop: for a client that comes alone, handing a quick request to a thread and back costs a third."""
        assert self._loop is not None
        self._in_this_turn = True
        self._loop.call_soon(self._end_turn)
        began = time.monotonic()
        result = self._result(job)
        self._took(time.monotonic() - began)
        if isinstance(result, BaseException):
            raise result
        return result

    def _end_turn(self) -> None:
        self._in_this_turn = False

    def _took(self, seconds: float) -> None:
        """Remember the slowest of the last calls, which fades slowly."""
        self._slowest = max(seconds, self._slowest * _FADING)

    # -- the event loop's side

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            self._figures.waiting(len(self._waiting))
            now, limit = time.monotonic(), self.limits.timeout
            if self._working_on and now - self._working_since > limit and not self._is_stuck:
                self._give_up()
            for job in list(self._waiting):
                if now - job.since <= limit:
                    break  # the others came later
                _fail(job, _too_long())

    def _give_up(self) -> None:
        self._is_stuck = True
        for job in self._working_on:
            _fail(job, _too_long())
        for job in list(self._waiting):
            _fail(job, _restarting())
        self._on_stuck()

    # -- the model's thread

    def _work(self) -> None:
        while True:
            job = self._put_back or self._jobs.get()
            self._put_back = None
            group = self._group(job) if self.batches else [job]
            self._working_since = time.monotonic()
            self._working_on = group
            results = self._results(group)
            self._working_on = ()
            self._took(time.monotonic() - self._working_since)
            assert self._loop is not None
            self._loop.call_soon_threadsafe(_settle, group, results)

    def _group(self, first: Job) -> list[Job]:
        """Return the first job with those that wait and can be asked together with it."""
        if not self._can_join(first):
            return [first]
        group, rows = [first], first.asked.rows if first.asked else 0
        while len(group) < _LARGEST_BATCH and rows < _BATCH_ROWS:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if not self._can_join(job):
                self._put_back = job
                break
            assert job.asked is not None
            rows += job.asked.rows
            group.append(job)
        return group

    def _can_join(self, job: Job) -> bool:
        try:
            asked = self._read(job)
        except ScoringFailure:
            return False  # it is read once more and told then
        return asked.array is not None and not asked.params

    def _read(self, job: Job) -> Asked:
        if job.asked is None:
            if job.protocol == "v2":
                job.asked, job.request_id = v2.read_infer(job.body, self.schema, self.limits.max_rows)
            else:
                job.asked = read_invocation(job.body, job.content_type, self.schema, self.limits.max_rows, self._param_names)
        return job.asked

    def _results(self, group: Sequence[Job]) -> list[bytes | BaseException]:
        if len(group) == 1:
            return [self._result(group[0])]
        try:
            import numpy

            asked = [self._read(job) for job in group]
            sizes = [one.rows for one in asked]
            prediction = self.model.predict_array(numpy.concatenate([one.array for one in asked if one.array is not None]))
            parts = answers.split(prediction, sizes)
            self._figures.predicted(len(group), sum(sizes))
            bodies: list[bytes | BaseException] = [self._body(job, part) for job, part in zip(group, parts, strict=True)]
            if self.observer is not None:
                for one, part in zip(asked, parts, strict=True):
                    self.observer.offer(one, part)
            return bodies
        except Exception:  # noqa: BLE001 - one request must not fail for another's sake: each is asked alone
            return [self._result(job) for job in group]

    def _result(self, job: Job) -> bytes | BaseException:
        if job.answer.done():  # nobody waits any more
            return b""
        try:
            asked = self._read(job)
            prediction = self._predict(asked)
            self._figures.predicted(1, asked.rows)
            body = self._body(job, prediction)
            if self.observer is not None:
                self.observer.offer(asked, prediction)
            return body
        except ScoringFailure as error:
            return error
        except Exception as error:  # the last line of defence: whatever the model's own code raises is an answer
            log.exception("A request failed.")
            return ScoringFailure(f"Something went wrong inside the server: {type(error).__name__}.", "INTERNAL_ERROR")

    def _predict(self, asked: Asked) -> Any:
        try:
            enforce_params(asked.params, self.model.signature)
        except MlopsError as error:
            raise ScoringFailure(f"Failed to predict data. \nError: {error}", "INVALID_PARAMETER_VALUE") from None
        try:
            if asked.array is not None and self._takes_arrays and not asked.params:
                return self.model.predict_array(asked.array)
            return self.model.predict(self._as_data(asked), asked.params)
        except MlopsError as error:
            message = f"Failed to predict data. \nError: Failed to enforce schema of data. Error: {error}"
            raise ScoringFailure(message, "INVALID_PARAMETER_VALUE", is_schema=True) from None
        except MemoryError:
            raise ScoringFailure("The model needs more memory than it may have.", "TEMPORARILY_UNAVAILABLE", retry_after=1) from None
        except Exception:  # noqa: BLE001 - as MLflow: the model's own code raises what it likes
            raise ScoringFailure(_UNEXPECTED, stack_trace=traceback.format_exc()) from None

    def _as_data(self, asked: Asked) -> Any:
        """Return what the model's own reader takes: a table, where only an array was made."""
        if asked.array is None:
            return asked.data
        import pandas

        frame = pandas.DataFrame(asked.array, columns=self.schema.names)
        kinds = self.schema.kinds
        return frame if set(kinds.values()) == {str(asked.array.dtype)} else frame.astype(kinds)

    def _body(self, job: Job, prediction: Any) -> bytes:
        try:
            if job.protocol == "v2":
                return answers.v2_body(prediction, model=self._name, version=self._version, request_id=job.request_id)
            if job.asked is not None and job.asked.is_chat:
                return answers.unwrapped_body(prediction)
            return answers.predictions_body(prediction)
        except (TypeError, ValueError) as error:
            raise ScoringFailure(f"The prediction cannot be written as JSON: {error}.", "INTERNAL_ERROR") from None


def _settle(group: Sequence[Job], results: Sequence[bytes | BaseException]) -> None:
    for job, result in zip(group, results, strict=True):
        if job.answer.done():
            continue
        if isinstance(result, BaseException):
            job.answer.set_exception(result)
        else:
            job.answer.set_result(result)


def _fail(job: Job, failure: ScoringFailure) -> None:
    if not job.answer.done():
        job.answer.set_exception(failure)


def _too_long() -> ScoringFailure:
    return ScoringFailure("Request processing time exceeded limit", "TEMPORARILY_UNAVAILABLE", status=504, retry_after=1)


def _restarting() -> ScoringFailure:
    return ScoringFailure("The model is being started anew. Send it again in a moment.", "TEMPORARILY_UNAVAILABLE", retry_after=2)
