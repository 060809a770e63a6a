"""Our operations on endpoints: models that this server runs. Requests to the models themselves go below `/serve/NAME/`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from mlops_nb.api.operation import Context, Nothing, Permission, operation
from mlops_nb.core.wire import Done, Wire
from mlops_nb.errors import InvalidInput
from mlops_nb.monitoring.bins import Reference
from mlops_nb.serving import references
from mlops_nb.serving.limits import Limits
from mlops_nb.serving.monitor import Monitored
from mlops_nb.serving.records import EndpointInfo, Role, StartRequest, input_names

_PATH = "/api/v1/endpoints"

Seconds = Annotated[float, msgspec.Meta(ge=0)]


class EndpointName(Wire, kw_only=True):
    name: str


class EndpointStart(Wire, kw_only=True):
    """See `mlops_nb.serving.records.StartRequest`; `wait` is how long to wait for it (s), at most 20."""

    name: str
    model_uri: str
    role: Role = Role.LIVE
    share: float = 0.1
    ttl: float | None = None
    workers: int | None = None
    limits: Limits | None = None
    port: int | None = None
    register: bool = False
    allow_unsafe: bool = False
    env_manager: str = "virtualenv"
    gpu: bool | None = None
    accelerate: str = "off"
    wait: Seconds = 10.0


class EndpointsAnswer(Wire, kw_only=True):
    endpoints: list[EndpointInfo]


class EndpointAnswer(Wire, kw_only=True):
    endpoint: EndpointInfo


class EndpointLogs(Wire, kw_only=True):
    name: str
    lines: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 200


class EndpointLogsAnswer(Wire, kw_only=True):
    lines: list[str]


class EndpointToken(Wire, kw_only=True):
    token: str
    port: int


class EndpointPromote(Wire, kw_only=True):
    """With `share` the canary gets that share; otherwise it becomes live. `alias` then names the version in the registry."""

    name: str = ""
    share: float | None = None
    alias: str | None = None


class EndpointExtend(Wire, kw_only=True):
    name: str = ""
    ttl: float


class EndpointWatch(Wire, kw_only=True):
    """What requests are held against: counts in bins, or the data of a run; neither: what the model was trained on."""

    name: str = ""
    reference: Reference | None = None
    run_id: str | None = None


class EndpointMonitor(Wire, kw_only=True):
    monitor: Monitored


class EndpointAct(Wire, kw_only=True):
    name: str = ""


@operation("endpoints.list", "GET", _PATH, permission=Permission.READ)
def list_endpoints(context: Context, request: Nothing) -> EndpointsAnswer:
    """List the endpoints that this server runs, by name."""
    return EndpointsAnswer(endpoints=context.project.endpoints.all() if context.project.endpoints else [])


@operation("endpoints.start", "POST", _PATH, permission=Permission.WRITE, files=True)
def start_endpoint(context: Context, request: EndpointStart) -> EndpointAnswer:
    """Serve a model as a new endpoint, or as a new version of one."""
    values = {name: getattr(request, name) for name in StartRequest.__struct_fields__}
    return EndpointAnswer(endpoint=context.endpoints.start(StartRequest(**values), wait=request.wait))


@operation("endpoints.get", "GET", f"{_PATH}/{{name}}", permission=Permission.READ)
def get_endpoint(context: Context, request: EndpointName) -> EndpointAnswer:
    """Return an endpoint: its versions, their state, its traffic."""
    return EndpointAnswer(endpoint=context.endpoints.get(request.name))


@operation("endpoints.stop", "DELETE", f"{_PATH}/{{name}}", permission=Permission.WRITE, files=True)
def stop_endpoint(context: Context, request: EndpointName) -> Done:
    """End an endpoint; requests that run are finished."""
    context.endpoints.stop(request.name)
    return Done()


@operation("endpoints.logs", "GET", f"{_PATH}/{{name}}/logs", permission=Permission.READ)
def endpoint_logs(context: Context, request: EndpointLogs) -> EndpointLogsAnswer:
    """Return the last lines that the workers of an endpoint printed."""
    return EndpointLogsAnswer(lines=context.endpoints.logs(request.name, request.lines))


@operation("endpoints.token", "POST", f"{_PATH}/{{name}}/token", permission=Permission.WRITE, files=True)
def endpoint_token(context: Context, request: EndpointAct) -> EndpointToken:
    """Return what opens the port of an endpoint."""
    return EndpointToken(token=context.endpoints.token(request.name), port=context.endpoints.get(request.name).port)


@operation("endpoints.promote", "POST", f"{_PATH}/{{name}}/promote", permission=Permission.WRITE, files=True)
def promote_endpoint(context: Context, request: EndpointPromote) -> EndpointAnswer:
    """Make the canary or the shadow live, or change the share of the canary; give the live version an alias."""
    endpoints = context.endpoints
    info = endpoints.get(request.name)
    if request.share is not None or info.canary is not None or info.shadow is not None or request.alias is None:
        info = endpoints.promote(request.name, request.share)
    if request.alias is not None:
        live = info.live
        if live is None or not live.registered:
            raise InvalidInput(
                f"What is live at '{request.name}' is no version of a registered model.",
                hint="Serve it with registration: %serve MODEL --register",
            )
        context.store.registry.set_alias(live.registered, request.alias, int(live.label))
    return EndpointAnswer(endpoint=info)


@operation("endpoints.rollback", "POST", f"{_PATH}/{{name}}/rollback", permission=Permission.WRITE, files=True)
def rollback_endpoint(context: Context, request: EndpointAct) -> EndpointAnswer:
    """Drop the canary and the shadow, or else make live what was live before."""
    return EndpointAnswer(endpoint=context.endpoints.rollback(request.name))


@operation("endpoints.extend", "POST", f"{_PATH}/{{name}}/extend", permission=Permission.WRITE, files=True)
def extend_endpoint(context: Context, request: EndpointExtend) -> EndpointAnswer:
    """Let an endpoint live for so many seconds from now; one that is parked is tried again."""
    return EndpointAnswer(endpoint=context.endpoints.extend(request.name, request.ttl))


@operation("endpoints.monitor", "GET", f"{_PATH}/{{name}}/monitor", permission=Permission.READ)
def monitor_endpoint(context: Context, request: EndpointName) -> EndpointMonitor:
    """Return the traffic of the last minute, and how requests and predictions compare with the reference."""
    return EndpointMonitor(monitor=context.endpoints.monitor(request.name))


@operation("endpoints.watch", "POST", f"{_PATH}/{{name}}/reference", permission=Permission.WRITE, files=True)
def watch_endpoint(context: Context, request: EndpointWatch) -> EndpointMonitor:
    """Hold requests against other data from now on; what was seen until now is forgotten."""
    reference = request.reference
    if request.run_id is not None:
        if reference is not None:
            raise InvalidInput("Requests are held against a run or against counts, not both.", hint="Give one of run_id and reference.")
        reference = references.of_run(context.store.get_run(request.run_id), input_names(context.endpoints.get(request.name).signature))
        if reference is None:
            raise InvalidInput(
                f"The run {request.run_id[:8]} has logged no data with the columns of '{request.name}' whose distribution is known.",
                hint="Log its data with %track data VAR, or give the data itself: %serve monitor NAME --ref VAR",
            )
    if reference is not None:
        try:
            reference.check()
        except ValueError as error:
            raise InvalidInput(f"This is no reference: {error}.") from None
    return EndpointMonitor(monitor=context.endpoints.watch(request.name, reference))


OPERATIONS = (
    list_endpoints,
    start_endpoint,
    get_endpoint,
    stop_endpoint,
    endpoint_logs,
    endpoint_token,
    promote_endpoint,
    rollback_endpoint,
    extend_endpoint,
    monitor_endpoint,
    watch_endpoint,
)
