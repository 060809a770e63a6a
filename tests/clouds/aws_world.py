"""AWS for tests: moto behind real HTTP, with what moto leaves out and real AWS has, and faults at any call.

Added to moto: `ClientToken` (one machine a token, `IdempotentParameterMismatch`), machines that take a while to appear and to end,
groups that cannot go while a machine uses them, tags on network interfaces, the limit of user data, unknown instance profiles, quotas,
Canonical's and Amazon's images (and an impostor's), capacity by zone and type.

    with open_world() as world:
        world.fault("cut-after", at=7, times=None)
        AwsCloud(environment=world.environment) …
        world.left(installation)
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from tests.clouds import aws_state
from tests.clouds.aws_calls import AFTER, Call, Fault, FaultKind, parse, refusal
from tests.clouds.aws_state import ACCOUNT, Thing, backend

Refusal = tuple[str, str, int]
Rule = Callable[[Call], Refusal | None]
PORTAL = b"<html><head><title>Sign in</title></head><body>Please accept the terms of this network.</body></html>"
STANDARD_QUOTAS = {
    "L-1216C47A": 64.0,  # on-demand standard vCPUs
    "L-DB2E81BA": 64.0,  # on-demand G and VT
    "L-417A185B": 0.0,  # on-demand P
    "L-34B43A08": 64.0,  # spot standard
    "L-3819A6DF": 64.0,  # spot G and VT
    "L-7212CCBC": 0.0,  # spot P
}


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing: calls are in `AwsWorld.calls`."""


class AwsWorld:
    """One account of AWS. `environment` is what boto3 needs to find it.

    Attributes:
        calls: All that came, in order.
        kill: What `kill-…` faults call; `killed` sets it for a child of its own.
        lag: How often a machine is not seen yet by who looks for it, after it was made.
        ending: How often a machine that was ended is still seen as shutting down.
        quotas: Of the service quotas, by code.
        regions: That are enabled for the account.
        prices: Of the price list, by type and region.
        expired: Ids of access keys that are no longer accepted.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        aws_state.reset()
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.rules: list[Rule] = []
        self.kill: Callable[[], object] = lambda: None
        self.lag = 0
        self.ending = 0
        self.quotas = dict(STANDARD_QUOTAS)
        self.expired: set[str] = set()
        self.regions = ["us-east-1", "us-west-1", "eu-west-1", "eu-north-1"]
        self.prices: dict[tuple[str, str], float] = {}
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._done: dict[tuple[str, str], tuple[frozenset[tuple[str, str]], tuple[int, str, bytes]]] = {}
        self._unseen: dict[str, int] = {}
        self._ending: dict[str, int] = {}
        self._lock = threading.Lock()
        self._server: BaseWSGIServer = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIATESTING",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    # -- what tests say

    def fault(self, kind: FaultKind, at: int = 1, **more: Any) -> Fault:
        """Let the `at`-th fitting call from now on go wrong; see `Fault`."""
        fault = Fault(kind, at, **more)
        self.faults.append(fault)
        return fault

    def no_capacity(self, *, zone: str = "", type: str = "", spot: bool | None = None, code: str = "InsufficientInstanceCapacity") -> None:
        """Let there be no machine of this type in this zone ("": any) from now on."""

        def rule(call: Call) -> Refusal | None:
            fits = call.action == "RunInstances" and (not type or call.form.get("InstanceType") == type)
            fits = fits and (not zone or self.zone_of(call) == zone) and (spot is None or spot == self._is_spot(call))
            message = (
                f"We currently do not have sufficient {call.form.get('InstanceType')} capacity in the Availability Zone you requested."
            )
            return (code, message, 500) if fits else None

        self.rules.append(rule)

    def refuse(self, code: str, message: str, *, status: int = 400, action: str = "", region: str = "") -> None:
        """Let every fitting call be refused from now on."""
        self.rules.append(
            lambda call: (code, message, status) if action in ("", call.action) and region in ("", call.region) else None,
        )

    def calm(self) -> None:
        """Forget faults and rules: from now on all is well."""
        self.faults.clear()
        self.rules.clear()

    def zone_of(self, call: Call) -> str:
        """Return where a machine was asked for."""
        subnet = call.form.get("NetworkInterface.1.SubnetId") or call.form.get("SubnetId")
        if subnet:
            return str(backend(call.region).get_subnet(subnet).availability_zone)
        return call.form.get("Placement.AvailabilityZone", "")

    # -- what is there

    def things(self) -> Sequence[Thing]:
        """Return all that there is in all regions: machines, disks, interfaces, addresses, groups, keys, spot requests."""
        return aws_state.things()

    def left(self, installation: str = "") -> Sequence[Thing]:
        """Return what carries our tags and still costs or clutters; "": of any installation."""
        from mlops_nb.core.runners import TAG_INSTALLATION

        ours = (thing for thing in self.things() if TAG_INSTALLATION in thing.tags)
        return [thing for thing in ours if not thing.over and installation in ("", thing.tags[TAG_INSTALLATION])]

    def machines(self, installation: str = "") -> Sequence[Thing]:
        """Return our machines that are not ended."""
        return [thing for thing in self.left(installation) if thing.kind == "machine"]

    def snapshot(self) -> Mapping[str, Thing]:
        """Return all that there is by id, to compare with later."""
        return {thing.id: thing for thing in self.things()}

    def add_foreign(
        self, count: int, *, regions: Sequence[str] = ("us-east-1",), tags: Mapping[str, str] | None = None
    ) -> Mapping[str, Thing]:
        """Put in things of other people, a third each of machines (with their disks), disks and groups, and return them by id."""
        before = set(self.snapshot())
        aws_state.add_foreign(count, regions, tags or {})
        return {key: thing for key, thing in self.snapshot().items() if key not in before}

    def forget_ended(self) -> None:
        """Let the time pass after which AWS no longer shows machines that are ended."""
        aws_state.forget_ended()

    def hide_machines(self, looks: int) -> None:
        """Let all machines that are there be out of sight for so many looks."""
        self._unseen.update({thing.id: looks for thing in self.things() if thing.kind == "machine"})

    def end(self, machine: str, region: str, *, reason: str = "Server.SpotInstanceTermination") -> None:
        """Let AWS, or the machine's own shutdown, end a machine."""
        aws_state.end(machine, region, reason)

    def actions(self, *, changes: bool = False) -> Sequence[str]:
        """Return the names of the calls so far."""
        return [call.action for call in self.calls if call.changes or not changes]

    def killed(self, work: Callable[[], object], kind: FaultKind, at: int, **more: Any) -> bool:
        """Do the work in a child process that is killed (SIGKILL) at this call; tell whether it came to that.

        Raises:
            AssertionError: If the child failed otherwise.
        """
        fault = self.fault(kind, at, **more)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads: the child touches none of them
            child = os.fork()
        if child == 0:
            status = 70
            try:
                work()
                status = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        self.kill = lambda: os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        self.kill = lambda: None
        self.faults.remove(fault)
        if os.WIFSIGNALED(status):
            assert fault.fired, f"The child died of signal {os.WTERMSIG(status)} before call {at}."
            return True
        assert status == 0, "The child failed; its traceback is on stderr."
        return False

    # -- the server

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        headers = {name[5:].lower().replace("_", "-"): str(value) for name, value in environ.items() if name.startswith("HTTP_")}
        headers["content-type"] = str(environ.get("CONTENT_TYPE", ""))
        with self._lock:
            call = parse(len(self.calls), environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""), headers, body)
            self.calls.append(call)
            fault = next((each for each in list(self.faults) if each.meets(call)), None)
        answer = self._meet(call, fault, environ, body)
        if answer is None:
            # As a wire that is cut: nothing more comes, not even a status.
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError("cut by the test")
        status, media, content = answer
        asked = [("x-amzn-RequestId", "00000000-0000-0000-0000-000000000001")] if content.startswith(b"{") else []
        start_response(f"{status} X", [("Content-Type", media), ("Content-Length", str(len(content))), *asked])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else content]

    def _meet(self, call: Call, fault: Fault | None, environ: dict[str, Any], body: bytes) -> tuple[int, str, bytes] | None:
        kind = fault.kind if fault else None
        if kind == "kill-before":
            self.kill()
        answer: tuple[int, str, bytes] | None = None
        if fault is None or fault.kind in AFTER:
            with self._lock:
                answer = self._perform(call, environ, body)
        if fault is None:
            return answer
        match kind:
            case "error" | "lost":
                return refusal(call, fault.code, fault.message, fault.status)
            case "throttle":
                return refusal(call, "RequestLimitExceeded", "Request limit exceeded.", 503)
            case "malformed" if answer is not None:
                return 200, "text/xml", answer[2][: max(1, len(answer[2]) // 2)]
            case "portal":
                return 200, "text/html", PORTAL
            case "hang" | "late":
                time.sleep(fault.seconds)
            case "kill-after":
                self.kill()
        return None

    def _perform(self, call: Call, environ: dict[str, Any], body: bytes) -> tuple[int, str, bytes]:
        if call.key_id in self.expired:
            return refusal(
                call, "RequestExpired" if call.service == "ec2" else "ExpiredTokenException", "The security token is expired", 400
            )
        for rule in self.rules:
            if refused := rule(call):
                return refusal(call, *refused)
        if refused := self._strict(call):
            return refusal(call, *refused)
        if call.service == "servicequotas":
            return self._quota(call)
        if call.action == "DescribeRegions" and call.form.get("DryRun") != "true":
            regions = "".join(f"<item><regionName>{region}</regionName></item>" for region in self.regions)
            return 200, "text/xml", f"<R><requestId>1</requestId><regionInfo>{regions}</regionInfo></R>".encode()
        if call.service == "pricing":
            return self._price(call)
        token = (call.region, call.form.get("ClientToken", ""))
        asked = frozenset(item for item in call.form.items() if item[0] != "Version")
        if call.action == "RunInstances" and token in self._done:
            before, answer = self._done[token]
            if before != asked:
                return refusal(call, "IdempotentParameterMismatch", "The client token is in use by a request with other parameters.", 400)
            return answer
        if call.service == "ssm":
            aws_state.add_parameters(call.region)
        hidden = self._hide(call)
        answer = self._pass_on(environ, body)
        aws_state.show(call.region, hidden)
        if call.action == "RunInstances" and answer[0] == 200:
            self._done[token] = (asked, answer)
            self._made(call, answer[2])
        if call.action == "TerminateInstances" and answer[0] == 200 and self.ending:
            for machine in call.values("InstanceId"):
                if aws_state.shut_down(machine, call.region):
                    self._ending[machine] = self.ending
        return answer

    def _strict(self, call: Call) -> Refusal | None:
        """What real AWS refuses and moto does not."""
        if call.action == "RunInstances":
            import base64

            if len(base64.b64decode(call.form.get("UserData", ""))) > 16384:
                return "InvalidParameterValue", "User data is limited to 16384 bytes", 400
            if profile := aws_state.unknown_profile(call):
                return (
                    "InvalidParameterValue",
                    f"Value ({profile}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile",
                    400,
                )
            if (minutes := call.form.get("InstanceMarketOptions.SpotOptions.MaxPrice")) and float(minutes) < 0.001:
                return (
                    "SpotMaxPriceTooLow",
                    "Your Spot request price is lower than the minimum required Spot request fulfillment price.",
                    400,
                )
        if call.action == "DeleteSecurityGroup" and aws_state.group_in_use(call.form.get("GroupId", ""), call.region):
            return "DependencyViolation", f"resource {call.form.get('GroupId')} has a dependent object", 400
        return None

    def _is_spot(self, call: Call) -> bool:
        return call.form.get("InstanceMarketOptions.MarketType") == "spot"

    def _made(self, call: Call, content: bytes) -> None:
        for machine in re.findall(rb"<instanceId>(i-[0-9a-f]+)</instanceId>", content):
            aws_state.finish_machine(machine.decode(), call)
            if self.lag:
                self._unseen[machine.decode()] = self.lag

    def _hide(self, call: Call) -> Mapping[str, Any]:
        """Take out of sight what is not to be seen yet, and let machines end that were shutting down."""
        if call.action != "DescribeInstances":
            return {}
        for machine, left in list(self._ending.items()):
            self._ending[machine] = left - 1
            if left <= 0:
                del self._ending[machine]
                aws_state.ended(machine)
        hidden = aws_state.hide(call.region, [machine for machine, left in self._unseen.items() if left > 0])
        for machine in list(self._unseen):
            self._unseen[machine] -= 1
        return hidden

    def _quota(self, call: Call) -> tuple[int, str, bytes]:
        code = json.loads(call.body or b"{}").get("QuotaCode", "")
        if code not in self.quotas:
            return refusal(
                call, "NoSuchResourceException", f"The request failed because the specified service quota {code} does not exist.", 400
            )
        quota = {"ServiceCode": "ec2", "QuotaCode": code, "QuotaName": code, "Value": self.quotas[code]}
        return 200, "application/x-amz-json-1.1", json.dumps({"Quota": quota}).encode()

    def _price(self, call: Call) -> tuple[int, str, bytes]:
        asked = {each["Field"]: each["Value"] for each in json.loads(call.body or b"{}").get("Filters", ())}
        price = self.prices.get((asked.get("instanceType", ""), asked.get("regionCode", "")))
        dimension = {"X.JRTCKXETXF.6YS6EN2CT7": {"unit": "Hrs", "pricePerUnit": {"USD": f"{price:.10f}"}}} if price is not None else {}
        product = {"serviceCode": "AmazonEC2", "terms": {"OnDemand": {"X.JRTCKXETXF": {"priceDimensions": dimension}}}}
        products = [json.dumps(product)] if price is not None else []
        return 200, "application/x-amz-json-1.1", json.dumps({"FormatVersion": "aws_v1", "PriceList": products}).encode()

    def _pass_on(self, environ: dict[str, Any], body: bytes) -> tuple[int, str, bytes]:
        got: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            got[:] = [int(status.split()[0]), {name.lower(): value for name, value in headers}]
            return lambda data: None

        answer = self._moto({**environ, "wsgi.input": io.BytesIO(body)}, start)
        content = b"".join(answer)
        return got[0], got[1].get("content-type", "text/xml"), content


World = TypeVar("World", bound=AwsWorld)


@contextmanager
def open_world(kind: type[World] = AwsWorld) -> Iterator[World]:  # type: ignore[assignment]
    """Give an account with nothing in it but the default networks."""
    world = kind()
    try:
        yield world
    finally:
        world.close()


__all__ = ["ACCOUNT", "AwsWorld", "open_world"]
