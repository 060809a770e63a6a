"""Runners are registered, listed, removed, and cut-off jobs done again, at each forge by its contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import githubkit
import gitlab as python_gitlab
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mlops_nb.core.runners import TAG_EXPIRES, TAG_INSTALLATION, TAG_RUNNER
from mlops_nb.errors import InvalidInput
from mlops_nb.forges.base import ForgeConflict, NotAuthenticated, PermissionMissing, RequestRefused
from mlops_nb.forges.runners import ForgeAgent, ForgeJob, connect_runners, marks, place_of, tags_in, word_of
from mlops_nb.forges.tokens import AppKey, Secret
from tests.forges.runner_worlds import RUNNERS_WORLDS, GitHubRunnersWorld, RunnersWorld
from tests.forges.worlds import GOOD, WEAK

TAGS = {TAG_INSTALLATION: "1" * 32, TAG_RUNNER: "2" * 32, TAG_EXPIRES: "1800000000"}
LEVELS = [("github", "organization"), ("github", "enterprise"), ("gitlab", "group"), ("bitbucket", "workspace")]


@pytest.fixture(params=RUNNERS_WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunnersWorld]:
    made = RUNNERS_WORLDS[request.param](tmp_path)
    yield made
    made.server.close()


def test_a_registered_runner_is_found_by_the_marks_that_it_carries_and_is_gone_when_removed(world: RunnersWorld) -> None:
    forge = world.runners()
    made = forge.register("gpu-1", world.labels, TAGS)
    assert made.secret.reveal() and "secret" not in repr(made)
    forge.register("gpu-2", world.labels, {**TAGS, TAG_INSTALLATION: "9" * 32})
    (found,) = world.runners().agents(installation="1" * 32)
    assert (found.id, found.name, found.tags, found.online) == (made.id, "gpu-1", TAGS, False)
    assert set(world.labels) <= set(found.labels)
    assert forge.agent(made.id) == found
    assert forge.remove(made.id) and forge.remove(made.id)
    assert forge.agent(made.id) is None
    assert list(world.registered().values()) == ["gpu-2"]


def test_lists_of_runners_are_read_to_their_end(world: RunnersWorld) -> None:
    forge = world.runners()
    for number in range(103):
        forge.register(f"gpu-{number}", world.labels, TAGS)
    assert len(forge.agents(installation="1" * 32)) == 103
    assert [one.name for one in forge.agents(name="gpu-102")] == ["gpu-102"]
    assert forge.agents(labels=("nobody.has",)) == []


@pytest.mark.parametrize("how", ["lost", "cut"])
def test_a_registration_whose_answer_is_lost_is_made_once_more_and_no_second_one_stays(world: RunnersWorld, how: Any) -> None:
    world.server.fail("POST", world.fail_path, how=how)
    made = world.runners().register("gpu-1", world.labels, TAGS)
    assert world.registered() == {made.id: "gpu-1"}


def test_who_may_not_register_is_told_what_the_token_needs(world: RunnersWorld) -> None:
    with pytest.raises(PermissionMissing) as refused:
        world.runners(WEAK).register("gpu-1", world.labels, TAGS)
    assert any(word in str(refused.value) for word in ("Administration", "create_runner", "runner:write"))
    assert world.registered() == {}
    with pytest.raises(NotAuthenticated, match="no token"):
        connect_runners(world.place(), None)


def test_labels_that_the_forge_does_not_take_are_refused_before_it_is_asked(world: RunnersWorld) -> None:
    for label in ("", "a,b", "line\nbreak", "x" * 300):
        with pytest.raises(RequestRefused, match="can be no"):
            world.runners().register("gpu-1", [label], TAGS)
    assert not world.server.calls("POST", world.fail_path)


@pytest.mark.parametrize(("kind", "level"), LEVELS)
def test_runners_of_organisations_groups_and_workspaces_are_kept_apart_from_those_of_a_repository(
    kind: str, level: str, tmp_path: Path
) -> None:
    world = RUNNERS_WORLDS[kind](tmp_path)
    above = world.runners(level=level)
    made = above.register("gpu-1", world.labels, TAGS)
    assert [one.id for one in above.agents(installation="1" * 32)] == [made.id]
    assert world.runners().agents() == []
    assert above.remove(made.id)
    assert world.registered() == {}
    world.server.close()


def test_a_job_that_was_cut_off_is_done_again_once_and_nothing_that_runs_is_ended(world: RunnersWorld) -> None:
    forge = world.runners()
    made = forge.register("gpu-1", world.labels, TAGS)
    id = world.take_job("train", made.id)
    hint = ForgeJob(id="", run="900" if world.kind == "github" else id, repository=world.repository)
    job = forge.job_of(ForgeAgent(id=made.id, name="gpu-1"), hint)
    assert job is not None and (world.kind == "bitbucket" or (job.id, job.name) == (id, "train"))
    assert forge.again(job).state == "waiting"
    world.lose_job(id)
    first = forge.again(job)
    assert first.state == "started" and first.url.startswith(world.server.origin)
    assert world.times_begun("train") == 2
    again = forge.again(job)
    assert again.state == "refused" and again.reason
    assert world.times_begun("train") == 2


def test_a_lost_answer_to_the_wish_to_do_a_job_again_begins_it_once(world: RunnersWorld) -> None:
    if world.kind == "bitbucket":
        pytest.skip("there a second pipeline cannot be told from one that somebody else began")
    forge = world.runners()
    made = forge.register("gpu-1", world.labels, TAGS)
    id = world.take_job("train", made.id)
    job = forge.job_of(ForgeAgent(id=made.id, name="gpu-1"), ForgeJob(id="", run="900", repository=world.repository))
    assert job is not None
    world.lose_job(id)
    world.server.fail("POST", "*/rerun-failed-jobs" if world.kind == "github" else "*/retry")
    assert forge.again(job).state == "started"
    assert world.times_begun("train") == 2


def test_a_machine_cannot_name_a_job_that_its_runner_never_had(tmp_path: Path) -> None:
    world = GitHubRunnersWorld(tmp_path)
    forge = world.runners()
    mine, other = forge.register("gpu-1", world.labels, TAGS), forge.register("gpu-2", world.labels, TAGS)
    world.take_job("train", other.id)
    agent = ForgeAgent(id=mine.id, name="gpu-1")
    for hint in (
        ForgeJob(id="", run="900", repository=world.repository),
        ForgeJob(id="", run="900", repository="acme/another"),
        ForgeJob(id="", run="../../repos", repository=world.repository),
        ForgeJob(id="", run="900", repository="acme/churn/../.."),
        None,
    ):
        assert forge.job_of(agent, hint) is None
    assert not [one for one in world.server.seen if "another" in one.path or ".." in one.path]
    world.server.close()


def test_a_runner_with_a_job_is_not_removed(tmp_path: Path) -> None:
    for kind in ("github", "gitlab"):
        world = RUNNERS_WORLDS[kind](tmp_path / kind)
        forge = world.runners()
        made = forge.register("gpu-1", world.labels, TAGS)
        world.take_job("train", made.id)
        assert not forge.remove(made.id)
        agent = forge.agent(made.id)
        assert agent is not None and agent.busy and agent.online
        world.server.close()


def test_a_name_that_is_taken_on_github_says_how_to_go_on(tmp_path: Path) -> None:
    world = GitHubRunnersWorld(tmp_path)
    world.runners().register("gpu-1", world.labels, TAGS)
    with pytest.raises(ForgeConflict, match="--reuse"):
        world.runners().register("gpu-1", world.labels, TAGS)
    world.server.close()


def test_an_app_registers_runners_of_its_organisation(tmp_path: Path) -> None:
    world = GitHubRunnersWorld(tmp_path)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    world.server.app_keys["7"] = public
    app = AppKey("7", Secret(text), source="GITHUB_APP_PRIVATE_KEY")
    made = world.by_app(app, "organization").register("gpu-1", world.labels, TAGS)
    assert world.registered() == {made.id: "gpu-1"}
    world.server.close()


def test_a_server_of_ones_own_says_which_agent_fits_it(tmp_path: Path) -> None:
    world = GitHubRunnersWorld(tmp_path)
    wanted = {"os": "linux", "architecture": "arm64", "download_url": "https://ghe.example/a.tar.gz", "filename": "a.tar.gz"}
    world.server.downloads = [{**wanted, "os": "win"}, {**wanted, "architecture": "x64"}, {**wanted, "sha256_checksum": "AB" * 32}]
    forge: Any = world.runners()
    assert forge.binary("arm64") == ("a.tar.gz", "https://ghe.example/a.tar.gz", "AB" * 32)
    assert forge.binary("x64") is None  # no checksum, no agent
    world.server.close()


def test_independent_clients_see_the_same_runners(tmp_path: Path) -> None:
    world = GitHubRunnersWorld(tmp_path / "github")
    made = world.runners().register("gpu-1", world.labels, TAGS)
    with githubkit.GitHub(githubkit.TokenAuthStrategy(GOOD), base_url=f"{world.server.url}/", auto_retry=False) as client:
        (runner,) = client.rest.actions.list_self_hosted_runners_for_repo("acme", "churn").parsed_data.runners
        assert (str(runner.id), runner.name, runner.busy) == (made.id, "gpu-1", False)
        client.rest.actions.delete_self_hosted_runner_from_repo("acme", "churn", runner.id)
    assert world.registered() == {}
    world.server.close()
    lab = RUNNERS_WORLDS["gitlab"](tmp_path / "gitlab")
    made = lab.runners().register("gpu-1", lab.labels, TAGS)
    theirs = python_gitlab.Gitlab(lab.server.web, private_token=GOOD, keep_base_url=True)
    project = theirs.projects.get(lab.repository)
    (listed,) = project.runners.list(get_all=True)
    assert theirs.runners.get(listed.id).tag_list == ["cml", *marks(TAGS)]
    theirs.user = None
    second = theirs.http_post("/user/runners", post_data={"runner_type": "project_type", "project_id": 4711, "tag_list": ["cml"]})
    assert str(second["token"]).startswith("glrt-")
    theirs.runners.delete(listed.id)
    assert len(lab.registered()) == 1
    lab.server.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com/acme/churn", ("github", "https://api.github.com", "acme/churn", "repository")),
        ("https://github.com/acme/churn.git", ("github", "https://api.github.com", "acme/churn", "repository")),
        ("https://ada:ghp_x@github.com/acme", ("github", "https://api.github.com", "acme", "organization")),
        ("https://github.com/enterprises/big", ("github", "https://api.github.com", "big", "enterprise")),
        ("https://github.example.org/orgs/acme", ("github", "https://github.example.org/api/v3", "acme", "organization")),
        ("https://gitlab.com/group", ("gitlab", "https://gitlab.com/api/v4", "group", "group")),
        ("https://gitlab.com/groups/group/sub", ("gitlab", "https://gitlab.com/api/v4", "group/sub", "repository")),
        (
            "https://gitlab.com/group/sub/project/-/settings/ci_cd",
            ("gitlab", "https://gitlab.com/api/v4", "group/sub/project", "repository"),
        ),
        ("https://bitbucket.org/team", ("bitbucket", "https://api.bitbucket.org/2.0", "team", "workspace")),
        ("git@github.com:acme/churn.git", ("github", "https://api.github.com", "acme/churn", "repository")),
    ],
)
def test_a_url_says_whom_a_runner_serves(url: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    place = place_of(url, {}, tmp_path)
    assert (place.kind, place.api_url, place.path, place.level) == expected
    assert "ghp_x" not in place.url


@pytest.mark.parametrize("url", ["https://github.com", "https://github.com/../..", "https://github.com/a b/c", "nonsense"])
def test_a_url_that_names_nobody_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        place_of(url, {}, tmp_path)


def test_marks_survive_the_labels_of_every_forge() -> None:
    for separator in "-.":
        assert tags_in(["cml", *marks(TAGS, separator)]) == TAGS
    odd = {TAG_INSTALLATION: "ACME's CI/CD, main"}
    (label,) = marks(odd)
    assert tags_in([label]) == {TAG_INSTALLATION: word_of("ACME's CI/CD, main")}
    assert tags_in(["mlops-nb", "mlops-nb-runner", "x-mlops-nb-runner-1", "mlops-nb-runner-1 "]) == {}
