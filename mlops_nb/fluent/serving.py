"""From a variable, a run or a model to an endpoint: what `%serve` and `mlops_nb.serve` do."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from mlops_nb.core.records import Run
from mlops_nb.errors import InvalidInput, MlopsError, NotFound, NotSupported, SelectorError
from mlops_nb.models.lineage import Lineage, Serving
from mlops_nb.monitoring.drift import MIN_ROWS
from mlops_nb.serving import devices
from mlops_nb.serving.client import Endpoint, EndpointServer
from mlops_nb.serving.limits import Limits
from mlops_nb.serving.records import EndpointInfo, Role, StartRequest, check_name, check_route, input_names
from mlops_nb.store.base import ServedStore
from mlops_nb.tracking import servers
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.run import ActiveRun
from mlops_nb.tracking.target import resolve

log = logging.getLogger("mlops_nb")

PARITY_ROWS = 10_000
_FLUSH_SECONDS = 120.0
_URI = re.compile(r"(models|runs):/", re.IGNORECASE)


def serve(
    model: Any,
    name: str | None = None,
    *,
    example: Any = None,
    signature: Any = None,
    ttl: float | None = None,
    workers: int | None = None,
    canary: float | None = None,
    shadow: float | None = None,
    port: int | None = None,
    limits: Limits | None = None,
    register: bool = True,
    parity: bool = True,
    env_manager: str = "virtualenv",
    allow_unsafe: bool = False,
    gpu: bool = False,
    accelerate: str = "off",
    route: str = "json",
    told: Callable[[EndpointInfo], None] = lambda _: None,
    **options: Any,
) -> Endpoint:
    """Serve a model from a process of its own, through the Jupyter server, and return its endpoint when it answers.

    A variable is logged to the open run first, registered under the endpoint's name, and then asked the same rows as the
    endpoint: the two must answer the same. An endpoint that is there gets the model as its new version; what answered
    before goes on until the new one is ready.

    Args:
        model: A trained model; a run, whose last model it is; `models:/…`, `runs:/…`, or `NAME@ALIAS`.
        name: Of the endpoint; the registered model's, or `model`, by default.
        example: Rows that the model takes: they give the signature, and parity is checked on them (at most 10,000).
        signature: Instead of one found from the example.
        ttl: Seconds until it ends; two hours by default. `Endpoint.extend` gives more.
        workers: Processes; one by default.
        canary: Give the version this share (0 to 1) of the requests of the endpoint that is there.
        shadow: Give the version a copy of this share, and answer none of them from it.
        port: A port of its own on this machine as well; 0 is any.
        limits: Of a request and of each process.
        register: Make a variable a version of the registered model of the endpoint's name.
        parity: Compare with the variable before it is said to be ready. Where answers differ, the endpoint is ended.
        env_manager: What makes the model's own environment, where the server's Python lacks what the model requires: `virtualenv`,
            `uv` or `conda`. `local`: it runs in the server's all the same.
        allow_unsafe: Load a model that could run code on loading. Say so only of models whose makers you trust.
        gpu: Let the model compute on a GPU of this machine.
        accelerate: `auto`: convert the model to ONNX and answer from that where it is proven on many rows to answer the same, faster;
            `require`: fail otherwise. Needs `mlops-nb[accelerate]`.
        route: The protocol that the endpoint's code and form show: `json`, `v2` or `openai`.
        told: Called with the state while it starts.
        **options: What `log_model` and the flavor take.

    Raises:
        InvalidInput: If the model cannot be served as it is.
        NotSupported: If no Jupyter server runs here.
        MlopsError: If the start fails, or the endpoint answers otherwise than the variable.
    """
    check_route(route)
    if name is not None:  # said before the model is logged
        check_name(name)
    if gpu:
        devices.check_gpu()
    server = find_server()
    role, share = _role(canary, shadow)
    uri, ours, default = _resolved(model, name, example=example, signature=signature, allow_unsafe=allow_unsafe, options=options)
    chosen = check_name(name or default)
    request = StartRequest(
        name=chosen,
        model_uri=uri,
        role=role,
        share=share,
        ttl=ttl,
        workers=workers,
        limits=limits,
        port=port,
        register=register and ours is not None,
        env_manager=env_manager,
        # What this notebook has made may run the code that this notebook has written.
        allow_unsafe=allow_unsafe or ours is not None,
        gpu=gpu or None,
        accelerate=accelerate,
    )
    request.check()
    known = {info.name for info in server.all()}
    server.start(request, told)
    endpoint = Endpoint(server, chosen, ours=ours, store=_store, route=route)
    if route == "openai" and "messages" not in (input_names(endpoint.info().signature) or ()):
        back = _take_back(endpoint, was_there=chosen in known)
        raise InvalidInput(
            f"The model of '{chosen}' is no chat model: it takes no messages, so it cannot answer as OpenAI's API does.",
            hint=f"{back} Leave out --route, or give json or v2.",
        )
    if parity and ours is not None and example is not None and role is Role.LIVE:
        _prove(endpoint, ours, example, was_there=chosen in known)
    return endpoint


def find_server() -> EndpointServer:
    """Return the Jupyter server that runs this project's endpoints.

    Raises:
        NotSupported: If there is none.
    """
    record = servers.starter_of_this_kernel() or servers.having_open(resolve().store_uri)
    if record is None:
        raise NotSupported(
            "No Jupyter server with mlops_nb runs for this project, and endpoints live in one.",
            hint="Open the project in JupyterLab, or serve from a terminal: mlops-nb models serve -m MODEL",
        )
    return EndpointServer(record.url, record.token)


def endpoint(name: str, *, model: Any = None) -> Endpoint:
    """Return an endpoint that runs; with `model` it can be compared with that.

    Raises:
        NotFound: If there is none of this name.
    """
    server = find_server()
    server.get(name)
    return Endpoint(server, name, ours=None if model is None else own_predictions(model), store=_store)


def with_endpoints(versions: Sequence[Lineage]) -> list[Lineage]:
    """Return versions of registered models with the endpoints of the project that serve each, where a Jupyter server runs."""
    try:
        infos = find_server().all()
    except NotSupported:
        return list(versions)
    return [msgspec.structs.replace(one, endpoints=_serving(one, infos)) for one in versions]


def _serving(version: Lineage, infos: Sequence[EndpointInfo]) -> list[Serving]:
    uris = {version.uri, *([f"models:/{version.model_id}"] if version.model_id else [])}  # it may be served as what it was made from
    return [
        Serving(endpoint=info.name, role=role.value, state=found.state, share=found.share)
        for info in infos
        for role, found in ((Role.LIVE, info.live), (Role.CANARY, info.canary), (Role.SHADOW, info.shadow))
        if found is not None and found.model in uris
    ]


def _store() -> ServedStore:
    return cast("ServedStore", sessions.current.store())


def reference_run(text: str) -> str:
    """Return the id of the run that a word names.

    Raises:
        NotFound, SelectorError: If there is none.
    """
    from mlops_nb import fluent

    return fluent.get_run(text).run_id


def own_predictions(model: Any) -> Callable[[Any], Any]:
    """Return what asks a variable for its predictions, as the framework's loader would ask it."""
    from mlops_nb.models import flavors
    from mlops_nb.models.flavors.form import Request

    flavor = flavors.flavor_of(model)

    def predict(rows: Any) -> Any:
        return flavor.predict(model, Request(folder=Path(), example=rows))

    return predict


def _role(canary: float | None, shadow: float | None) -> tuple[Role, float]:
    if canary is not None and shadow is not None:
        raise InvalidInput("A version is either a canary or a shadow.", hint="Give one of --canary and --shadow.")
    if canary is not None:
        return Role.CANARY, canary
    return (Role.SHADOW, shadow) if shadow is not None else (Role.LIVE, 0.0)


def _resolved(
    model: Any, name: str | None, *, example: Any, signature: Any, allow_unsafe: bool, options: Mapping[str, Any]
) -> tuple[str, Callable[[Any], Any] | None, str]:
    """Return the model's URI, how to ask the variable where it is one, and the endpoint's name where none is given."""
    if isinstance(model, (Run, ActiveRun)):
        sessions.current.flush(_FLUSH_SECONDS)
        return f"runs:/{model.run_id}", None, "model"
    if hasattr(model, "model_uri") and hasattr(model, "flavors"):  # what log_model returned
        sessions.current.flush(_FLUSH_SECONDS)
        return str(model.model_uri), None, str(model.name)
    if isinstance(model, (str, os.PathLike)):
        return _named(os.fspath(model))
    return _logged(model, name, example=example, signature=signature, options=options), own_predictions(model), "model"


def _named(word: str) -> tuple[str, None, str]:
    """Return the URI that a word stands for: a URI, `NAME@ALIAS`, a run, or a registered model."""
    from mlops_nb import fluent

    if _URI.match(word):
        inner = word.partition(":")[2].strip("/")
        is_registered = word.lower().startswith("models:") and not inner.startswith("m-")
        return word, None, re.split(r"[/@]", inner)[0] if is_registered else "model"
    name, at, alias = word.rpartition("@")
    if at and name:
        return f"models:/{name}@{alias}", None, name
    try:
        return f"runs:/{fluent.get_run(word).run_id}", None, "model"
    except (NotFound, SelectorError):
        if word.startswith("@"):
            raise
    return f"models:/{word}/latest", None, word


def _logged(model: Any, name: str | None, *, example: Any, signature: Any, options: Mapping[str, Any]) -> str:
    from mlops_nb.tracking.models import log_model

    own = sessions.current.active is None
    info = log_model(model, name=name or "model", input_example=example, signature=signature, **options)
    if own and sessions.current.active is not None:
        sessions.current.active.stop()  # it was started for this model alone
    if not sessions.current.flush(_FLUSH_SECONDS):
        raise MlopsError("The model has not reached the server yet.", hint="Try again in a moment; nothing is lost.")
    return info.model_uri


def _prove(endpoint: Endpoint, ours: Callable[[Any], Any], example: Any, *, was_there: bool) -> None:
    """Compare the endpoint with the variable; what answers otherwise does not stay.

    Raises:
        MlopsError: If a row differs.
    """
    rows = example[:PARITY_ROWS] if hasattr(example, "shape") else example
    expected = ours(rows)
    try:
        found = endpoint.compare(rows, expected)
    except MlopsError as error:
        back = _take_back(endpoint, was_there=was_there)
        raise MlopsError(f"The endpoint '{endpoint.name}' does not answer the example: {error}", hint=back) from None
    if not found.holds:
        back = _take_back(endpoint, was_there=was_there)
        raise MlopsError(
            f"The endpoint '{endpoint.name}' does not answer what the variable answers: {found}.",
            hint=f"{back} --no-parity serves it all the same.",
        )
    if hasattr(rows, "shape") and len(rows) >= MIN_ROWS:
        try:
            endpoint.hold_against(rows, expected, source="the example that it was served with")
        except MlopsError as error:  # what was served is proven; it is only not watched
            log.warning("The requests to '%s' are not held against the example: %s", endpoint.name, error)


def _take_back(endpoint: Endpoint, *, was_there: bool) -> str:
    if was_there:
        endpoint.rollback()
        return "What was live before is live again."
    endpoint.stop()
    return "It has been ended."
