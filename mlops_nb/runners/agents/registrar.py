"""Registrations at one place of a forge: made for runners, found by our marks, removed, and asked for jobs that were cut off.

Whoever has the forge's token uses it through this: the launcher, the server that hosts runners, the reaper. Machines never do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from mlops_nb.clouds.base import Found, Note
from mlops_nb.core.runners import TAG_EXPIRES, TAG_INSTALLATION, TAG_NAME, TAG_RUNNER, Resource, Runner
from mlops_nb.errors import AlreadyExists, InvalidInput, NotSupported
from mlops_nb.forges.runners import (
    ForgeAgent,
    ForgeJob,
    Place,
    Registration,
    Rerun,
    RunnerForge,
    connect_runners,
    place_of,
    without_marks,
    word_of,
)
from mlops_nb.forges.tokens import find_token
from mlops_nb.runners.agents import binaries
from mlops_nb.runners.agents.enrolment import Binary, Enrolment

POLL_SECONDS = 3.0


class ForgeRegistrar:
    """The registrations of one place. See `runners.base.Registrar` for the contract of `find` and `destroy`.

    Args:
        forge: The place, with a token.
        environment: For the settings of the agents' programs.
        cache: Folder of what was learnt about programs; None: that of the user.
    """

    def __init__(self, forge: RunnerForge, environment: Mapping[str, str], *, cache: Path | None = None) -> None:
        self.forge = forge
        self._environment = environment
        self._cache = cache or Path.home() / ".cache" / "mlops-nb"

    @property
    def place(self) -> Place:
        return self.forge.place

    # -- what a reaper does

    def find(self, installation: str) -> Found:
        """Return all registrations that carry the installation's mark."""
        return Found(resources=[self._resource(one, installation) for one in self.forge.agents(installation=installation)])

    def destroy(self, resources: Sequence[Resource], installation: str) -> Sequence[Resource]:
        """Remove these, whatever they do, and return those that are still there.

        GitHub keeps a runner that it believes at work: until it notices, some minutes after the machine has gone.
        """
        return [resource for resource in resources if not self._removed(resource, installation)]

    def _removed(self, resource: Resource, installation: str) -> bool:
        if resource.id:
            found = [one for one in [self.forge.agent(resource.id)] if one is not None]
        else:  # it was noted, and its answer never came
            found = self.forge.agents(installation=installation)
            found = [one for one in found if one.tags.get(TAG_RUNNER) == word_of(resource.runner_id)]
        ours = [one for one in found if one.tags.get(TAG_INSTALLATION) == word_of(installation)]
        removed = [self.forge.remove(one.id, force=True) for one in ours]  # each, also where the first one stays
        return all(removed)

    def _resource(self, one: ForgeAgent, installation: str) -> Resource:
        state = "busy" if one.busy else "online" if one.online else "offline"
        tags = {**one.tags, TAG_INSTALLATION: installation, TAG_NAME: one.name}
        return Resource(kind="registration", id=one.id, region=self.place.url, tags=tags, state=state)

    # -- what a launcher does

    def reusable(self, name: str, labels: Sequence[str], *, reuse: bool = False, reuse_idle: bool = False) -> ForgeAgent | None:
        """Return a runner that is there already and makes a launch needless, as CML's `--reuse` and `--reuse-idle` say; else None.

        `reuse`: one of this name, or any online one with all labels. `reuse_idle`: an online one with all labels and no job.

        Raises:
            NotSupported: If `reuse_idle` is asked of a forge that does not say who is idle.
        """
        if reuse and (named := self.forge.agents(name=name)):
            return named[0]
        if not (reuse or reuse_idle):
            return None
        able = [one for one in self.forge.agents(labels=labels) if one.online]
        if reuse:
            return next(iter(able), None)
        if any(one.busy is None for one in able):
            raise NotSupported(
                f"{self.place.kind.title()} does not say whether a runner has work.", hint="Use --reuse instead of --reuse-idle."
            )
        return next((one for one in able if not one.busy), None)

    def check_name(self, name: str) -> None:
        """Check that no runner of the place has this name.

        Raises:
            AlreadyExists: If one has.
        """
        if taken := self.forge.agents(name=name):
            state = "online" if taken[0].online else "offline"
            labels = ", ".join(without_marks(taken[0].labels))
            raise AlreadyExists(
                f"{self.place.path} has a runner called {name} already ({state}, labels {labels}).",
                hint="Choose another by --name, or take that one by --reuse.",
            )

    def enrol(self, runner: Runner, note: Note, *, again: bool = False) -> bytes:
        """Register the agent of a runner and return what it starts with, encoded.

        `note` gets the registration before it is made, and again with its id.

        Args:
            again: It is for the next job of a runner that was registered before; what is left of its old registrations goes.

        Raises:
            AlreadyExists: If another runner has its name.
        """
        if again:
            self.unregister(runner)
        tags = {TAG_INSTALLATION: runner.installation, TAG_RUNNER: runner.id, TAG_EXPIRES: str(int(runner.hard_stop))}
        name = self._name(runner) if again else runner.name
        if not again:
            self.check_name(name)
        possible = Resource(kind="registration", id="", region=self.place.url, tags={**tags, TAG_NAME: name})
        note(possible)
        made = self.forge.register(name, self._labels(runner), tags, single=runner.request.agent.single)
        note(Resource(kind="registration", id=made.id, region=self.place.url, tags=possible.tags))
        return self._enrolment(runner, made).encode()

    def _name(self, runner: Runner) -> str:
        """Return a name for the next registration: GitHub may keep the last one's for some time."""
        return f"{runner.name[:52]}-{format(time.time_ns() // 1_000_000 & 0xFFFFFFFF, '08x')}"

    def _labels(self, runner: Runner) -> list[str]:
        labels = list(runner.request.agent.labels)
        if self.place.kind == "github":  # a just-in-time configuration adds none by itself
            labels = ["self-hosted", "linux", *labels]
        if self.place.kind == "bitbucket":
            labels = ["linux", *labels]
        return list(dict.fromkeys(labels))

    def _enrolment(self, runner: Runner, made: Registration) -> Enrolment:
        wish = runner.request.agent
        return Enrolment(
            kind=self.place.kind,
            server_url=self.place.server_url,
            place=self.place.url,
            id=made.id,
            name=made.name,
            secret=made.secret.reveal(),
            reusable=made.reusable,
            facts=made.facts,
            single=wish.single,
            executor=wish.executor,
            docker_image=wish.docker_image,
            docker_volumes=wish.docker_volumes,
            binaries=self._binaries(),
            image=self._environment.get(binaries.ENV_BITBUCKET, "") or binaries.BITBUCKET_IMAGE,
        )

    def _binaries(self) -> Mapping[str, Binary]:
        if self.place.kind == "gitlab":
            if self._environment.get(binaries.ENV_PROGRAM):
                return {}
            return binaries.gitlab_binaries(self._environment, self._cache / "gitlab-runner.json")
        asked = getattr(self.forge, "binary", None)
        if self.place.kind != "github" or asked is None:
            return {}
        found = {key: said for key in ("x64", "arm64") if (said := asked(key)) is not None}
        return {key: Binary(version=name, url=url, sha256=digest.lower()) for key, (name, url, digest) in found.items()} or binaries.GITHUB

    # -- what the keeper of a machine does for it

    def unregister(self, runner: Runner) -> bool:
        """Remove a runner's registrations; False while the forge says that one of them has a job."""
        found = self.forge.agents(installation=runner.installation)
        removed = [self.forge.remove(one.id) for one in found if one.tags.get(TAG_RUNNER) == word_of(runner.id)]
        return all(removed)

    def interrupted(
        self, runner: Runner, hint: ForgeJob | None, *, seconds: float = 0.0, sleep: Callable[[float], None] = time.sleep
    ) -> Rerun:
        """Have the job that a runner was cut off at done again, once; wait so many seconds at most until the forge takes it.

        `waiting`: ask again later with the same job. Nothing that still runs is ended for it.
        """
        if not runner.request.agent.retry:
            return Rerun(state="refused", reason="The runner was launched with --no-retry.")
        job = self._job(runner, hint)
        if job is None:
            return Rerun(state="refused", reason="The forge knows of no job that this runner was at.")
        deadline = time.monotonic() + seconds
        while True:
            done = self.forge.again(job)
            left = deadline - time.monotonic()
            if done.state != "waiting" or left <= 0:
                return replace(done, job=job)
            sleep(min(POLL_SECONDS, left))

    def again(self, job: ForgeJob) -> Rerun:
        """Ask again for a job that the forge could not begin yet."""
        return replace(self.forge.again(job), job=job)

    def _job(self, runner: Runner, hint: ForgeJob | None) -> ForgeJob | None:
        """Return the job by the registrations that we have noted: the machine's word alone opens nothing."""
        noted = [one for one in runner.resources if one.kind == "registration" and one.id and one.region == self.place.url]
        known = {one.id: one.tags.get(TAG_NAME, runner.name) for one in noted}
        if runner.registration:
            known.setdefault(runner.registration, runner.name)
        for id, name in reversed(known.items()):
            job = self.forge.job_of(ForgeAgent(id=id, name=name), hint)
            if job is not None:
                return job
        return None


def registrar_of(
    url: str, environment: Mapping[str, str] | None = None, *, driver: str | None = None, token: str | None = None
) -> ForgeRegistrar:
    """Return the registrations of the place that a URL names, asked for with the token of the environment.

    Raises:
        InvalidInput: If the URL names no place.
        NotAuthenticated: If there is no token for it.
    """
    environment = os.environ if environment is None else environment
    place = place_of(url, environment, Path.cwd(), driver=driver)
    return ForgeRegistrar(connect_runners(place, find_token(place.kind, environment, token)), environment)


def check_reuse(*, single: bool, reuse: bool, reuse_idle: bool) -> None:
    """Check that options go together, as CML's do.

    Raises:
        InvalidInput: If they contradict each other.
    """
    if single and (reuse or reuse_idle):
        raise InvalidInput("--single makes a runner for one job, and --reuse takes one that is there.", hint="Give one of both.")
    if reuse and reuse_idle:
        raise InvalidInput("--reuse and --reuse-idle are two ways to take a runner that is there.", hint="Give one of both.")
