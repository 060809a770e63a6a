"""Which token is taken, what kind it is, and that it shows itself nowhere."""

from __future__ import annotations

import base64
import pickle
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mlops_nb.errors import InvalidInput
from mlops_nb.forges.base import ForgeKind, NotAuthenticated, Target
from mlops_nb.forges.context import discover
from mlops_nb.forges.github import GitHub
from mlops_nb.forges.tokens import AppKey, Secret, Token, find_token
from tests.forges.conftest import Clock
from tests.forges.github import LoopbackGitHub

ORDER = ["CML_TOKEN", "CML_DRIVER_TOKEN", "MLOPS_NB_FORGE_TOKEN", "REPO_TOKEN", "repo_token"]


def found(kind: ForgeKind, environment: dict[str, str], argument: str | None = None) -> Token:
    token = find_token(kind, environment, argument)
    assert isinstance(token, Token)
    return token


def test_the_argument_comes_first_then_the_variables_in_cmls_order() -> None:
    for kind, own in (("github", "GITHUB_TOKEN"), ("gitlab", "GITLAB_TOKEN"), ("bitbucket", "BITBUCKET_TOKEN")):
        environment = {name: f"secret-of-{name}" for name in [*ORDER, own]}
        assert found(kind, environment, "given").source == "--token"  # type: ignore[arg-type]
        for name in [*ORDER, own]:
            token = found(kind, environment)  # type: ignore[arg-type]
            assert (token.source, token.secret.reveal()) == (name, f"secret-of-{name}")
            environment[name] = " "
        assert find_token(kind, environment) is None  # type: ignore[arg-type]


def test_no_forge_gets_the_token_of_another() -> None:
    environment = {"GITHUB_TOKEN": "gh", "GITLAB_TOKEN": "gl", "BITBUCKET_TOKEN": "bb"}
    assert found("gitlab", environment).secret.reveal() == "gl"
    assert found("bitbucket", environment).secret.reveal() == "bb"
    assert find_token("gitlab", {"GITHUB_TOKEN": "gh"}) is None


@pytest.mark.parametrize(
    ("forge", "text", "more", "kind", "user"),
    [
        ("github", "ghp_x", {}, "github-classic", None),
        ("github", "github_pat_x", {}, "github-fine-grained", None),
        ("github", "ghs_x", {}, "github-app", None),
        ("github", "gho_x", {}, "github-user", None),
        ("github", "0123abcd", {}, "unknown", None),
        ("gitlab", "glpat-x", {}, "gitlab-access", None),
        ("gitlab", "gldt-x", {}, "gitlab-deploy", None),
        ("gitlab", "glcbt-x", {}, "gitlab-job", None),
        ("gitlab", "0a" * 32, {}, "gitlab-oauth", None),
        ("gitlab", "0a" * 10, {}, "gitlab-access", None),
        ("gitlab", "0a" * 32, {"CI_JOB_TOKEN": "0a" * 32}, "gitlab-job", None),
        ("gitlab", "jobs", {"CI_JOB_TOKEN": "jobs"}, "gitlab-job", None),
        ("bitbucket", "ATCTTx", {}, "bitbucket-access", None),
        ("bitbucket", "ATATTx", {"BITBUCKET_EMAIL": "ada@example.org"}, "bitbucket-api", "ada@example.org"),
        ("bitbucket", "ada@example.org:ATATTx", {}, "bitbucket-api", "ada@example.org"),
        ("bitbucket", "ada:password", {}, "bitbucket-password", "ada"),
        ("bitbucket", base64.b64encode(b"ada:password").decode(), {}, "bitbucket-password", "ada"),
        ("bitbucket", "ATBBx", {"BITBUCKET_USERNAME": "ada"}, "bitbucket-password", "ada"),
    ],
)
def test_the_kind_of_a_token_is_recognised(forge: ForgeKind, text: str, more: dict[str, str], kind: str, user: str | None) -> None:
    token = found(forge, {"REPO_TOKEN": text, **more})
    assert (token.kind, token.user) == (kind, user)


def test_what_cannot_be_a_token_is_refused_without_showing_it() -> None:
    with pytest.raises(InvalidInput, match="REPO_TOKEN") as caught:
        find_token("github", {"REPO_TOKEN": "ghp_one\nghp_two"})
    assert "ghp_one" not in str(caught.value)
    with pytest.raises(InvalidInput, match="BITBUCKET_EMAIL"):
        find_token("bitbucket", {"REPO_TOKEN": "ATATTx"})


def test_a_token_shows_itself_nowhere() -> None:
    token = found("github", {"GITHUB_TOKEN": "ghp_hush"})
    shown = [repr(token), str(token.secret), f"{token.secret!r}", str(getattr(token, "__dict__", "")), str(dir(token.secret))]
    try:
        raise ValueError(token)
    except ValueError as error:
        shown += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    assert "ghp_hush" not in "".join(shown)
    with pytest.raises(TypeError):
        vars(token.secret)
    with pytest.raises(TypeError, match="not written to files"):
        pickle.dumps(token.secret)
    assert token.secret == Secret("ghp_hush") != Secret("other")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private.decode()


def connect_app(loopback: LoopbackGitHub, key: str, tmp_path: Path, clock: Clock) -> GitHub:
    app = {"MLOPS_NB_GITHUB_APP_ID": "42", "MLOPS_NB_GITHUB_APP_PRIVATE_KEY": key}
    context = discover(loopback.actions(tmp_path, "push"), tmp_path)
    token = find_token("github", {**app, "GITHUB_TOKEN": "ghs_workflow"})
    assert isinstance(token, AppKey) and "BEGIN" not in repr(token)
    return GitHub(context, token, clock=clock.now, sleep=clock.sleep, tell=clock.told.append)


def register(loopback: LoopbackGitHub, key: rsa.RSAPrivateKey) -> None:
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    loopback.app_keys["42"] = public.decode()


def test_an_apps_key_is_exchanged_for_a_token_that_is_renewed_in_time(
    loopback: LoopbackGitHub, key: rsa.RSAPrivateKey, tmp_path: Path, clock: Clock
) -> None:
    register(loopback, key)
    loopback.installation_seconds = 320  # which is renewed five minutes before its end
    github = connect_app(loopback, pem(key), tmp_path, clock)
    target = Target("pr", str(loopback.open_pull("topic").number))
    assert github.create_comment(target, "report").author == "app-42[bot]" == github.whoami()
    assert len(loopback.calls("POST", "*/access_tokens")) == 1
    clock.time += 30
    github.create_comment(target, "later")
    assert len(loopback.calls("POST", "*/access_tokens")) == 2


def test_an_apps_key_may_stand_in_a_file_or_with_written_line_ends(
    loopback: LoopbackGitHub, key: rsa.RSAPrivateKey, tmp_path: Path, clock: Clock
) -> None:
    register(loopback, key)
    file = tmp_path / "app.pem"
    file.write_text(pem(key))
    for given in (str(file), pem(key).replace("\n", "\\n")):
        assert connect_app(loopback, given, tmp_path, clock).whoami() == "app-42[bot]"


def test_a_wrong_or_broken_key_is_told_without_showing_it(
    loopback: LoopbackGitHub, key: rsa.RSAPrivateKey, tmp_path: Path, clock: Clock
) -> None:
    register(loopback, rsa.generate_private_key(public_exponent=65537, key_size=2048))
    with pytest.raises(NotAuthenticated, match="MLOPS_NB_GITHUB_APP_PRIVATE_KEY"):
        connect_app(loopback, pem(key), tmp_path, clock).default_branch()
    with pytest.raises(InvalidInput, match="no private key") as caught:
        connect_app(loopback, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----", tmp_path, clock).default_branch()
    assert "c2VjcmV0" not in str(caught.value)
    with pytest.raises(InvalidInput, match="neither a private key"):
        connect_app(loopback, str(tmp_path / "missing.pem"), tmp_path, clock)
