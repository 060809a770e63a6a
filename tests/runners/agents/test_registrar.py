"""Registrations are made with their marks, found again, and removed; nobody else's is touched, and runners are taken over as CML does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_nb.core.runners import TAG_INSTALLATION, TAG_RUNNER, AgentWish, Resource, Runner, RunnerRequest
from mlops_nb.errors import AlreadyExists, InvalidInput, NotSupported
from mlops_nb.forges.base import ForgeError, NotAuthenticated
from mlops_nb.runners.agents import binaries
from mlops_nb.runners.agents.enrolment import Enrolment
from mlops_nb.runners.agents.registrar import ForgeRegistrar, check_reuse, registrar_of
from tests.forges.runner_worlds import RUNNERS_WORLDS, RunnersWorld

MINE, OTHER = "1" * 32, "2" * 32
SETTINGS = {binaries.ENV_GITLAB: f"18.5.0 x64={'a' * 64} arm64={'b' * 64}"}


@pytest.fixture(params=RUNNERS_WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunnersWorld]:
    made = RUNNERS_WORLDS[request.param](tmp_path)
    yield made
    made.server.close()


def registrar(world: RunnersWorld, tmp_path: Path) -> ForgeRegistrar:
    return ForgeRegistrar(world.runners(), SETTINGS, cache=tmp_path)


def a_runner(
    world: RunnersWorld, name: str = "gpu-1", *, id: str = "a" * 32, installation: str = MINE, labels: tuple[str, ...] = ("cml",)
) -> Runner:
    wish = AgentWish(kind=world.kind, repository=world.place().url, labels=labels)
    now = time.time()
    request = RunnerRequest(name=name, cloud="local", agent=wish)
    return Runner(id=id, installation=installation, request=request, created=now, updated=now, hard_stop=now + 3600)


def test_a_registration_is_noted_before_it_is_made_and_again_with_its_id(world: RunnersWorld, tmp_path: Path) -> None:
    noted: list[tuple[str, int]] = []

    def note(resource: Resource) -> None:
        assert resource.kind == "registration" and resource.tags[TAG_RUNNER] == "a" * 32
        noted.append((resource.id, len(world.registered())))

    enrolment = Enrolment.decode(registrar(world, tmp_path).enrol(a_runner(world), note))
    assert noted == [("", 0), (enrolment.id, 1)]
    assert (enrolment.kind, enrolment.name, world.registered()) == (world.kind, "gpu-1", {enrolment.id: "gpu-1"})
    assert enrolment.secret and enrolment.secret not in repr(enrolment)
    if world.kind != "bitbucket":
        assert {len(one.sha256) for one in enrolment.binaries.values()} == {64} and set(enrolment.binaries) == {"x64", "arm64"}


def test_where_nothing_can_be_noted_nothing_is_registered(world: RunnersWorld, tmp_path: Path) -> None:
    def note(resource: Resource) -> None:
        raise InvalidInput("the disk is full")

    with pytest.raises(InvalidInput, match="disk"):
        registrar(world, tmp_path).enrol(a_runner(world), note)
    assert world.registered() == {}


def test_a_reaper_finds_what_is_ours_and_touches_nothing_else(world: RunnersWorld, tmp_path: Path) -> None:
    made = registrar(world, tmp_path)
    notes: list[Resource] = []
    made.enrol(a_runner(world), notes.append)
    made.enrol(a_runner(world, "gpu-2", id="b" * 32, installation=OTHER), notes.append)
    world.runners().register("by-hand", world.labels, {})
    found = made.find(MINE)
    assert [(one.runner_id, one.installation, one.region) for one in found.resources] == [("a" * 32, MINE, world.place().url)]
    assert not found.unseen
    theirs = [one for one in notes if one.tags[TAG_INSTALLATION] == OTHER and one.id]
    assert list(made.destroy(theirs, MINE)) == []  # not ours: left alone, and left out
    possible = [one for one in notes if not one.id and one.runner_id == "a" * 32]
    assert list(made.destroy(possible, MINE)) == []  # it was noted only, and its answer might have been lost
    assert sorted(world.registered().values()) == ["by-hand", "gpu-2"]
    assert list(made.destroy(list(found.resources), MINE)) == []


def test_what_the_forge_cannot_show_is_an_error_and_never_nothing(world: RunnersWorld, tmp_path: Path) -> None:
    world.server.fail("GET", "*runners*", 50, "refuse")
    with pytest.raises(ForgeError):
        registrar(world, tmp_path).find(MINE)


def test_a_second_registration_takes_the_place_of_the_first(world: RunnersWorld, tmp_path: Path) -> None:
    made, runner, notes = registrar(world, tmp_path), a_runner(world), list[Resource]()
    first = Enrolment.decode(made.enrol(runner, notes.append))
    second = Enrolment.decode(made.enrol(runner, notes.append, again=True))
    assert list(world.registered()) == [second.id] != [first.id]
    assert made.unregister(runner) and world.registered() == {}


def test_a_taken_name_is_refused_before_anything_is_noted(world: RunnersWorld, tmp_path: Path) -> None:
    world.runners().register("gpu-1", world.labels, {})
    notes: list[Resource] = []
    with pytest.raises(AlreadyExists, match=r"gpu-1 already \(offline.*--reuse"):
        registrar(world, tmp_path).enrol(a_runner(world), notes.append)
    assert notes == []


def test_reuse_takes_one_of_this_name_or_any_online_one_with_all_labels(world: RunnersWorld, tmp_path: Path) -> None:
    made = registrar(world, tmp_path)
    assert made.reusable("gpu-1", ["cml"], reuse=True) is None
    offline = world.runners().register("gpu-2", [*world.labels, "gpu"], {})
    assert made.reusable("gpu-1", ["cml"], reuse=True) is None  # it is not online
    named = made.reusable("gpu-2", ["nothing"], reuse=True)
    assert named is not None and named.id == offline.id
    agent = next(iter(world.server.agents.values()))
    if world.kind == "bitbucket":
        agent.status = "ONLINE"  # type: ignore[union-attr]
    else:
        agent.online = True  # type: ignore[union-attr]
    for labels, expected in ((["cml"], "gpu-2"), (["cml", "gpu"], "gpu-2"), (["cml", "tpu"], None)):
        found = made.reusable("gpu-1", labels, reuse=True)
        assert (found.name if found else None) == expected
    assert made.reusable("gpu-1", ["cml"]) is None
    if world.kind == "bitbucket":
        with pytest.raises(NotSupported, match="--reuse"):
            made.reusable("gpu-1", ["cml"], reuse_idle=True)
        return
    found = made.reusable("gpu-1", ["cml"], reuse_idle=True)
    assert found is not None and found.name == "gpu-2"
    world.take_job("train", offline.id)
    assert made.reusable("gpu-1", ["cml"], reuse_idle=True) is None  # it has a job now
    assert made.reusable("gpu-1", ["cml"], reuse=True) is not None


def test_ways_to_reuse_that_contradict_each_other_are_refused() -> None:
    check_reuse(single=True, reuse=False, reuse_idle=False)
    for single, reuse, idle in ((True, True, False), (True, False, True), (False, True, True)):
        with pytest.raises(InvalidInput):
            check_reuse(single=single, reuse=reuse, reuse_idle=idle)


def test_the_token_of_another_forge_is_never_used() -> None:
    with pytest.raises(NotAuthenticated, match="GITLAB_TOKEN"):
        registrar_of("https://gitlab.com/group/project", {"GITHUB_TOKEN": "ghp_" + "x" * 36})
    made = registrar_of("https://github.com/acme", {"GITHUB_TOKEN": "ghp_" + "x" * 36})
    assert (made.place.level, made.place.kind) == ("organization", "github")


def test_a_runner_of_a_group_is_enrolled_at_the_group(tmp_path: Path) -> None:
    lab = RUNNERS_WORLDS["gitlab"](tmp_path)
    made = ForgeRegistrar(lab.runners(level="group"), SETTINGS, cache=tmp_path)
    enrolment = Enrolment.decode(made.enrol(a_runner(lab), lambda resource: None))
    assert made.place.level == "group" and enrolment.server_url == lab.server.web
    assert [one.type for one in lab.server.agents.values()] == ["group_type"]  # type: ignore[union-attr]
    lab.server.close()
