"""An endpoint at work: the versions that are served, which of them gets a request, and what its traffic is."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from mlops_nb.models.environments import Prepared
from mlops_nb.monitoring.bins import Reference
from mlops_nb.monitoring.traffic import TrafficMeter
from mlops_nb.serving.deployment import Deployment, State
from mlops_nb.serving.failures import ScoringFailure
from mlops_nb.serving.forwarding import Forwarded, Header, WorkerGone
from mlops_nb.serving.logs import WorkerLog
from mlops_nb.serving.monitor import Drift, Monitored, VersionShare, judge
from mlops_nb.serving.preparing import python_of
from mlops_nb.serving.records import Attempt, EndpointInfo, EndpointRecord, Role, ServedModel, Traffic, VersionInfo

log = logging.getLogger("mlops_nb.serving")

_SHADOWS_AT_ONCE = 16
_COMPARED_BYTES = 256 << 10
_GRACE = 5.0
_JSON = (b"content-type", b"application/json")


class HostedEndpoint:
    """An endpoint.

    Threads: used from one event loop.

    Attributes:
        record: As it is kept.
        live, canary, shadow: The workers of its versions, where they run.
        coming: Those of a version that is being started.
        attempt: The last start of a version.
        making: Ends the making of a version's environment, once set.
    """

    def __init__(self, record: EndpointRecord, worker_log: WorkerLog) -> None:
        self.record = record
        self.log = worker_log
        self.live: Deployment | None = None
        self.canary: Deployment | None = None
        self.shadow: Deployment | None = None
        self.coming: Deployment | None = None
        self.attempt: Attempt | None = None
        self.changing = asyncio.Lock()
        self.making = threading.Event()
        self._traffic = TrafficMeter()
        self._judged: tuple[Any, Drift] | None = None
        self._shadowing: set[asyncio.Task[None]] = set()
        self._shadowed = {"same": 0, "different": 0, "failed": 0}

    def deployments(self) -> list[Deployment]:
        """Return those that run, or are on their way."""
        return [one for one in (self.live, self.canary, self.shadow, self.coming) if one is not None]

    async def prepare(self, folder: Path, model: ServedModel) -> Prepared:
        """Return the Python that a version runs in; the attempt and the log tell how its environment is made.

        Raises:
            MlopsError: If it cannot be made, or `making` is set meanwhile.
        """
        attempt = self.attempt

        def said(line: str) -> None:
            self.log.note(line)
            if attempt is not None:
                attempt.step = line

        over = self.making = threading.Event()
        try:
            return await python_of(folder, model.env_manager, allow_unsafe=model.allow_unsafe, said=said, over=over)
        finally:
            if attempt is not None:
                attempt.step = ""

    # -- requests

    async def send(self, method: str, path: str, headers: Iterable[Header], body: bytes) -> Forwarded:
        """Answer a request by the version whose turn it is; what goes wrong is an answer too."""
        scores = method == "POST" and (path.startswith("/invocations") or path.split("?")[0].endswith("/infer"))
        chosen = self.live
        if scores and self.canary is not None and random.random() < self.record.canary_share:
            chosen = self.canary if self.canary.state is State.READY else chosen
        if chosen is None:
            return _answer(_starting(self.attempt))
        headers = list(headers)
        began = time.monotonic()
        answer = await self._send_to(chosen, method, path, headers, body)
        if scores:
            role = Role.CANARY if chosen is self.canary else Role.LIVE
            self._traffic.add(time.monotonic() - began, answer.status, role.value)
            shadow = self.shadow
            if shadow is not None and answer.status == 200 and random.random() < self.record.shadow_share:
                self._copy_to(shadow, method, path, headers, body, answer)
        return answer

    async def _send_to(self, chosen: Deployment, method: str, path: str, headers: list[Header], body: bytes) -> Forwarded:
        limits = self.record.limits
        if chosen.state is State.PARKED:
            return _answer(ScoringFailure(f"The model is parked: {chosen.problem}", "TEMPORARILY_UNAVAILABLE", retry_after=60))
        if chosen.running >= limits.queue * self.record.workers + limits.queue:
            return _answer(ScoringFailure("Too many requests wait for this model.", "REQUEST_LIMIT_EXCEEDED", retry_after=1))
        try:
            async with asyncio.timeout(limits.timeout + _GRACE):
                return await chosen.send(method, path, headers, body)
        except TimeoutError:
            return _answer(ScoringFailure("Request processing time exceeded limit", "TEMPORARILY_UNAVAILABLE", status=504, retry_after=1))
        except WorkerGone:
            message = f"The worker that had the request ended{f': {chosen.problem}' if chosen.problem else ''}. Send it again."
            return _answer(ScoringFailure(message, "TEMPORARILY_UNAVAILABLE", status=502, retry_after=1))

    def _copy_to(self, shadow: Deployment, method: str, path: str, headers: list[Header], body: bytes, answer: Forwarded) -> None:
        if len(self._shadowing) >= _SHADOWS_AT_ONCE or shadow.state is not State.READY:
            return
        task = asyncio.ensure_future(self._compare(shadow, method, path, headers, body, answer))
        self._shadowing.add(task)
        task.add_done_callback(self._shadowing.discard)

    async def _compare(self, shadow: Deployment, method: str, path: str, headers: list[Header], body: bytes, answer: Forwarded) -> None:
        try:
            async with asyncio.timeout(self.record.limits.timeout):
                other = await shadow.send(method, path, headers, body)
        except (TimeoutError, WorkerGone):
            self._shadowed["failed"] += 1
            return
        if other.status != 200:
            self._shadowed["failed"] += 1
        else:
            self._shadowed["same" if _same(answer.body, other.body) else "different"] += 1

    # -- what is told

    def forget_trials(self) -> list[Deployment]:
        """Take the canary and the shadow out, and return them to be stopped."""
        ended = [one for one in (self.canary, self.shadow) if one is not None]
        self.canary = self.shadow = None
        self.record.canary = self.record.shadow = None
        self.record.canary_share = self.record.shadow_share = 0.0
        return ended

    def info(self) -> EndpointInfo:
        """Return it as it is now."""
        record = self.record
        ready = self.live.ready if self.live else None
        return EndpointInfo(
            name=record.name,
            state=self.state,
            path=f"/serve/{record.name}/",
            created=record.created,
            expires=record.expires,
            workers=record.workers,
            problem=self.live.problem if self.live else (self.attempt.problem if self.attempt else ""),
            live=_version(record.live, self.live, 1.0 - record.canary_share if self.canary else 1.0),
            canary=_version(record.canary, self.canary, record.canary_share),
            shadow=_version(record.shadow, self.shadow, record.shadow_share),
            history=[one.label for one in record.history],
            attempt=self.attempt,
            traffic=self._told_traffic(),
            port=record.port,
            signature=ready.signature if ready else None,
            example=ready.example if ready else None,
            limits=record.limits,
            drift=self.drift().verdict,
        )

    def monitor(self) -> Monitored:
        """Return its traffic and its drift."""
        record = self.record
        asked = self._traffic.versions()
        names = {role: f"v{model.label}" if model.registered else model.label for role, model, _ in record.roles()}
        versions = [
            VersionShare(label=names[role], role=role, share=share, requests=asked.get(role.value, 0)) for role, _, share in record.roles()
        ]
        return Monitored(
            name=record.name, traffic=self._told_traffic(), course=self._traffic.course(), versions=versions, drift=self.drift()
        )

    def drift(self) -> Drift:
        """Return how the requests to what is live compare with the reference; worked out anew when something was seen."""
        live = self.live
        if live is None:
            return Drift()
        key = (live, live.observed.revision)
        if self._judged is None or self._judged[0] != key:
            self._judged = (key, judge(live.reference, live.observed))
        return self._judged[1]

    def watch(self, reference: Reference | None) -> None:
        """Hold requests against this from now on; None: against what each version was trained on."""
        record = self.record
        record.reference = reference
        for deployment, model in ((self.live, record.live), (self.canary, record.canary), (self.shadow, record.shadow)):
            if deployment is not None and model is not None:
                deployment.watch(reference or model.reference)

    @property
    def state(self) -> str:
        """How it is: that of what is live; `failed` where nothing could be started."""
        if self.live is not None:
            return self.live.state.value
        return "failed" if self.attempt is not None and self.attempt.state == "failed" else State.STARTING.value

    def _told_traffic(self) -> Traffic:
        requests, errors, refused = self._traffic.totals()
        p50, p95, p99 = self._traffic.quantiles(0.5, 0.95, 0.99)
        return Traffic(
            requests=requests,
            errors=errors,
            refused=refused,
            p50=p50,
            p95=p95,
            p99=p99,
            shadow_same=self._shadowed["same"],
            shadow_different=self._shadowed["different"],
            shadow_failed=self._shadowed["failed"],
        )

    def take_place(self, role: Role, model: ServedModel, deployment: Deployment, share: float) -> Deployment | None:
        """Put a version in its place and return the workers that it takes the place of; from now on they get no request."""
        record = self.record
        if role is Role.CANARY:
            before, self.canary = self.canary, deployment
            record.canary, record.canary_share = model, share
        elif role is Role.SHADOW:
            before, self.shadow = self.shadow, deployment
            record.shadow, record.shadow_share = model, share
            self._shadowed = dict.fromkeys(self._shadowed, 0)
        else:
            before, self.live = self.live, deployment
            record.live = model
        return before


def _version(model: ServedModel | None, deployment: Deployment | None, share: float) -> VersionInfo | None:
    if model is None:
        return None
    if deployment is None:
        return VersionInfo(label=model.label, model=model.model, registered=model.registered, state=State.STOPPED.value, share=share)
    ready, workers = deployment.ready, deployment.workers
    return VersionInfo(
        label=model.label,
        model=model.model,
        registered=model.registered,
        state=deployment.state.value,
        problem=deployment.problem,
        share=share,
        restarts=deployment.restarts,
        pids=[worker.pid for worker in workers],
        memory=sum(worker.memory for worker in workers),
        platform=ready.platform if ready else "",
        batching=ready.batching if ready else "",
        load_ms=ready.load_ms if ready else 0.0,
        environment=deployment.environment,
        acceleration=ready.acceleration if ready else "",
        engine=ready.engine if ready else "",
    )


def _starting(attempt: Attempt | None) -> ScoringFailure:
    if attempt is not None and attempt.state == "failed":
        return ScoringFailure(f"The model could not be started: {attempt.problem}", "TEMPORARILY_UNAVAILABLE", retry_after=60)
    return ScoringFailure("The model is being started. Send it again in a moment.", "TEMPORARILY_UNAVAILABLE", retry_after=2)


def _answer(failure: ScoringFailure) -> Forwarded:
    after = [] if failure.retry_after is None else [(b"retry-after", b"%d" % failure.retry_after)]
    return Forwarded(failure.status, [_JSON, *after], failure.body())


def _same(one: bytes, other: bytes) -> bool:
    """Return whether two answers predict the same; of large ones only whether they are the same bytes."""
    if one == other or max(len(one), len(other)) > _COMPARED_BYTES:
        return one == other
    try:
        return bool(_predicted(msgspec.json.decode(one)) == _predicted(msgspec.json.decode(other)))
    except (msgspec.MsgspecError, RecursionError):
        return False


def _predicted(document: Any) -> Any:
    return document.get("predictions", document.get("outputs")) if isinstance(document, dict) else document
