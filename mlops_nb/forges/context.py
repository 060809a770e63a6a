"""What CI, or git in the folder, says about where we are: forge, repository, commit, branch, pull request and run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput
from mlops_nb.forges.base import Forge, ForgeKind, PullRequest
from mlops_nb.forges.git import git
from mlops_nb.forges.remotes import KINDS, PUBLIC_SERVERS, Remote, api_of, checked_kind, is_slug, kind_of_host, parse_remote, repository_of

ENV_API_URL = "MLOPS_NB_FORGE_API_URL"


class Run(Record, frozen=True, kw_only=True):
    """What one CI says. Where it is silent there is None.

    `commit` is the one that people pushed: the head of a pull request, not the merge that CI may have checked out.
    """

    ci: ForgeKind | None = None
    server_url: str | None = None
    api_url: str | None = None
    repository: str | None = None
    commit: str | None = None
    branch: str | None = None
    tag: str | None = None
    base_branch: str | None = None
    pull_request: int | None = None
    head_repository: str | None = None
    event: str | None = None
    from_fork: bool = False
    workflow: str | None = None
    run_id: str | None = None
    run_url: str | None = None
    job_id: str | None = None
    actor: str | None = None


class Context(Run, frozen=True, kw_only=True):
    """Where we are. `ci` is the CI that runs us, if one does; the rest is about the repository that we speak about.

    Attributes:
        kind: The forge that has the repository.
        server_url: Its web address with scheme, port and sub-path, without a slash at the end.
        api_url: The base of its REST API.
        repository: `owner/name`; on GitLab with all groups.
        head_repository: The repository of the pull request's branch, where known; another one than `repository` for a fork.
        event: The CI's name of what started the run, such as `pull_request` or `schedule`.
        run_url: The page of this run, or of this job where the CI says it.
    """

    kind: ForgeKind
    server_url: str
    api_url: str
    repository: str


def discover(environment: Mapping[str, str], folder: Path, *, repository: str | None = None, driver: str | None = None) -> Context:
    """Find out where we are, from the arguments, the CI's environment and git, in this order.

    Args:
        environment: The process's variables.
        folder: Inside the repository's working tree.
        repository: URL or `owner/name`, else `CML_REPO`, else that of CI, else the remote `origin`.
        driver: github, gitlab or bitbucket, else `CML_DRIVER`, else what CI or the host's name says.

    Raises:
        InvalidInput: If neither says which repository it is, or which forge it is on.
    """
    run = of_ci(environment) or of_git(folder)
    wanted = repository or environment.get("CML_REPO") or None
    driver = driver or environment.get("CML_DRIVER") or None
    asked_kind = checked_kind(driver) if driver else None
    if wanted is None and run.repository is not None and run.server_url is not None and asked_kind in (None, run.ci):
        kind, server, slug = run.ci or asked_kind, run.server_url, run.repository
    else:
        kind, server, slug = _place(wanted, run, asked_kind, folder)
    if kind is None:
        raise InvalidInput(f"The name of {server} does not say which forge it is.", hint="Say it: --driver github, gitlab or bitbucket.")
    is_here = run.server_url is not None and _same_server(server, run.server_url) and kind == (run.ci or kind)
    api = environment.get(ENV_API_URL) or (run.api_url if is_here and run.api_url else api_of(kind, server))
    is_same = is_here and run.repository is not None and slug.casefold() == run.repository.casefold()
    known = {name: getattr(run, name) for name in Run.__struct_fields__}
    if not is_same and run.ci is not None:  # a mirror has the commit and its branch, but other numbers
        known.update(pull_request=None, head_repository=None, base_branch=None, from_fork=False)
    known.update(server_url=server.rstrip("/"), api_url=api.rstrip("/"), repository=slug)
    return Context(kind=kind, **known)


def _same_server(one: str, other: str) -> bool:
    return one.rstrip("/").casefold() == other.rstrip("/").casefold()


def _place(wanted: str | None, run: Run, asked: ForgeKind | None, folder: Path) -> tuple[ForgeKind | None, str, str]:
    """Return forge, server and `owner/name` of what `--repo` or the remote says."""
    if wanted is not None and is_slug(wanted) and parse_remote(wanted) is None:
        kind = asked or run.ci
        if kind is None:
            remote = _origin(folder)
            kind = kind_of_host(remote.server) if remote else None
            if remote and kind:
                return kind, remote.server, repository_of(kind, wanted)
        if kind is None:
            raise InvalidInput(
                f"'{wanted}' does not say on which forge it is.", hint="Give its URL, or --driver github, gitlab or bitbucket."
            )
        server = run.server_url if run.ci == kind and run.server_url else PUBLIC_SERVERS[kind]
        return kind, server, repository_of(kind, wanted)
    remote = parse_remote(wanted) if wanted is not None else _origin(folder)
    if remote is None:
        if wanted is not None:
            raise InvalidInput("--repo is neither a URL nor owner/name.", hint="For example https://github.com/owner/name.")
        raise InvalidInput(
            f"No CI says which repository this is, and {folder} has no remote 'origin' on a forge.", hint="Name it: --repo URL."
        )
    if run.ci is not None and run.server_url is not None and asked in (None, run.ci):
        below = remote.below(run.server_url)
        if below is not None:
            return run.ci, run.server_url, repository_of(run.ci, below)
    kind = asked or kind_of_host(remote.server)
    return kind, remote.server, repository_of(kind, remote.path) if kind else remote.path


def of_ci(environment: Mapping[str, str]) -> Run | None:
    """Return what the CI says that runs us, or None outside of one."""
    from mlops_nb.forges import ci_bitbucket, ci_github, ci_gitlab

    readers = {"github": ci_github.read, "gitlab": ci_gitlab.read, "bitbucket": ci_bitbucket.read}
    return next((run for kind in KINDS if (run := readers[kind](environment)) is not None), None)


def of_git(folder: Path) -> Run:
    """Return what git says: commit and branch; the branch is None on a detached head."""
    commit = git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    return Run(commit=commit or None, branch=git(folder, "symbolic-ref", "--short", "--quiet", "HEAD") or None)


def _origin(folder: Path) -> Remote | None:
    url = git(folder, "remote", "get-url", "origin")
    return parse_remote(url) if url else None


def find_pull_request(forge: Forge, context: Context) -> PullRequest | None:
    """Return the pull request that this run is about: CI's number, else the open one with this commit, else of this branch.

    A pull request from a fork is taken only if its head is this very commit, so that nobody's report lands on another's.
    """
    if context.pull_request is not None:
        return forge.pull_request(context.pull_request)
    if context.tag is not None:
        return None
    if context.commit is not None:
        # A fork can have the commit of a pull request of this repository, and a branch of its name.
        found = [one for one in forge.pull_requests_of(context.commit) if one.from_fork or not context.from_fork]
        # Another branch's pull request may hold our commit as an older one, and is not ours.
        ours = [one for one in found if one.source == context.branch] or [
            one for one in found if one.commit == context.commit or context.branch is None
        ]
        if ours:
            return ours[0]
    if context.branch is None:
        return None
    if context.from_fork and context.head_repository is not None:
        source = f"{context.head_repository.split('/')[0]}:{context.branch}"
        return next((one for one in forge.pull_requests(source=source) if one.commit == context.commit), None)
    return next((one for one in forge.pull_requests(source=context.branch) if not one.from_fork), None)
