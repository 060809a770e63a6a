"""Self-hosted runners at a forge: the place that they serve, how they are registered, seen, and removed.

A place is a repository, an organisation, an enterprise, a group or a workspace. What registers here carries our marks as
labels, which every forge keeps and lists: installation, runner and expiry, so that a reaper finds what nobody uses any more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, Unpack
from urllib.parse import urlsplit

from mlops_nb.core.records import Record
from mlops_nb.core.runners import TAG_EXPIRES, TAG_INSTALLATION, TAG_RUNNER
from mlops_nb.errors import InvalidInput
from mlops_nb.forges.base import ForgeKind, NotAuthenticated, OutcomeUnknown
from mlops_nb.forges.client import PatienceOptions
from mlops_nb.forges.context import ENV_API_URL, discover, of_ci
from mlops_nb.forges.remotes import api_of, checked_kind, kind_of_host
from mlops_nb.forges.tokens import AppKey, Secret, Token, names_for

Level = Literal["repository", "organization", "enterprise", "group", "workspace"]
_WORD = re.compile(r"[0-9a-z]{1,40}")
_MARK = re.compile(r"mlops[-.]nb[-.](installation|runner|expires)[-.]([0-9a-z]{1,40})", re.IGNORECASE)
_SEGMENT = re.compile(r"[\w~-][\w.~-]*", re.ASCII)


class Place(Record, frozen=True, kw_only=True):
    """Whom a runner serves.

    Attributes:
        path: `owner/name`, the name of an organisation, enterprise or workspace, or a group with those above it. Of GitLab
            the level is a guess until the forge was asked: groups and projects have names of the same form.
    """

    kind: ForgeKind
    server_url: str
    api_url: str
    path: str
    level: Level

    @property
    def url(self) -> str:
        return f"{self.server_url}/{'enterprises/' if self.level == 'enterprise' else ''}{self.path}"


class ForgeAgent(Record, frozen=True, kw_only=True):
    """A runner as the forge has it. `busy` is None where the forge does not say; `tags` are our marks, as `core.runners` names them."""

    id: str
    name: str
    labels: Sequence[str] = ()
    online: bool = False
    busy: bool | None = None
    tags: Mapping[str, str] = {}


class Registration:
    """What an agent starts with. `secret` is a JIT configuration (GitHub), an authentication token (GitLab) or an OAuth secret.

    Attributes:
        facts: What goes with it and is not secret: the OAuth client, identifiers of account and repository (Bitbucket).
        reusable: Whether the agent keeps it from job to job; a JIT configuration is good for one job.
    """

    __slots__ = ("facts", "id", "name", "reusable", "secret")

    def __init__(self, id: str, name: str, secret: Secret, *, reusable: bool, facts: Mapping[str, str] | None = None) -> None:
        self.id, self.name, self.secret, self.reusable = id, name, secret, reusable
        self.facts = dict(facts or {})

    def __repr__(self) -> str:
        return f"Registration(id={self.id!r}, name={self.name!r})"


class ForgeJob(Record, frozen=True, kw_only=True):
    """A job of a workflow or pipeline. `run` is the run's number or the pipeline's; `attempt` counts from 1."""

    id: str
    run: str
    name: str = ""
    repository: str = ""
    attempt: int = 1
    url: str = ""


class Rerun(Record, frozen=True, kw_only=True):
    """What became of the wish to have an interrupted job again: begun (`url` says where), too early yet, or not to be had.

    `job` is the one that the forge knows, where it was found: it can be asked for again when the runner is long gone.
    """

    state: Literal["started", "waiting", "refused"]
    url: str = ""
    reason: str = ""
    job: ForgeJob | None = None


class RunnerForge(Protocol):
    """The runners of one place. Methods are HTTP requests and raise `ForgeError`; instances belong to one thread. Lists are complete."""

    place: Place

    def agents(self, *, installation: str = "", labels: Sequence[str] = (), name: str = "") -> list[ForgeAgent]:
        """Return the runners of the place that carry an installation's mark, all these labels and this name, where these are given."""

    def agent(self, id: str) -> ForgeAgent | None:
        """Return one runner, or None if it is gone."""

    def register(self, name: str, labels: Sequence[str], tags: Mapping[str, str], *, single: bool = False) -> Registration:
        """Register a runner. Where the answer is lost, what it made is removed and made again: two are never left.

        Raises:
            RequestRefused: If a label or name is none for this forge; `ForgeConflict` if the name is taken.
        """

    def remove(self, id: str, *, force: bool = False) -> bool:
        """Remove a runner and return True; False while it has a job. One that is gone is no error.

        With `force` one with a job is removed, too, where the forge allows it: its machine is gone.
        """

    def job_of(self, agent: ForgeAgent, hint: ForgeJob | None) -> ForgeJob | None:
        """Return the job that a runner is at, or was at when it was cut off; None if there is none.

        `hint` is what its machine says. A machine runs what people push, so it is believed only as far as the forge confirms it.
        """

    def again(self, job: ForgeJob) -> Rerun:
        """Have an interrupted job done again: it alone or the failed ones of its run, once, and no job that still runs is ended."""


def place_of(url: str | None, environment: Mapping[str, str], folder: Path, *, driver: str | None = None) -> Place:
    """Return the place that a URL or `owner/name` names, else CI or git here.

    Raises:
        InvalidInput: If it names none, or the forge cannot be told.
    """
    wanted = (url or environment.get("CML_REPO") or "").strip()
    parts = urlsplit(wanted)
    if parts.scheme in ("http", "https") and parts.hostname:
        segments = [one for one in parts.path.removesuffix(".git").split("/") if one]
        netloc = parts.netloc.rpartition("@")[2]
        kind = _kind(f"{parts.scheme}://{netloc}", environment, driver)
        run = of_ci(environment)
        server = f"{parts.scheme}://{netloc}"
        if run is not None and run.server_url and run.ci == kind and f"{wanted}/".startswith(f"{run.server_url.rstrip('/')}/"):
            server = run.server_url.rstrip("/")
            segments = [one for one in wanted[len(server) :].removesuffix(".git").split("/") if one]
        level, path = _below(kind, segments, wanted)
        api = environment.get(ENV_API_URL) or (run.api_url if run and run.api_url and run.server_url == server else api_of(kind, server))
        return Place(kind=kind, server_url=server, api_url=api.rstrip("/"), path=path, level=level)
    found = discover(environment, folder, repository=wanted or None, driver=driver)
    return Place(kind=found.kind, server_url=found.server_url, api_url=found.api_url, path=found.repository, level="repository")


def _kind(server: str, environment: Mapping[str, str], driver: str | None) -> ForgeKind:
    driver = driver or environment.get("CML_DRIVER") or None
    if driver:
        return checked_kind(driver)
    run = of_ci(environment)
    if run is not None and run.ci and run.server_url and urlsplit(run.server_url).netloc == urlsplit(server).netloc:
        return run.ci
    kind = kind_of_host(server)
    if kind is None:
        raise InvalidInput(f"The name of {server} does not say which forge it is.", hint="Say it: --driver github, gitlab or bitbucket.")
    return kind


def _below(kind: ForgeKind, segments: list[str], wanted: str) -> tuple[Level, str]:
    if kind == "gitlab" and "-" in segments:
        segments = segments[: segments.index("-")]
    if kind == "gitlab" and segments[:1] == ["groups"]:
        segments = segments[1:]
    if not segments or not all(_SEGMENT.fullmatch(one) for one in segments):
        raise InvalidInput(f"{wanted[:200]} names no repository and no organisation.", hint="For example https://github.com/owner/name.")
    if kind == "github" and segments[0] == "enterprises" and len(segments) > 1:
        return "enterprise", segments[1]
    if kind == "github" and segments[0] == "orgs" and len(segments) > 1:
        return "organization", segments[1]
    if kind == "gitlab":
        return ("repository" if len(segments) > 1 else "group"), "/".join(segments)
    if len(segments) == 1:
        return ("organization" if kind == "github" else "workspace"), segments[0]
    return "repository", "/".join(segments[:2])


def marks(tags: Mapping[str, str], separator: str = "-") -> list[str]:
    """Return the labels that keep our tags at a forge; their words are joined by the separator that its labels may have."""
    words = [(name, tags[name]) for name in (TAG_INSTALLATION, TAG_RUNNER, TAG_EXPIRES) if tags.get(name)]
    return [f"{name}-{word_of(value)}".replace("-", separator) for name, value in words]


def tags_in(labels: Sequence[str]) -> dict[str, str]:
    """Return our tags from the labels of a runner; {} where it carries none."""
    found = (_MARK.fullmatch(one) for one in labels)
    return {f"mlops-nb-{one[1].lower()}": one[2].lower() for one in found if one}


def without_marks(labels: Sequence[str]) -> list[str]:
    """Return the labels that jobs choose by."""
    return [one for one in labels if not _MARK.fullmatch(one)]


def word_of(value: str) -> str:
    """Return a value as a label can hold it: itself if it is short, of lower-case letters and digits, else a digest of it."""
    return value if _WORD.fullmatch(value) else hashlib.sha256(value.encode()).hexdigest()[:32]


def connect_runners(place: Place, token: Token | AppKey | None, **patience: Unpack[PatienceOptions]) -> RunnerForge:
    """Return the runners of a place, asked for with this token; nothing is sent yet.

    Raises:
        NotAuthenticated: If there is no token, for no forge shows or takes runners without one.
    """
    if token is None:
        raise NotAuthenticated(f"There is no token for {place.url}.", hint=f"Give --token, or set one of {names_for(place.kind)}.")
    if place.kind == "github":
        from mlops_nb.forges.github_runners import GitHubRunners

        return GitHubRunners(place, token, **patience)
    if isinstance(token, AppKey):
        raise InvalidInput(f"The key of a GitHub App ({token.source}) opens nothing at {place.kind}.", hint="Give a token of that forge.")
    if place.kind == "gitlab":
        from mlops_nb.forges.gitlab_runners import GitLabRunners

        return GitLabRunners(place, token, **patience)
    from mlops_nb.forges.bitbucket_runners import BitbucketRunners

    return BitbucketRunners(place, token, **patience)


def registered(make: Callable[[], Registration], name: str, forge: RunnerForge, runner: str) -> Registration:
    """Register once: where the answer is lost, remove what it made, whose secret nobody has, and register again."""
    try:
        return make()
    except OutcomeUnknown:
        for one in forge.agents(name=name):
            if one.tags.get(TAG_RUNNER) == word_of(runner):
                forge.remove(one.id)
        return make()
