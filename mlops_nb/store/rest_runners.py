"""The ledger of runners over HTTP: for whoever launches behind a server, and for the agents of machines with their own token."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from mlops_nb.core import runner_wire as wire
from mlops_nb.core.runner_jobs import Job, JobState
from mlops_nb.core.runners import Heartbeat, Orders, Runner, RunnerEvent, RunnerState
from mlops_nb.core.wire import Done
from mlops_nb.errors import NotFound
from mlops_nb.store.runners import ENV_INSTALLATION, TICKET_SECONDS, LogPage, RunnerLedger, checked_installation

A = TypeVar("A")


class Ask(Protocol):
    """Sends a request below `/api/v1` and returns its answer as the type that is named."""

    def __call__(self, answer: type[A], method: str, path: str, *, query: Any = None, body: Any = None) -> A: ...


class RestRunners(RunnerLedger):
    """See `RunnerLedger`. An agent can do what belongs to its own runner, everybody else what their token allows.

    Args:
        ask: Sends with the token of the store.
        ask_as: Gives the same with another token; "" is none.
    """

    def __init__(self, ask: Ask, ask_as: Callable[[str], Ask]) -> None:
        self.ask = ask
        self._ask_as = ask_as

    def installation(self) -> str:
        named = os.environ.get(ENV_INSTALLATION)
        if named:
            return checked_installation(named)
        return self.ask(wire.InstallationAnswer, "POST", "/runners/-/installation").installation

    def changes(self) -> int:
        return self.ask(wire.RunnersAnswer, "GET", "/runners", query={"states": "requested", "max_results": 1}).changes

    def hold(self, name: str, holder: str, seconds: float) -> bool:
        body = wire.HoldRequest(name=name, holder=holder, seconds=seconds)
        return self.ask(wire.HoldAnswer, "POST", "/runners/-/hold", body=body).held

    def add(self, runner: Runner, event: RunnerEvent) -> Runner:
        return self.ask(wire.RunnerAnswer, "POST", "/runners", body=wire.RunnerAdd(runner=runner, event=event)).runner

    def get(self, runner: str) -> Runner:
        return self.ask(wire.RunnerAnswer, "GET", _runner(runner)).runner

    def list(self, *, states: Collection[RunnerState] | None = None, max_results: int = 1000) -> Sequence[Runner]:
        if states is not None and not states:
            return []
        query = {"states": None if states is None else [RunnerState(state).value for state in states], "max_results": max_results}
        return self.ask(wire.RunnersAnswer, "GET", "/runners", query=query).runners

    def save(self, runner: Runner, *events: RunnerEvent) -> Runner:
        body = wire.RunnerSave(runner=runner, events=list(events))
        return self.ask(wire.RunnerAnswer, "PUT", _runner(runner.id), body=body).runner

    def events(self, runner_id: str) -> Sequence[RunnerEvent]:
        return self.ask(wire.RunnerEventsAnswer, "GET", _runner(runner_id, "/events")).events

    # -- machines

    def issue_ticket(self, runner_id: str, secret: bytes, *, seconds: float = TICKET_SECONDS) -> str:
        body = wire.TicketRequest(secret=secret, seconds=seconds)
        return self.ask(wire.TicketAnswer, "POST", _runner(runner_id, "/ticket"), body=body).ticket

    def redeem(self, ticket: str) -> tuple[Runner, str, bytes]:
        answer = self._ask_as("")(wire.RedeemAnswer, "POST", "/runners/-/redeem", body=wire.RedeemRequest(ticket=ticket))
        return answer.runner, answer.token, answer.secret

    def agent(self, token: str) -> Runner:
        return self._ask_as(token)(wire.RunnerAnswer, "GET", "/runners/-/agent").runner

    def heartbeat(self, runner_id: str, beat: Heartbeat) -> Orders:
        return self.ask(wire.OrdersAnswer, "POST", _runner(runner_id, "/heartbeat"), body=wire.HeartbeatRequest(beat=beat)).orders

    def append_log(self, runner_id: str, offset: int, text: str) -> int:
        text = text.encode(errors="replace").decode()
        return self.ask(wire.LogLength, "POST", _runner(runner_id, "/log"), body=wire.LogAppend(offset=offset, text=text)).length

    def log(self, runner_id: str, *, after: int = 0, max_bytes: int = 65_536) -> LogPage:
        query = {"after": after, "max_bytes": max(16, min(max_bytes, 1 << 20))}
        answer = self.ask(wire.LogAnswer, "GET", _runner(runner_id, "/log"), query=query)
        return LogPage(text=answer.text, start=answer.start, end=answer.end)

    def add_run(self, runner_id: str, run_id: str) -> None:
        self.ask(Done, "PUT", _runner(runner_id, f"/runs/{_part(run_id)}"))

    def may_write(self, runner_id: str, run_id: str) -> bool:
        try:
            self.ask(Done, "GET", _runner(runner_id, f"/runs/{_part(run_id)}"))
        except NotFound:
            return False
        return True

    # -- jobs

    def add_job(self, job: Job) -> Job:
        return self.ask(wire.JobAnswer, "POST", "/runner-jobs", body=wire.JobAdd(job=job)).job

    def job(self, job: str) -> Job:
        return self.ask(wire.JobAnswer, "GET", f"/runner-jobs/{_part(job)}").job

    def jobs(self, *, runner_id: str | None = None, states: Collection[JobState] | None = None, max_results: int = 100) -> Sequence[Job]:
        if states is not None and not states:
            return []
        named = None if states is None else [JobState(state).value for state in states]
        query = {"runner_id": runner_id, "states": named, "max_results": max_results}
        return self.ask(wire.JobsAnswer, "GET", "/runner-jobs", query=query).jobs

    def save_job(self, job: Job) -> Job:
        return self.ask(wire.JobAnswer, "PUT", f"/runner-jobs/{_part(job.id)}", body=wire.JobSave(job=job)).job

    def claim_job(self, runner_id: str, *, claim: str = "") -> Job | None:
        return self.ask(wire.ClaimAnswer, "POST", _runner(runner_id, "/claim"), body=wire.ClaimRequest(claim=claim)).job

    # -- what the server does for a machine with the forge's token

    def registration(self, runner_id: str) -> bytes:
        """Return a new registration at the forge for the machine's next job."""
        return self.ask(wire.SecretAnswer, "POST", _runner(runner_id, "/registration"), body=wire.MachineAct()).secret

    def unregister(self, runner_id: str) -> bool:
        """Have the runner's registrations removed; False while the forge says that it has a job."""
        return self.ask(wire.RemovedAnswer, "POST", _runner(runner_id, "/unregister"), body=wire.MachineAct()).removed

    def interrupted(self, runner_id: str, job: wire.CutJob | None) -> wire.InterruptedAnswer:
        """Have the job that is cut off done again, once; None: the machine does not know which."""
        body = wire.InterruptedRequest(job=job)
        return self.ask(wire.InterruptedAnswer, "POST", _runner(runner_id, "/interrupted"), body=body)


def _part(text: str) -> str:
    if text in ("", ".", "..", "-"):
        raise NotFound(f"There is nothing of the name {text!r}.")
    return quote(text, safe="")


def _runner(runner: str, rest: str = "") -> str:
    return f"/runners/{_part(runner)}{rest}"
