"""GitHub's agent (actions/runner) as the work of a machine, by just-in-time configurations: one job each.

Whether it has a job is told by its own hooks (`ACTIONS_RUNNER_HOOK_JOB_STARTED`, `…_COMPLETED`) and by its worker process, which is
there from the moment that a job was assigned; no line that it prints is interpreted. The configuration goes to it in a variable
that it takes out of its environment (`ACTIONS_RUNNER_INPUT_JITCONFIG`), not on its command line.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from mlops_nb.errors import InvalidInput, MlopsError
from mlops_nb.forges.runners import ForgeJob
from mlops_nb.runners.agents import binaries
from mlops_nb.runners.agents.enrolment import Enrolment
from mlops_nb.runners.agents.forge_work import ForgeWork, Look, Session
from mlops_nb.runners.agents.processes import AgentProcess, below, clean_environment, give, name_of

_WORKER = "Runner.Worker"
_FACTS = ("GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_REPOSITORY", "GITHUB_JOB", "GITHUB_WORKFLOW")
_HOOK = """#!/bin/sh
# Says to the machine's agent that a job has {event}; a file appears whole or not at all.
umask 022
{{
{lines}
}} | tr -d '\\r' > '{path}.new' && mv '{path}.new' '{path}'
exit 0
"""


class GitHubWork(ForgeWork):
    """GitHub's agent; see `ForgeWork`."""

    _program: Path

    def prepare(self) -> None:
        there = self.environment.get(binaries.ENV_PROGRAM)
        if there:
            self._program = Path(there)
            if not (self._program / "run.sh").is_file():
                raise InvalidInput(f"{there} holds no agent of GitHub.", hint=f"{binaries.ENV_PROGRAM} is the folder with its run.sh.")
            return
        known = self.enrolment.binaries or binaries.GITHUB
        architecture = binaries.architecture()
        if architecture not in known:
            raise InvalidInput(f"There is no agent for {architecture} at {self.enrolment.server_url}.", hint="Use another machine type.")
        self._program = binaries.install(known[architecture], _cache(self.folder), self.tell)

    def open(self, registration: Enrolment, folder: Path) -> AgentProcess:
        agent, state, hooks = folder / "agent", folder / "state", folder / "hooks"
        binaries.own_copy(self._program, agent)
        state.mkdir()
        hooks.mkdir()
        environment = clean_environment(self.environment, self.user)
        for event, name in (("started", "STARTED"), ("completed", "COMPLETED")):
            environment[f"ACTIONS_RUNNER_HOOK_JOB_{name}"] = str(_hook(hooks, state, event))
        give(agent, self.user)
        give(state, self.user)
        environment |= {"ACTIONS_RUNNER_INPUT_JITCONFIG": registration.secret, "RUNNER_MANUALLY_TRAP_SIG": "1"}
        if not self.user and os.geteuid() == 0:
            environment["RUNNER_ALLOW_RUNASROOT"] = "1"
        command = [str(agent / "run.sh")]
        return AgentProcess(command, agent, environment, user=self.user, output=self.tell, hidden=registration.secret)

    def look(self, session: Session) -> Look:
        started = _facts(session.folder / "state" / "started")
        completed = (session.folder / "state" / "completed").exists()
        works = session.process.is_alive and any(name_of(pid) == _WORKER for pid in below(session.process.pid))
        begun = int(works or bool(started))
        return Look(busy=works or (bool(started) and not completed and session.process.is_alive), job=_job(started), begun=begun)

    def no_more(self, session: Session) -> None:
        """Remove the runner at GitHub, which refuses that while it has a job; then, and only then, end the agent."""
        if self.keeper is not None:
            try:
                with self._asking:
                    removed = self.keeper.unregister()
            except MlopsError as error:
                self.tell(f"GitHub could not be asked to send no more jobs: {error.message}")
                removed = not self.look(session).busy
        else:
            removed = not self.look(session).busy
        if removed:
            session.process.end(10.0)
        # Else it has its one job, and ends by itself after it.

    def cancel(self, session: Session) -> None:
        session.process.send(signal.SIGINT)


def _cache(folder: Path) -> Path:
    return folder.parent / "programs"


def _hook(folder: Path, state: Path, event: str) -> Path:
    lines = "\n".join(f"printf '%s\\n' \"{name}=${{{name}-}}\"" for name in _FACTS)
    path = folder / f"{event}.sh"
    path.write_text(_HOOK.format(event=event, lines=lines, path=state / event), encoding="utf-8")
    path.chmod(0o755)
    return path


def _facts(path: Path) -> dict[str, str]:
    """Return what a hook has written; a job may have written it as well, so that nothing here is more than a hint."""
    try:
        text = path.read_bytes()[:16_384].decode("utf-8", "replace")
    except OSError:
        return {}
    found: dict[str, str] = {"": ""}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name in _FACTS:
            found.setdefault(name, value[:500])
    return found


def _job(facts: dict[str, str]) -> ForgeJob | None:
    run, attempt = facts.get("GITHUB_RUN_ID", ""), facts.get("GITHUB_RUN_ATTEMPT", "1")
    if not re.fullmatch(r"[0-9]{1,20}", run):
        return None
    name = ": ".join(part for part in (facts.get("GITHUB_WORKFLOW", ""), facts.get("GITHUB_JOB", "")) if part)
    number = int(attempt) if re.fullmatch(r"[0-9]{1,4}", attempt) else 1
    return ForgeJob(id="", run=run, name=f"{name} (run {run})", repository=facts.get("GITHUB_REPOSITORY", ""), attempt=number)
