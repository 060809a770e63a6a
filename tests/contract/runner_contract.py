"""What every ledger of runners does. Ledgers may hold runners of other tests: each makes its own."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from mlops_nb.core.runner_jobs import Job, JobState
from mlops_nb.core.runners import (
    BUSY_LEASE_SECONDS,
    LEASE_SECONDS,
    AgentWish,
    Guards,
    Heartbeat,
    Offer,
    Resource,
    Runner,
    RunnerEvent,
    RunnerRequest,
    RunnerState,
)
from mlops_nb.errors import AlreadyExists, Conflict, IllegalTransition, InvalidInput, NotFound, PermissionDenied
from mlops_nb.store.runners import MAX_LOG, RunnerLedger


def new_runner(name: str = "", **changes: Any) -> Runner:
    now = time.time()
    request = RunnerRequest(name=name or f"r{secrets.token_hex(6)}", cloud="local", **changes.pop("request", {}))
    values = {"installation": "1" * 32, "created": now, "updated": now, "hard_stop": now + 3600, **changes}
    return Runner(id=secrets.token_hex(16), request=request, **values)


def new_job(runner: Runner | None, **changes: Any) -> Job:
    now = time.time()
    values = {"id": secrets.token_hex(16), "run_id": secrets.token_hex(16), "name": "train", "notebook": "train.ipynb"}
    return Job(**{**values, "digest": "0" * 64, "runner_id": runner.id if runner else "", "created": now, "updated": now, **changes})


def event(kind: str = "requested", **values: Any) -> RunnerEvent:
    return RunnerEvent(time=time.time(), kind=kind, **values)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Return what calls give that begin at the same moment; an error is what it gives."""
    answers: list[Any] = [None] * len(calls)
    together = threading.Barrier(len(calls))

    def run(number: int) -> None:
        together.wait(10)
        try:
            answers[number] = calls[number]()
        except Exception as error:
            answers[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


class RunnerContract:
    """All of `RunnerLedger`."""

    @pytest.fixture
    def ledger(self) -> RunnerLedger:
        raise NotImplementedError

    def ready(self, ledger: RunnerLedger, **changes: Any) -> Runner:
        """Add a runner whose machine has begun to boot."""
        runner = ledger.add(new_runner(**changes), event())
        runner = ledger.save(replace(runner, state=RunnerState.CREATING), event("creating"))
        return ledger.save(replace(runner, state=RunnerState.BOOTING), event("booting"))

    def test_what_was_asked_for_is_kept_word_for_word(self, ledger: RunnerLedger) -> None:
        request = {
            "agent": AgentWish(kind="github", repository="https://github.com/o/r", labels=["cml", "gpu"], single=True, docker_volumes=[]),
            "guards": Guards(idle=60, max_hours=2, max_cost=1.5),
            "metadata": {"maxHours": "übung <b>", "team": 'a"b'},
            "startup_script": "echo 1\n\ttrue",
        }
        runner = new_runner(request=request, user="me & you", host="laptop")
        kept = ledger.add(runner, event(text="asked", data={"someKey": [1, None, "x"]}))
        assert kept == replace(runner, revision=1, request=kept.request, resources=[])
        assert kept.request.agent == request["agent"] and kept.request.metadata == request["metadata"]
        assert kept.request.startup_script == request["startup_script"] and kept.request.guards == request["guards"]
        assert ledger.get(runner.id) == kept
        [noted] = ledger.events(runner.id)
        assert (noted.kind, noted.text, noted.data) == ("requested", "asked", {"someKey": [1, None, "x"]})

    def test_a_runner_is_found_by_id_by_its_beginning_and_by_name(self, ledger: RunnerLedger) -> None:
        runner = ledger.add(new_runner(), event())
        for text in (runner.id, runner.id[:10], runner.name):
            assert ledger.get(text) == runner
        for text in ("no-such-runner", "f" * 32, "abc", "", "..", "-", "a/b", "%", "_" * 40):
            with pytest.raises(NotFound):
                ledger.get(text)

    def test_of_several_of_one_name_the_living_one_is_meant_then_the_newest(self, ledger: RunnerLedger) -> None:
        name = f"n{secrets.token_hex(6)}"
        first = ledger.add(new_runner(name, created=time.time() - 100), event())
        with pytest.raises(AlreadyExists, match=name):
            ledger.add(new_runner(name), event())
        ledger.save(replace(first, state=RunnerState.GONE, ended=time.time()), event("gone"))
        second = ledger.add(new_runner(name, created=time.time() - 50), event())
        assert ledger.get(name).id == second.id
        ledger.save(replace(second, state=RunnerState.GONE, ended=time.time()), event("gone"))
        assert ledger.get(name).id == second.id
        with pytest.raises(AlreadyExists):
            ledger.add(replace(new_runner(f"{name}-x"), id=first.id), event())

    @pytest.mark.parametrize("changes", [{"name": "UPPER"}, {"name": "a" * 49}, {"created": float("nan")}, {"id": "short"}])
    def test_what_no_cloud_or_clock_takes_is_refused(self, ledger: RunnerLedger, changes: dict[str, Any]) -> None:
        changes = dict(changes)
        wrong = replace(new_runner(changes.pop("name", "")), **changes)
        with pytest.raises(InvalidInput):
            ledger.add(wrong, event())

    def test_a_change_is_written_with_its_events_or_not_at_all(self, ledger: RunnerLedger) -> None:
        runner = ledger.add(new_runner(), event())
        machine = Resource(kind="machine", id="i-1", region="eu-west-1", tags={"mlops-nb-runner": runner.id}, created=1.5, state="pending")
        offer = Offer(cloud="aws", type="g5.xlarge", region="eu-west-1", zone="eu-west-1a", spot=True, hourly=0.4, gpus=1)
        changed = replace(runner, state=RunnerState.CREATING, offer=offer, resources=[machine])
        kept = ledger.save(changed, event("creating"), event("resource"))
        assert (kept.revision, kept.offer, list(kept.resources)) == (runner.revision + 1, offer, [machine])
        with pytest.raises(Conflict):
            ledger.save(replace(runner, state=RunnerState.DESTROYING), event("destroying"))
        with pytest.raises(IllegalTransition, match="creating"):
            ledger.save(replace(kept, state=RunnerState.REQUESTED), event("back"))
        with pytest.raises(InvalidInput):
            ledger.save(replace(kept, installation="2" * 32), event("stolen"))
        with pytest.raises(NotFound):
            ledger.save(new_runner(), event())
        assert [one.kind for one in ledger.events(runner.id)] == ["requested", "creating", "resource"]
        assert ledger.get(runner.id) == kept

    def test_of_two_who_change_a_runner_at_once_one_has_to_read_again(self, ledger: RunnerLedger) -> None:
        runner = ledger.add(new_runner(), event())
        calls = [lambda n=n: ledger.save(replace(runner, reason=f"by {n}"), event(str(n))) for n in range(6)]  # type: ignore[misc]
        answers = at_once(*calls)
        assert sum(isinstance(one, Runner) for one in answers) == 1
        assert sum(isinstance(one, Conflict) for one in answers) == 5
        assert len(ledger.events(runner.id)) == 2

    def test_the_list_has_what_lives_and_what_ended_lately(self, ledger: RunnerLedger) -> None:
        living, lately, long_ago = (ledger.add(new_runner(created=time.time() - n), event()) for n in (1, 2, 3))
        lately = ledger.save(replace(lately, state=RunnerState.GONE, ended=time.time() - 80_000))
        long_ago = ledger.save(replace(long_ago, state=RunnerState.GONE, ended=time.time() - 90_000))
        mine = {living.id, lately.id, long_ago.id}

        def shown(**query: Any) -> list[str]:
            return [one.id for one in ledger.list(**query) if one.id in mine]

        assert shown() == [living.id, lately.id]
        assert shown(states=[RunnerState.GONE]) == [lately.id, long_ago.id]
        assert shown(states=list(RunnerState)) == [living.id, lately.id, long_ago.id]
        assert shown(states=[]) == []
        assert len(ledger.list(max_results=1)) == 1

    def test_whoever_follows_sees_that_something_has_changed(self, ledger: RunnerLedger) -> None:
        before = ledger.changes()
        runner = ledger.add(new_runner(), event())
        between = ledger.changes()
        ledger.save(replace(runner, reason="x"))
        assert before < between < ledger.changes()

    def test_the_installation_keeps_its_id_and_the_environment_wins(self, ledger: RunnerLedger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MLOPS_NB_INSTALLATION", raising=False)
        kept = ledger.installation()
        assert kept == ledger.installation() and len(kept) == 32
        monkeypatch.setenv("MLOPS_NB_INSTALLATION", "ci-repository-1")
        assert ledger.installation() == "ci-repository-1"
        monkeypatch.setenv("MLOPS_NB_INSTALLATION", "Not A Label")
        with pytest.raises(InvalidInput, match="MLOPS_NB_INSTALLATION"):
            ledger.installation()
        monkeypatch.delenv("MLOPS_NB_INSTALLATION")
        assert ledger.installation() == kept

    def test_one_at_a_time_holds_what_only_one_shall_do(self, ledger: RunnerLedger) -> None:
        name = secrets.token_hex(8)
        assert ledger.hold(name, "a", 60) and ledger.hold(name, "a", 60)
        assert not ledger.hold(name, "b", 60)
        ledger.hold(name, "a", 0)
        assert ledger.hold(name, "b", 0.05)
        deadline = time.monotonic() + 5
        while not ledger.hold(name, "c", 60):
            assert time.monotonic() < deadline
        answers = at_once(*(lambda n=n: ledger.hold(f"{name}2", str(n), 60) for n in range(5)))  # type: ignore[misc]
        assert sorted(answers) == [False] * 4 + [True]

    # -- machines

    def test_a_ticket_is_exchanged_once(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        secret = b"\x00\xffjit configuration" * 100
        ticket = ledger.issue_ticket(runner.id, secret)
        answers = at_once(*[lambda: ledger.redeem(ticket)] * 4)
        [(redeemed, token, got)] = [one for one in answers if isinstance(one, tuple)]
        assert sum(isinstance(one, PermissionDenied) for one in answers) == 3
        assert (redeemed.id, got) == (runner.id, secret)
        assert ledger.agent(token).id == runner.id
        assert [one.kind for one in ledger.events(runner.id)].count("ticket refused") == 3
        for wrong in ("", "x", ticket + "x", token):
            with pytest.raises(PermissionDenied):
                ledger.redeem(wrong)
        for wrong in ("", "mnba_", token + "x", ticket):
            with pytest.raises(PermissionDenied):
                ledger.agent(wrong)

    def test_a_ticket_ends_with_time_with_a_new_one_and_with_its_runner(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        old = ledger.issue_ticket(runner.id, b"1")
        late = ledger.issue_ticket(runner.id, b"2", seconds=0)
        for ticket in (old, late):
            with pytest.raises(PermissionDenied):
                ledger.redeem(ticket)
        ticket = ledger.issue_ticket(runner.id, b"3")
        ledger.save(replace(ledger.get(runner.id), state=RunnerState.DESTROYING))
        with pytest.raises(PermissionDenied):
            ledger.redeem(ticket)
        with pytest.raises(IllegalTransition):
            ledger.issue_ticket(runner.id, b"4")

    def test_an_agents_token_is_void_when_its_runner_is_gone(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        _, token, _ = ledger.redeem(ledger.issue_ticket(runner.id, b""))
        ledger.save(replace(ledger.get(runner.id), state=RunnerState.DESTROYING))
        assert ledger.agent(token).state is RunnerState.DESTROYING
        ledger.save(replace(ledger.get(runner.id), state=RunnerState.GONE, ended=time.time()))
        with pytest.raises(PermissionDenied):
            ledger.agent(token)

    def test_signs_of_life_renew_the_lease_and_tell_what_the_machine_does(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        orders = ledger.heartbeat(runner.id, Heartbeat(state="booting"))
        assert (orders.drain, orders.leave, orders.lease, orders.idle) == (False, False, LEASE_SECONDS, 300.0)
        assert 3590 < orders.hard_stop <= 3600
        seen = ledger.get(runner.id)
        assert seen.state is RunnerState.BOOTING and seen.ready is None and seen.last_seen is not None
        assert seen.lease_expires == pytest.approx(time.time() + LEASE_SECONDS, abs=10)
        ledger.heartbeat(runner.id, Heartbeat(state="idle", idle=30))
        seen = ledger.get(runner.id)
        assert seen.state is RunnerState.IDLE and seen.ready is not None
        assert seen.idle_since == pytest.approx(time.time() - 30, abs=10)
        orders = ledger.heartbeat(runner.id, Heartbeat(state="busy", job="train <b>", jobs=1))
        assert orders.lease == BUSY_LEASE_SECONDS, "a job is not lost because a laptop sleeps for a while"
        seen = ledger.get(runner.id)
        assert (seen.state, seen.job, seen.jobs, seen.idle_since) == (RunnerState.BUSY, "train <b>", 1, None)
        assert [one.kind for one in ledger.events(runner.id)][-2:] == ["idle", "busy"]

    def test_a_runner_that_counted_as_lost_comes_back_by_a_sign_of_life(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        ledger.heartbeat(runner.id, Heartbeat(state="idle"))
        ledger.save(replace(ledger.get(runner.id), state=RunnerState.LOST))
        ledger.heartbeat(runner.id, Heartbeat(state="busy", job="j"))
        assert ledger.get(runner.id).state is RunnerState.BUSY

    def test_a_runner_that_drains_does_not_forget_it_while_it_is_lost(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        ledger.heartbeat(runner.id, Heartbeat(state="busy", job="train"))
        ledger.save(replace(ledger.get(runner.id), state=RunnerState.DRAINING))
        lost = ledger.save(replace(ledger.get(runner.id), state=RunnerState.LOST))
        ledger.add_job(new_job(runner))
        assert ledger.claim_job(runner.id) is None
        with pytest.raises(IllegalTransition, match="drains"):
            ledger.save(replace(lost, state=RunnerState.IDLE))
        for state in ("busy", "idle", "booting"):
            assert ledger.heartbeat(runner.id, Heartbeat(state=state)).drain
            assert ledger.get(runner.id).state is RunnerState.DRAINING
            assert ledger.claim_job(runner.id) is None
            ledger.save(replace(ledger.get(runner.id), state=RunnerState.LOST))

    def test_what_was_decided_is_told_with_the_answer(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        ledger.heartbeat(runner.id, Heartbeat(state="busy", job="j"))
        now = ledger.get(runner.id)
        guards = replace(now.request.guards, idle=900.0)
        ledger.save(replace(now, state=RunnerState.DRAINING, request=replace(now.request, guards=guards), hard_stop=now.hard_stop + 600))
        orders = ledger.heartbeat(runner.id, Heartbeat(state="busy", job="j"))
        assert orders.drain and not orders.leave and orders.idle == 900.0 and orders.hard_stop > 4000
        assert ledger.get(runner.id).state is RunnerState.DRAINING, "its agent does not undo that"
        ledger.save(replace(ledger.get(runner.id), state=RunnerState.DESTROYING))
        assert ledger.heartbeat(runner.id, Heartbeat(state="busy")).leave

    def test_no_lease_is_longer_than_the_hard_stop(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger, hard_stop=time.time() + 50)
        orders = ledger.heartbeat(runner.id, Heartbeat(state="idle"))
        assert 0 < orders.lease <= 50 and 0 < orders.hard_stop <= 50
        assert 0 < ledger.heartbeat(runner.id, Heartbeat(state="busy")).lease <= 50
        ledger.save(replace(ledger.get(runner.id), hard_stop=time.time() - 1))
        orders = ledger.heartbeat(runner.id, Heartbeat(state="busy"))
        assert (orders.lease, orders.hard_stop, orders.leave) == (0.0, 0.0, True)

    def test_a_notice_of_the_cloud_and_a_farewell_are_noted_once(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        for _ in range(3):
            ledger.heartbeat(runner.id, Heartbeat(state="busy", job="j", notice="spot: terminate at 12:00"))
        assert ledger.get(runner.id).interrupted is not None
        for _ in range(2):
            orders = ledger.heartbeat(runner.id, Heartbeat(state="idle", leaving="idle for 5 min"))
        seen = ledger.get(runner.id)
        assert orders.drain and seen.reason == "idle for 5 min"
        ending = (RunnerState.DESTROYING, RunnerState.GONE)  # a server that hosts runners goes on at once
        assert seen.state is RunnerState.DRAINING or seen.state in ending
        kinds = [one.kind for one in ledger.events(runner.id)]
        assert (kinds.count("interrupted"), kinds.count("leaving")) == (1, 1)

    def test_the_log_has_each_byte_once_whatever_is_sent_again(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        assert ledger.append_log(runner.id, 0, "") == 0
        assert ledger.append_log(runner.id, 0, "grüße\n") == 8
        assert ledger.append_log(runner.id, 0, "grüße\n") == 8
        assert ledger.append_log(runner.id, 8, "zwei\n") == 13
        assert ledger.append_log(runner.id, 8, "zwei\ndrei\n") == 18
        assert ledger.append_log(runner.id, 99, "") == 18
        page = ledger.log(runner.id)
        assert (page.text, page.start, page.end) == ("grüße\nzwei\ndrei\n", 0, 18)
        assert ledger.log(runner.id, after=18).text == ""
        assert ledger.log(runner.id, after=-5).text == "drei\n"
        with pytest.raises(NotFound):
            ledger.append_log("f" * 32, 0, "x")

    def test_pages_of_a_log_never_cut_a_character(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        text = "aé€😀\n" * 40
        assert ledger.append_log(runner.id, 0, text) == len(text.encode())
        read, at = "", 0
        while page := ledger.log(runner.id, after=at, max_bytes=17):
            if not page.text:
                break
            assert page.start == at and page.end == at + len(page.text.encode()) <= at + 17
            read, at = read + page.text, page.end
        assert read == text
        assert ledger.log(runner.id, after=2).text.startswith("€"), "who asks for the middle of a character gets the next"

    def test_of_a_long_log_the_end_is_kept(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        piece, at = "x" * 1023 + "\n", 0
        for _ in range(6):
            at = ledger.append_log(runner.id, at, piece * 1024)
        page = ledger.log(runner.id, max_bytes=100)
        assert at == 6 << 20 and at - MAX_LOG - (1 << 20) <= page.start <= at - MAX_LOG and page.start > 0

    def test_a_machine_may_write_runs_of_its_jobs_and_those_it_began(self, ledger: RunnerLedger) -> None:
        mine, other = self.ready(ledger), self.ready(ledger)
        job = ledger.add_job(new_job(mine))
        ledger.add_run(mine.id, "begun")
        ledger.add_run(mine.id, "begun")
        assert ledger.may_write(mine.id, job.run_id) and ledger.may_write(mine.id, "begun")
        assert not ledger.may_write(other.id, job.run_id) and not ledger.may_write(other.id, "begun")
        ledger.save_job(replace(job, runner_id=other.id))
        assert not ledger.may_write(mine.id, job.run_id), "the job has moved on"

    # -- jobs

    def test_a_job_is_kept_and_found(self, ledger: RunnerLedger) -> None:
        runner, name = self.ready(ledger), secrets.token_hex(8) + " train"
        first = ledger.add_job(new_job(runner, name=name, parameters={"lr": 0.1, "maxSteps": [1, None]}, cells=(2, 5), returns=["model"]))
        second = ledger.add_job(new_job(runner, name=name))
        assert first.parameters == {"lr": 0.1, "maxSteps": [1, None]} and first.cells == (2, 5)
        assert ledger.job(first.id) == ledger.job(first.id[:12]) == first
        assert ledger.job(name) == second
        assert list(ledger.jobs(runner_id=runner.id)) == [second, first]
        assert list(ledger.jobs(runner_id=runner.id, max_results=1)) == [second]
        assert list(ledger.jobs(runner_id=runner.id, states=[JobState.DONE])) == []
        with pytest.raises(AlreadyExists):
            ledger.add_job(first)
        with pytest.raises(NotFound):
            ledger.job("no such job")
        with pytest.raises(NotFound):
            ledger.add_job(new_job(new_runner()))

    def test_a_waiting_job_goes_to_exactly_one_of_many_who_ask(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        jobs = [ledger.add_job(new_job(runner)) for _ in range(2)]
        answers = at_once(*[lambda: ledger.claim_job(runner.id)] * 5)
        taken = [one for one in answers if one is not None]
        assert {one.id for one in taken} == {one.id for one in jobs}
        assert len(taken) == 2 and all((one.state, one.attempts) == (JobState.RUNNING, 1) for one in taken)

    def test_who_asks_again_in_the_same_words_gets_the_same_job(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        first, second = (ledger.add_job(new_job(runner)) for _ in range(2))
        claimed = ledger.claim_job(runner.id, claim="a")
        assert claimed is not None and claimed.id == first.id
        assert ledger.claim_job(runner.id, claim="a") == claimed
        ledger.save_job(replace(claimed, state=JobState.DONE))
        other = ledger.claim_job(runner.id, claim="b")
        assert other is not None and other.id == second.id

    def test_a_job_that_was_interrupted_is_begun_once_more_and_not_again(self, ledger: RunnerLedger) -> None:
        first, second = self.ready(ledger), self.ready(ledger)
        ledger.add_job(new_job(first))
        for runner, attempts in ((first, 1), (second, 2)):
            taken = ledger.claim_job(runner.id)
            assert taken is not None and (taken.attempts, taken.runner_id) == (attempts, runner.id)
            ledger.save_job(replace(taken, state=JobState.INTERRUPTED, runner_id=second.id))
        assert ledger.claim_job(second.id) is None

    def test_a_job_of_nobody_goes_to_any_runner_for_notebooks(self, ledger: RunnerLedger) -> None:
        for_ci = self.ready(ledger, request={"agent": AgentWish(kind="github", repository="https://github.com/o/r")})
        job = ledger.add_job(new_job(None))
        assert ledger.claim_job(for_ci.id) is None
        runner, taken = self.ready(ledger), None
        while taken is None or taken.id != job.id:
            taken = ledger.claim_job(runner.id)
            assert taken is not None
        assert ledger.job(job.id).runner_id == runner.id

    def test_who_is_leaving_or_interrupted_gets_no_job_and_a_cancelled_one_nobody(self, ledger: RunnerLedger) -> None:
        draining, interrupted, runner = (self.ready(ledger) for _ in range(3))
        ledger.save(replace(draining, state=RunnerState.DRAINING))
        ledger.heartbeat(interrupted.id, Heartbeat(state="idle", notice="taken back"))
        for one in (draining, interrupted):
            ledger.add_job(new_job(one))
            assert ledger.claim_job(one.id) is None
        ledger.add_job(new_job(runner, cancel=True))
        assert ledger.claim_job(runner.id) is None

    def test_a_job_that_is_over_stays_so_and_who_is_late_reads_again(self, ledger: RunnerLedger) -> None:
        runner = self.ready(ledger)
        job = ledger.add_job(new_job(runner))
        kept = ledger.save_job(replace(job, state=JobState.FAILED, reason="ValueError: x"))
        assert kept.revision == job.revision + 1
        with pytest.raises(Conflict):
            ledger.save_job(replace(job, cell=3))
        with pytest.raises(IllegalTransition):
            ledger.save_job(replace(kept, state=JobState.RUNNING))
        with pytest.raises(InvalidInput):
            ledger.save_job(replace(kept, digest="1" * 64))
        with pytest.raises(NotFound):
            ledger.save_job(new_job(runner))
