"""Checks requests and answers against a published OpenAPI description, with openapi-core."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from werkzeug.datastructures import Headers, ImmutableMultiDict

from tests.forges.server import Reply, Request

CONTRACTS = Path(__file__).parent / "contracts"


@dataclass
class _SentRequest:
    """A request in openapi-core's form."""

    host_url: str
    path: str
    method: str
    parameters: RequestParameters
    content_type: str
    body: bytes | None


@dataclass
class _SentReply:
    """An answer in openapi-core's form."""

    data: bytes
    status_code: int
    headers: Mapping[str, Any]
    content_type: str


class OpenApiContract:
    """What a forge has promised. Operations that the description lacks are violations."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        description = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        description["servers"] = [{"url": "/"}]
        _let_null_be_chosen(description)
        self.api = OpenAPI.from_dict(description, config=Config(spec_validator_cls=None))

    def _request(self, request: Request) -> _SentRequest:
        # A parameter that spans segments (`git/ref/heads/main`) is one segment to openapi-core.
        path = re.sub(r"\{(\w+)\+?\}", lambda found: quote(request.params[found[1]], safe=""), request.template)
        query = ImmutableMultiDict([(name, value) for name, values in request.query.items() for value in values])
        parameters = RequestParameters(query=query, header=Headers(list(request.headers.items())), cookie=ImmutableMultiDict())
        content_type = request.headers.get("Content-Type") or "application/json"
        return _SentRequest("http://forge", path, request.method.lower(), parameters, content_type, request.body or None)

    def request_problem(self, request: Request, host_url: str) -> str | None:
        return _problem(lambda: self.api.validate_request(self._request(request)))

    def response_problem(self, request: Request, host_url: str, reply: Reply) -> str | None:
        content_type = reply.headers.get("Content-Type", "application/json")
        sent = _SentReply(reply.encoded(), reply.status, Headers(list(reply.headers.items())), content_type)
        problem = _problem(lambda: self.api.validate_response(self._request(request), sent))
        # Descriptions leave out the errors that every operation may give, such as 401 and 429.
        return None if problem and "Unknown response http status" in problem and reply.status >= 400 else problem


def _let_null_be_chosen(node: Any) -> None:
    """Add null to the choices of what is nullable: GitHub's description leaves it out, and gives null in its examples."""
    if isinstance(node, dict):
        if node.get("nullable") is True and isinstance(node.get("enum"), list) and None not in node["enum"]:
            node["enum"].append(None)
        for value in node.values():
            _let_null_be_chosen(value)
    elif isinstance(node, list):
        for value in node:
            _let_null_be_chosen(value)


def _problem(check: Any) -> str | None:
    try:
        check()
    except OpenAPIError as error:
        reasons = [str(error)]
        cause: BaseException | None = error
        while cause is not None:
            details = getattr(cause, "schema_errors", None)
            reasons += [f"{'/'.join(map(str, one.absolute_path))}: {one.message[:300]}" for one in details or ()]
            cause = cause.__cause__
        return "; ".join(dict.fromkeys(reasons))
    return None


@cache
def contract(name: str) -> OpenApiContract:
    """Return the contract of `contracts/NAME.json` or `.yaml`, read once a session."""
    return OpenApiContract(next(path for suffix in (".json", ".yaml") if (path := CONTRACTS / f"{name}{suffix}").exists()))
