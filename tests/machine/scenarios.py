"""What happens to machines: each is a story of one machine of `room`, which holds or raises AssertionError."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable

from mlops_nb.core.runners import AgentWish, RunnerState
from tests.machine.room import BUSY_LEASE_SECONDS, CAN_FILTER, LEASE_SECONDS, SECRET, Machine
from tests.machine.worlds import until

ALL: dict[str, Callable[[Machine], None]] = {}
_SPOT = "/latest/meta-data/spot/instance-action"


def scenario(story: Callable[[Machine], None]) -> Callable[[Machine], None]:
    ALL[story.__name__] = story
    return story


@scenario
def the_switch_is_there_first_and_the_agent_gets_its_secret_once(machine: Machine) -> None:
    machine.launch(seconds=7200, script="echo the-users-script >/var/lib/mlops-nb/order\n[ ! -e /var/lib/mlops-nb-work/calls ]\n")
    found = machine.reported()
    assert found.state is RunnerState.IDLE
    started = [line for line in machine.events() if "start" in line]
    assert started == ["systemctl --no-block start mlops-nb-switch.service", "systemctl --no-block start mlops-nb-agent.service"]
    assert (machine.state / "order").read_text() == "the-users-script\n"
    given = (machine.work / "given").read_text()
    assert repr(SECRET) in given and " runner " in given
    assert "\nrunner:" in (machine.root / "etc/passwd").read_text()
    settings = (machine.root / "etc/mlops-nb/agent.json").read_text()
    assert json.loads(settings)["ticket"] == "" and json.loads(settings)["server"] == machine.server.url
    modes = {name: oct((machine.root / name).stat().st_mode)[-3:] for name in ("etc/mlops-nb/agent.json", "run/mlops-nb/lease")}
    assert all(mode in ("600",) for mode in modes.values()), modes
    until(lambda: any(line.startswith("shutdown -P +") for line in machine.events()))
    scheduled = [int(line.rpartition("+")[2]) for line in machine.events() if line.startswith("shutdown -P +")]
    assert 119 <= scheduled[0] <= 121, scheduled
    log = until(lambda: (page := machine.server.ledger.log(found.id)).text.count("Ready") and page.text)
    assert "The agent of" in log and SECRET.decode() not in log
    assert SECRET.decode() not in machine.console()


@scenario
def an_idle_machine_ends_and_says_why(machine: Machine) -> None:
    machine.launch(idle=10)
    found = machine.reported()
    machine.off(30)
    assert machine.calls() == ["start", "drain", "stop"]
    assert machine.server.ledger.get(found.id).reason.startswith("idle for 1")
    assert "its agent has ended (success)" in machine.console()


@scenario
def a_machine_whose_agent_is_killed_ends_at_once(machine: Machine) -> None:
    machine.launch()
    machine.reported()
    (machine.work / "job").write_text("training")
    os.kill(machine.pid("agent"), signal.SIGKILL)
    assert machine.off() < 5
    assert "its agent has ended (exit-code)" in machine.console()


@scenario
def a_machine_whose_agent_hangs_ends_when_its_lease_does(machine: Machine) -> None:
    machine.launch()
    machine.reported()
    os.kill(machine.pid("agent"), signal.SIGSTOP)
    lease = float((machine.root / "run/mlops-nb/lease").read_text())
    machine.off(LEASE_SECONDS + 20)
    assert machine.uptime() >= lease - 1
    assert "its lease ran out" in machine.console()


@scenario
def a_machine_whose_server_is_gone_for_good_saves_its_job_and_ends(machine: Machine) -> None:
    machine.launch()
    found = machine.reported()
    (machine.work / "job").write_text("training")
    until(lambda: machine.server.ledger.get(found.id).state is RunnerState.BUSY)
    machine.server.gone()
    machine.off(BUSY_LEASE_SECONDS + 20)
    assert any(call.startswith("interrupt") and "server has not answered" in call for call in machine.calls()), machine.calls()


@scenario
def a_machine_ends_at_its_hard_stop_whatever_its_lease_says(machine: Machine) -> None:
    machine.launch()
    machine.reported()
    os.kill(machine.pid("agent"), signal.SIGSTOP)
    (machine.root / "run/mlops-nb/lease").write_text("99999999\n")
    (machine.root / "run/mlops-nb/hard_stop").write_text("2\n")
    assert machine.off() < 5
    assert "its time limit is reached" in machine.console()


@scenario
def a_machine_whose_agent_never_reports_ends(machine: Machine) -> None:
    machine.launch(script="sleep 600", first=machine.uptime() + 3)
    assert machine.off() > 1
    assert "its agent did not report" in machine.console()


@scenario
def a_machine_whose_agent_cannot_be_installed_says_at_which_step(machine: Machine) -> None:
    (machine.root / "usr/local/bin/mlops-nb").unlink()
    machine.launch()
    machine.off()
    assert "FAILED at this step: Install mlops-nb" in machine.console()


@scenario
def a_script_of_the_user_that_fails_ends_the_machine_before_it_costs_more(machine: Machine) -> None:
    machine.launch(script="echo it begins\nexit 7\n")
    assert machine.off() < 10
    assert "it ended with exit status 7" in machine.console()
    assert "start-up script" in machine.console()


@scenario
def a_ticket_that_another_machine_has_used_gives_nothing(machine: Machine) -> None:
    machine.launch(ticket="the-ticket-that-was-used-before")
    machine.off()
    assert "ticket is not known" in machine.console()
    assert machine.calls() == []


@scenario
def a_spot_notice_at_the_real_address_reaches_the_job_within_seconds(machine: Machine) -> None:
    machine.launch("aws")
    found = machine.reported()
    (machine.work / "job").write_text("training")
    until(lambda: machine.server.ledger.get(found.id).state is RunnerState.BUSY)
    announced = time.monotonic()
    machine.metadata.put(_SPOT, {"action": "terminate", "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 120))})
    until(lambda: any(call.startswith("interrupt") for call in machine.calls()))
    assert time.monotonic() - announced < 10
    machine.off()
    assert machine.server.ledger.get(found.id).interrupted is not None
    assert "AWS takes this spot machine back" in machine.server.ledger.get(found.id).reason


@scenario
def a_machine_that_restarts_gets_no_new_time_and_does_not_work_on(machine: Machine) -> None:
    machine.launch()
    machine.reported()
    until(lambda: (machine.state / "lived").exists())
    lived = int((machine.state / "lived").read_text())
    machine.restart()
    machine.off()
    assert "Look whether this machine was started anew" in machine.console()
    assert int((machine.root / "run/mlops-nb/before").read_text()) >= lived > 0
    assert machine.calls().count("start") == 1


@scenario
def a_system_that_does_not_go_down_is_ended_the_hard_way(machine: Machine) -> None:
    (machine.root / "poweroff-hangs").touch()
    machine.launch(script="exit 1")
    machine.off()
    assert machine.events()[-1] == "systemctl poweroff --force --force"


@scenario
def a_switch_that_is_killed_is_there_again(machine: Machine) -> None:
    machine.launch()
    machine.reported()
    first = machine.pid("switch")
    os.kill(first, signal.SIGKILL)
    until(lambda: machine.pid("switch") != first)
    (machine.root / "run/mlops-nb/hard_stop").write_text("1\n")
    assert machine.off() < 5


@scenario
def jobs_cannot_ask_the_metadata_service_and_without_a_filter_there_are_none(machine: Machine) -> None:
    machine.wants_filter = True
    machine.launch()
    if not CAN_FILTER:  # and no network to install one from
        machine.off()
        assert "FAILED at this step: Close the machine's metadata" in machine.console()
        assert machine.calls() == []
        return
    machine.reported()
    asked = {user: machine.asks("http://169.254.169.254/latest/", user) for user in ("root", "runner")}
    assert asked == {"root": "404", "runner": "000"}


@scenario
def what_executes_notebooks_gives_up_root_before_it_begins(machine: Machine) -> None:
    machine.launch(agent=AgentWish(kind="notebook"))
    machine.reported()
    status = (machine.root / f"proc/{machine.pid('agent')}/status").read_text()
    uids = {word for line in status.splitlines() if line.startswith("Uid:") for word in line.split()[1:]}
    entry = next(line for line in (machine.root / "etc/passwd").read_text().splitlines() if line.startswith("runner:"))
    assert uids == {entry.split(":")[2]} != {"0"}
    lease = (machine.root / "run/mlops-nb/lease").read_text()
    until(lambda: (machine.root / "run/mlops-nb/lease").read_text() != lease)
    os.kill(machine.pid("agent"), signal.SIGTERM)
    machine.off()
    assert "its agent has ended (success)" in machine.console()
