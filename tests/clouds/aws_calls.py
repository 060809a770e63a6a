"""A call to AWS as it comes over HTTP, and the faults that can meet it."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

FaultKind = Literal[
    "error", "lost", "throttle", "hang", "late", "malformed", "portal", "cut-before", "cut-after", "kill-before", "kill-after"
]
FAULTS: tuple[FaultKind, ...] = (
    *("error", "lost", "throttle", "hang", "late", "malformed", "portal"),
    *("cut-before", "cut-after", "kill-before", "kill-after"),
)
AFTER: frozenset[FaultKind] = frozenset({"lost", "late", "malformed", "cut-after", "kill-after"})
"""Faults after which the call has taken effect."""

_READING = re.compile(r"Describe|Get|List|Assume|Head")
_ID = "00000000-0000-0000-0000-000000000000"
_SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/")


@dataclass(frozen=True)
class Call:
    """One request. `index` counts from 0 all that came; `form` holds the parameters of the query protocols, flat as they are sent."""

    index: int
    service: str
    region: str
    action: str
    key_id: str
    form: Mapping[str, str] = field(repr=False, default_factory=dict)
    body: bytes = field(repr=False, default=b"")

    @property
    def changes(self) -> bool:
        """Whether it makes, changes or removes something."""
        return not _READING.match(self.action)

    def values(self, prefix: str) -> Sequence[str]:
        """Return the members of a list that was sent flat."""
        return [value for name, value in self.form.items() if re.fullmatch(re.escape(prefix) + r"\.\d+", name)]

    def tags(self, kind: str) -> Mapping[str, str]:
        """Return the tags that the call sets on what it makes of a kind."""
        found: dict[str, str] = {}
        for name, value in self.form.items():
            if match := re.fullmatch(r"TagSpecification\.(\d+)\.ResourceType", name):
                if value != kind:
                    continue
                prefix = f"TagSpecification.{match[1]}.Tag."
                for other, key in self.form.items():
                    if other.startswith(prefix) and other.endswith(".Key"):
                        found[key] = self.form.get(other.removesuffix("Key") + "Value", "")
        return found


def parse(index: int, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Call:
    """Read a call: who, where and what, from its signature, its target or its form."""
    scope = _SCOPE.search(headers.get("authorization", ""))
    key_id, region, service = scope.groups() if scope else ("", "", "s3")
    form: dict[str, str] = {}
    if target := headers.get("x-amz-target", ""):
        action = target.rpartition(".")[2]
    elif headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        action = form.get("Action", "")
    else:
        action = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}.get(method, method)
    return Call(index, service, region, action, key_id, form, body)


@dataclass
class Fault:
    """Something that goes wrong with the `at`-th call (from 1) that fits, and with the `times - 1` that fit after it.

    Attributes:
        kind: `error`: refused. `lost`: done, and answered with an error. `throttle`: too many calls. `hang`: not done, no answer
            for `seconds`, then cut. `late`: done, then as hang. `malformed`: done, answered with half an XML. `portal`: not done,
            answered with a page of HTML and 200. `cut-…`: the connection ends without an answer. `kill-…`: `AwsWorld.kill` is called,
            then cut.
        times: None: for good.
        action, region: "": any.
        changes: Only calls that change something count.
    """

    kind: FaultKind
    at: int = 1
    times: int | None = 1
    action: str = ""
    region: str = ""
    changes: bool = False
    code: str = "InternalError"
    message: str = "An internal error has occurred"
    status: int = 500
    seconds: float = 1.0
    seen: int = 0
    fired: int = 0

    def meets(self, call: Call) -> bool:
        """Count a call that fits, and tell whether this fault is for it."""
        if (
            (self.action and call.action != self.action)
            or (self.region and call.region != self.region)
            or (self.changes and not call.changes)
        ):
            return False
        self.seen += 1
        hit = self.seen >= self.at and (self.times is None or self.seen < self.at + self.times)
        self.fired += hit
        return hit


def refusal(call: Call, code: str, message: str, status: int) -> tuple[int, str, bytes]:
    """Return status, media type and body of an error as the service words it."""
    error = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    if call.service == "ec2":
        return status, "text/xml", f"<Response><Errors>{error}</Errors><RequestID>{_ID}</RequestID></Response>".encode()
    if call.service in ("sts", "iam"):
        return status, "text/xml", f"<ErrorResponse>{error}<RequestId>{_ID}</RequestId></ErrorResponse>".encode()
    if call.service == "s3":
        return status, "application/xml", error.encode()
    return status, "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message}).encode()
