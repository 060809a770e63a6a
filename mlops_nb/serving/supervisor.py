"""All endpoints of a project: started, watched, ended at their time, kept through restarts of the server.

The supervisor lives on one event loop, in the Jupyter server or in a process of its own. It never loads a model.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from mlops_nb.errors import AlreadyExists, InvalidInput, MlopsError, NotFound, NotSupported, did_you_mean
from mlops_nb.models.environments import Prepared
from mlops_nb.monitoring.bins import Reference
from mlops_nb.serving import devices, records, sources
from mlops_nb.serving.app import Door
from mlops_nb.serving.background import Background
from mlops_nb.serving.channel import WorkerConfig
from mlops_nb.serving.deployment import Deployment
from mlops_nb.serving.descendants import usage
from mlops_nb.serving.endpoint import HostedEndpoint
from mlops_nb.serving.limits import Limits
from mlops_nb.serving.logs import WorkerLog
from mlops_nb.serving.monitor import Monitored
from mlops_nb.serving.ownership import Ownership
from mlops_nb.serving.records import Attempt, EndpointInfo, EndpointRecord, Role, ServedModel, StartRequest
from mlops_nb.store.base import ServedStore

log = logging.getLogger("mlops_nb.serving")

_TICK = 0.5
_MOST_ENDPOINTS = 100
_MODELS, _RECORDS = "models", "endpoints"


class Supervisor:
    """Runs endpoints.

    Threads: used from one event loop; `mlops_nb.serving.endpoints` is the way in from other threads.

    Args:
        folder: Where endpoints are kept: made when the first one starts.
        store: Opens the store that models come from, in a thread.
        changed: Called when endpoints or their states have changed.
    """

    def __init__(self, folder: Path, store: Callable[[], ServedStore], changed: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._store = store
        self._changed = changed
        self._endpoints: dict[str, HostedEndpoint] = {}
        self._owned = Ownership(folder)
        self._ticking: asyncio.Task[None] | None = None
        self._work = Background()
        self._numbers = 0
        self._closing = False

    # -- begin and end

    async def restore(self) -> None:
        """Start the endpoints that were there when the last server ended. Nothing is made where there are none."""
        kept = [record for folder in sorted((self._folder / _RECORDS).glob("*")) if (record := records.load(folder)) is not None]
        if not kept:
            return
        try:
            self._own()
        except NotSupported as error:
            log.warning("%s", error)
            return
        now = time.time()
        for record in kept:
            if record.expires and record.expires <= now:
                shutil.rmtree(self._folder / _RECORDS / record.name, ignore_errors=True)
            else:
                endpoint = self._endpoints[record.name] = HostedEndpoint(record, self._log_of(record.name))
                self._work.start(self._restore(endpoint))
        self._sweep()

    async def _restore(self, endpoint: HostedEndpoint) -> None:
        record = endpoint.record
        with contextlib.suppress(OSError):  # taken by another meanwhile: the endpoint is there all the same, without it
            self._owned.open_port(record)
        async with endpoint.changing:
            for role, model, share in record.roles():
                endpoint.attempt = self._attempt(model.label, role)
                with contextlib.suppress(MlopsError):  # told by the attempt
                    await self._bring_up(endpoint, model, role, share)

    async def close(self) -> None:
        """End all workers. The endpoints stay known, and the next server starts them again."""
        self._closing = True
        self._work.cancel()
        if self._ticking is not None:
            self._ticking.cancel()
        ending = [one.stop(at_once=True) for endpoint in self._endpoints.values() for one in endpoint.deployments()]
        await asyncio.gather(*ending, return_exceptions=True)
        self._owned.release()

    def _own(self) -> None:
        """Become the one process that runs this project's endpoints."""
        if self._owned.take():
            self._ticking = asyncio.get_running_loop().create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self._look()
            except Exception:  # a watch that has stopped would let everything run on for ever
                log.exception("The watch over model servers failed; it goes on.")

    async def _look(self) -> None:
        now = time.time()
        for endpoint in list(self._endpoints.values()):
            if endpoint.record.expires and endpoint.record.expires <= now and endpoint.live is not None:
                endpoint.log.note("Its time is over.")
                self._work.start(self._end(endpoint.record.name))
                continue
            for deployment in endpoint.deployments():
                deployment.look()
        workers = [worker for endpoint in self._endpoints.values() for one in endpoint.deployments() for worker in one.workers]
        if workers:
            measured = await asyncio.to_thread(lambda: [usage(one.pid) for one in workers])
            for worker, (memory, processes) in zip(workers, measured, strict=True):
                worker.measured(memory, processes)

    # -- what is told

    def endpoint(self, name: str) -> HostedEndpoint:
        """Return an endpoint.

        Raises:
            NotFound: If there is none of this name.
        """
        found = self._endpoints.get(name)
        if found is None:
            hint = did_you_mean(name, self._endpoints) or "%serve ls shows them."
            raise NotFound(f"There is no endpoint '{name[:80]}'.", hint=hint)
        return found

    def infos(self) -> list[EndpointInfo]:
        """Return all endpoints, by name."""
        return [self._endpoints[name].info() for name in sorted(self._endpoints)]

    def logs(self, name: str, lines: int) -> list[str]:
        """Return the last lines of an endpoint's workers."""
        return self.endpoint(name).log.lines(lines)

    # -- starting

    async def start(self, request: StartRequest, *, wait: float, folder: Path | None = None) -> EndpointInfo:
        """Begin to serve a version, as a new endpoint or in one that is there, and return when it is ready or `wait` s are over.

        What answered before goes on until the new version is ready. If that fails, nothing has changed.

        Args:
            request: What.
            wait: How long to wait (s); the start goes on, and `attempt` of the endpoint tells of it.
            folder: A model folder on this machine instead of the request's URI: for command lines, never from a client.

        Raises:
            InvalidInput, NotFound: If that cannot be served.
        """
        request.check()
        if request.gpu:
            devices.check_gpu()
        if self._closing:
            raise NotSupported("The server is stopping.")
        self._own()
        known = self._endpoints.get(request.name)
        if known is None:
            if request.role is not Role.LIVE:
                raise NotFound(
                    f"There is no endpoint '{request.name}' that could have a {request.role}.", hint="Serve it without that first."
                )
            if len(self._endpoints) >= _MOST_ENDPOINTS:
                raise InvalidInput(f"There are {_MOST_ENDPOINTS} endpoints already.", hint="Stop one: %serve stop NAME")
        elif known.attempt is not None and known.attempt.state == "starting":
            raise AlreadyExists(f"The endpoint '{request.name}' is being started already.", hint="Wait until it is ready, or stop it.")
        if folder is not None:
            model = ServedModel(label="1", model=request.model_uri, folder=str(folder.absolute()), allow_unsafe=request.allow_unsafe)
        else:
            model = await asyncio.to_thread(self._fetch, request)
        model = msgspec.structs.replace(model, env_manager=request.env_manager, accelerate=request.accelerate)
        endpoint = self._endpoints.get(request.name) or self._new(request, model)
        attempt = endpoint.attempt = self._attempt(model.label, request.role)
        task = self._work.start(self._serve(endpoint, request, model, attempt))
        await asyncio.wait([task], timeout=wait)
        return endpoint.info()

    def _fetch(self, request: StartRequest) -> ServedModel:
        models = self._folder / _MODELS
        register = request.name if request.register else ""
        return sources.fetch(self._store(), request.model_uri, models, register_as=register, allow_unsafe=request.allow_unsafe)

    def _new(self, request: StartRequest, model: ServedModel) -> HostedEndpoint:
        record = EndpointRecord(name=request.name, created=time.time(), live=model)
        record.workers, record.limits, record.gpu = request.workers or 1, request.limits or Limits(), bool(request.gpu)
        endpoint = self._endpoints[request.name] = HostedEndpoint(record, self._log_of(request.name))
        if request.port is not None:
            record.port, record.token = request.port, secrets.token_hex(24)
            try:
                self._owned.open_port(record)
            except OSError as error:
                del self._endpoints[request.name]
                raise InvalidInput(
                    f"The port {request.port} cannot be used: {error.strerror}.", hint="Give another one, or 0 for any."
                ) from None
        return endpoint

    async def _serve(self, endpoint: HostedEndpoint, request: StartRequest, model: ServedModel, attempt: Attempt) -> None:
        async with endpoint.changing:
            record = endpoint.record
            previous = record.live if endpoint.live is not None else None
            if previous is not None:
                record.workers, record.limits = request.workers or record.workers, request.limits or record.limits
                record.gpu = record.gpu if request.gpu is None else request.gpu
            try:
                await self._bring_up(endpoint, model, request.role, request.share)
            except MlopsError:
                return  # told by the attempt
            if request.ttl is not None or previous is None:  # its time begins when it is ready
                record.expires = time.time() + (request.ttl or records.DEFAULT_TTL)
            if previous is not None and request.role is Role.LIVE and previous.folder != model.folder:
                record.history = [*record.history, previous][-records.KEPT_VERSIONS :]
            self._keep(endpoint)
            self._sweep()

    async def _bring_up(self, endpoint: HostedEndpoint, model: ServedModel, role: Role, share: float) -> None:
        """Start a version's workers and give it its place; what was there finishes its requests and ends.

        Raises:
            ModelFailed: If it cannot be served; nothing has changed then but the attempt.
        """
        attempt = endpoint.attempt
        assert attempt is not None
        try:
            prepared = await endpoint.prepare(self._folder / _MODELS / model.folder, model)
            deployment = endpoint.coming = self._deployment(endpoint, model, role, prepared)
            await deployment.start()
            if self._endpoints.get(endpoint.record.name) is not endpoint:
                await deployment.stop(at_once=True)
                raise NotFound(f"The endpoint '{endpoint.record.name}' was stopped meanwhile.")
        except (MlopsError, OSError) as error:
            attempt.state, attempt.problem = "failed", str(error)
            endpoint.log.note(f"{endpoint.record.name} {model.label} could not be started: {error}")
            self._changed()
            if isinstance(error, MlopsError):
                raise
            raise NotSupported(f"No process can be started: {error.strerror}.") from error
        finally:
            endpoint.coming = None
        before = endpoint.take_place(role, model, deployment, share)
        attempt.state = "ready"
        self._changed()
        if before is not None:
            await before.stop()

    def _deployment(self, endpoint: HostedEndpoint, model: ServedModel, role: Role, prepared: Prepared) -> Deployment:
        record = endpoint.record
        self._numbers += 1
        place = self._folder / _RECORDS / record.name
        config = WorkerConfig(
            name=record.name,
            version=model.label,
            folder=str(self._folder / _MODELS / model.folder),  # an absolute folder stays what it is
            model=model.model,
            figures=str(place / "figures"),
            limits=record.limits,
            door=Door(token=record.token),
            allow_unsafe=model.allow_unsafe,
            gpu=record.gpu,
            accelerate=model.accelerate,
            reference=record.reference or model.reference,
        )
        return Deployment(
            config,
            socket_path=self._owned.socket_path(self._numbers),
            port=self._owned.port_of(record.name) if role is Role.LIVE else None,
            workers=record.workers if role is Role.LIVE else 1,
            log=endpoint.log,
            threads=max(1, (os.cpu_count() or 1) // record.workers),
            changed=self._changed,
            prepared=prepared,
        )

    # -- changing

    async def promote(self, name: str, *, share: float | None = None) -> EndpointInfo:
        """Make the canary, or else the shadow, what is live; with `share` only give the canary that share.

        Raises:
            InvalidInput: If there is neither.
        """
        endpoint = self.endpoint(name)
        async with endpoint.changing:
            record = endpoint.record
            if share is not None:
                if endpoint.canary is None:
                    raise InvalidInput(f"The endpoint '{name}' has no canary.", hint=f"Start one: %serve MODEL --name {name} --canary 10%")
                record.canary_share = records.check_share(share)
            else:
                await self._take_over(endpoint)
            self._keep(endpoint)
        return endpoint.info()

    async def watch(self, name: str, reference: Reference | None) -> Monitored:
        """Hold the requests of an endpoint against this; None: against what its model was trained on."""
        endpoint = self.endpoint(name)
        async with endpoint.changing:
            endpoint.watch(reference)
            self._keep(endpoint)
        self._changed()
        return endpoint.monitor()

    async def _take_over(self, endpoint: HostedEndpoint) -> None:
        record = endpoint.record
        model = record.canary or record.shadow
        if model is None:
            raise InvalidInput(
                f"The endpoint '{record.name}' has neither a canary nor a shadow.", hint="Serve one with --canary 10% or --shadow."
            )
        previous = record.live
        endpoint.attempt = self._attempt(model.label, Role.LIVE)
        # Workers of its own: as many as are live have, and with the endpoint's port.
        await self._bring_up(endpoint, model, Role.LIVE, 1.0)
        record.history = [*record.history, previous][-records.KEPT_VERSIONS :]
        await self._drop_trials(endpoint)

    async def _drop_trials(self, endpoint: HostedEndpoint) -> None:
        ended = endpoint.forget_trials()
        self._changed()
        for one in ended:
            await one.stop()

    async def rollback(self, name: str) -> EndpointInfo:
        """Drop the canary and the shadow where there are some; otherwise make live what was live before.

        Raises:
            InvalidInput: If nothing was.
        """
        endpoint = self.endpoint(name)
        async with endpoint.changing:
            record = endpoint.record
            if record.canary is not None or record.shadow is not None:
                await self._drop_trials(endpoint)
            elif record.history:
                model = record.history[-1]
                endpoint.attempt = self._attempt(model.label, Role.LIVE)
                await self._bring_up(endpoint, model, Role.LIVE, 1.0)
                record.history = record.history[:-1]
            else:
                raise InvalidInput(
                    f"Nothing was live at '{name}' before version {record.live.label}.", hint="Serve the version that you want."
                )
            self._keep(endpoint)
        return endpoint.info()

    async def extend(self, name: str, ttl: float) -> EndpointInfo:
        """Let an endpoint live for so many seconds from now; one that is parked is tried again."""
        endpoint = self.endpoint(name)
        endpoint.record.expires = time.time() + records.check_ttl(ttl)
        self._keep(endpoint)
        for deployment in endpoint.deployments():
            deployment.revive()
        self._changed()
        return endpoint.info()

    async def stop(self, name: str) -> EndpointInfo:
        """End an endpoint for good."""
        info = self.endpoint(name).info()
        await self._end(name)
        return info

    async def _end(self, name: str) -> None:
        endpoint = self._endpoints.pop(name, None)
        if endpoint is None:
            return
        endpoint.making.set()
        self._owned.close_port(name)
        (self._folder / _RECORDS / name / records.RECORD_FILE).unlink(missing_ok=True)
        await asyncio.gather(*(one.stop(at_once=one is endpoint.coming) for one in endpoint.deployments()))
        shutil.rmtree(self._folder / _RECORDS / name, ignore_errors=True)
        self._sweep()
        self._changed()

    # -- parts

    def _attempt(self, label: str, role: Role) -> Attempt:
        self._numbers += 1
        return Attempt(number=self._numbers, label=label, role=role, state="starting")

    def _keep(self, endpoint: HostedEndpoint) -> None:
        if self._endpoints.get(endpoint.record.name) is endpoint:
            records.save(self._folder / _RECORDS / endpoint.record.name, endpoint.record)

    def _sweep(self) -> None:
        needed = {model.folder for endpoint in self._endpoints.values() for model in endpoint.record.versions()}
        if not any(endpoint.attempt is not None and endpoint.attempt.state == "starting" for endpoint in self._endpoints.values()):
            sources.sweep(self._folder / _MODELS, needed)

    def _log_of(self, name: str) -> WorkerLog:
        place = self._folder / _RECORDS / name
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return WorkerLog(place / "output.log")
