"""A pull request of files that a job has changed: a commit, a branch of ours, and one pull request that is kept up to date."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput, MlopsError, NotFound, PermissionDenied
from mlops_nb.forges.base import Forge, GitCredentials, MergeMode, PullRequest
from mlops_nb.forges.context import Context
from mlops_nb.posting.changes import Identity, changed, commit_of
from mlops_nb.posting.git import Git, GitError, check_branch, process_environment

log = logging.getLogger("mlops_nb.posting")

TRAILER = "Mlops-Nb-Pull-Request"
_OURS = re.compile(rf"^{TRAILER}: ", re.MULTILINE)
_BY_COMMITS = {"push", "pull_request", "pull_request_target", "merge_request_event", "merge_group", "external_pull_request_event"}
_TRIES = 3


class Proposal(Record, frozen=True, kw_only=True):
    """What `pr create` is asked for; "" and None mean that it chooses. `globs` empty: the commits of HEAD as they are."""

    globs: tuple[str, ...] = ()
    branch: str = ""
    target_branch: str = ""
    title: str = ""
    body: str = ""
    message: str = ""
    skip_ci: bool = False
    merge: MergeMode | None = None
    remote: str = "origin"
    identity: Identity


class Proposed(Record, frozen=True, kw_only=True):
    """What became of it: the pull request, or why there is none. `problem`: it is there, but was not merged as asked."""

    pull_request: PullRequest | None = None
    nothing: str = ""
    problem: str = ""


def propose(forge: Forge, context: Context, folder: Path, proposal: Proposal) -> Proposed:
    """Commit the changed files that match, push them to a branch of ours, and open or update its pull request.

    The user's branch, index, working tree and settings stay as they are. A branch that only we have written is replaced,
    if nobody has pushed to it in between; on one that has commits of others ours goes on top.

    Args:
        forge: Where the pull request goes.
        context: What this run is about; its commit is what the pull request builds on.
        folder: The working directory, from which the patterns start.
        proposal: What to do.

    Raises:
        MlopsError: If it cannot be done; says why.
    """
    credentials = _credentials(forge)
    git = Git(folder, process_environment(), credentials)
    if _is_our_own_run(git, context):
        return Proposed(nothing="This run was started by a pull request of ours: there is nothing to do, or it would go on for ever.")
    paths = changed(git, proposal.globs, folder) if proposal.globs else []
    if proposal.globs and not paths:
        return Proposed(nothing="No changed file matches: nothing to do.")
    target = _target(forge, context, git, proposal)
    base = _base(git, context, proposal, credentials)
    source = check_branch(proposal.branch or f"{target}-cml-pr-{base[:8]}", "--branch")
    if source == target:
        raise InvalidInput(f"The pull request's branch and its target are both '{target}'.", hint="Name another one: --branch NAME.")
    if context.from_fork and forge.branch_commit(target) is None:
        raise PermissionDenied(
            "This run is about a fork, to which a job of this repository cannot push.", hint="Run it where the fork's branch is."
        )
    repository = _Repository(git, proposal.remote, credentials)
    pushed = repository.publish(paths, base=base, source=source, target=target, proposal=proposal)
    if not pushed:
        return Proposed(nothing=f"'{target}' has all of it already: nothing to do.")
    found = _pull_request(forge, source=source, target=target, base=base, proposal=proposal)
    return Proposed(pull_request=found, problem=_merged(forge, found, proposal))


def _credentials(forge: Forge) -> GitCredentials | None:
    try:
        return forge.git_credentials()
    except PermissionDenied:
        return None  # a remote over ssh or on this machine needs none


def _is_our_own_run(git: Git, context: Context) -> bool:
    """Return whether a commit that we made, or its merge, has started this run; one on a schedule or by hand always works."""
    if context.ci is None or (context.event is not None and context.event not in _BY_COMMITS and context.event != "parent_pipeline"):
        return False
    revisions = [context.commit or "HEAD", "HEAD"]
    messages = [git.tries("log", "-1", "--format=%B", revision, "--") for revision in (*revisions, *(f"{r}^2" for r in revisions))]
    return any(message is not None and _OURS.search(message) for message in messages)


def _target(forge: Forge, context: Context, git: Git, proposal: Proposal) -> str:
    if proposal.target_branch:
        target = check_branch(proposal.target_branch, "--target-branch")
        if forge.branch_commit(target) is None:
            raise NotFound(f"The target branch '{target}' does not exist in {forge.repository}.")
        return target
    found = context.branch or git.tries("symbolic-ref", "--short", "--quiet", "HEAD")
    return found or forge.default_branch()


def _base(git: Git, context: Context, proposal: Proposal, credentials: GitCredentials | None) -> str:
    """Return the commit to build on: what people pushed, where CI has checked out its merge with the target."""
    head = git("rev-parse", "--verify", "HEAD^{commit}")
    wanted = context.commit
    if not proposal.globs or wanted is None or context.ci is None or wanted == head:
        return head
    if git.tries("cat-file", "-e", f"{wanted}^{{commit}}") is None:
        git.tries("fetch", "--no-tags", "--no-write-fetch-head", _address(git, proposal.remote, credentials), wanted, network=True)
    return wanted if git.tries("cat-file", "-e", f"{wanted}^{{commit}}") is not None else head


class _Repository:
    """The repository and its remote."""

    def __init__(self, git: Git, remote: str, credentials: GitCredentials | None) -> None:
        self._git = git
        self._address = _address(git, remote, credentials)

    def publish(self, paths: Sequence[bytes], *, base: str, source: str, target: str, proposal: Proposal) -> bool:
        """Push the changes to the source branch; False: there is nothing that the target does not have."""
        for left in reversed(range(_TRIES)):
            tip = self._tip(source)
            try:
                return self._push(paths, base, source, target, tip, proposal)
            except GitError as error:
                if not left or self._tip(source) == tip:
                    raise
                log.info("Somebody has pushed to '%s' in between; once more: %s", source, error.message)
        return False

    def _push(self, paths: Sequence[bytes], base: str, source: str, target: str, tip: str | None, proposal: Proposal) -> bool:
        ours = tip is None or self._is_ours(tip, source, base, target)
        start = base if tip is None or ours else tip
        if not paths:
            commit: str | None = base
            if self._tip(target) == base:
                return False
        else:
            commit = commit_of(
                self._git,
                paths,
                base=self._newest(start, target),
                message=_message(proposal, base, source),
                identity=proposal.identity,
                own=[] if ours else [path for path in paths if self._last_was_ours(start, base, path)],
            )
        if commit is None:
            return tip is not None and not ours
        if tip is not None and self._same(tip, commit):
            log.info("The branch '%s' is up to date.", source)
            return True
        lease = f"--force-with-lease=refs/heads/{source}:{tip or ''}"
        force = [lease] if ours else []
        self._git("push", "--quiet", *force, self._address, f"{commit}:refs/heads/{source}", network=True)
        log.info("%s is pushed to '%s'.", commit[:12], source)
        return True

    def _newest(self, start: str, target: str) -> str:
        """Return the newest commit of the target if all of `start` is in it: the pull request then does not begin behind it."""
        tip = self._tip(target)
        if tip is None or tip == start or not self._fetched(target, tip):
            return start
        is_behind = self._git.tries("merge-base", "--is-ancestor", start, tip) is not None
        return tip if is_behind else start

    def _tip(self, branch: str) -> str | None:
        listed = self._git("ls-remote", "--heads", self._address, f"refs/heads/{branch}", network=True)
        return next((line.split("\t")[0] for line in listed.splitlines() if line.endswith(f"\trefs/heads/{branch}")), None)

    def _fetched(self, branch: str, commit: str) -> bool:
        if self._git.tries("cat-file", "-e", f"{commit}^{{commit}}") is None:
            self._git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", self._address, f"refs/heads/{branch}", network=True)
        return self._git.tries("cat-file", "-e", f"{commit}^{{commit}}") is not None

    def _is_ours(self, tip: str, source: str, base: str, target: str) -> bool:
        """Return whether only we have written what the branch has beyond its target and the commit to build on."""
        if not self._fetched(source, tip):
            return False
        known = [base]
        if (target_tip := self._tip(target)) is not None and self._fetched(target, target_tip):
            known.append(target_tip)
        messages = self._git("log", "--format=%B%x00", tip, "--not", *known, "--").split("\0")[:-1]
        return all(_OURS.search(message) for message in messages)

    def _last_was_ours(self, tip: str, base: str, path: bytes) -> bool:
        """Return whether we were the last to change a path on the branch."""
        message = self._git("--literal-pathspecs", "log", "-1", "--format=%B", tip, "--not", base, "--", os.fsdecode(path))
        return _OURS.search(message) is not None

    def _same(self, one: str, other: str) -> bool:
        """Return whether two commits have the same content and parents, whenever they were made."""
        return self._git("log", "-1", "--format=%T %P", one, "--") == self._git("log", "-1", "--format=%T %P", other, "--")


def _address(git: Git, remote: str, credentials: GitCredentials | None) -> str:
    """Return where to fetch from and push to, without user-info; a remote over ssh goes over HTTPS where there is a token."""
    if remote.startswith("-"):
        raise InvalidInput(f"'{remote}' cannot be a remote.")
    url = git.tries("remote", "get-url", "--push", remote)
    if url is None:
        if credentials is None:
            raise NotFound(f"There is no remote '{remote}' in {git.root}.", hint="git remote -v lists them.")
        return credentials.url
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    is_local = parts.scheme == "file" or Path(url).exists()
    return url if is_local or credentials is None else credentials.url


def _message(proposal: Proposal, base: str, source: str) -> str:
    subject = proposal.message or f"mlops-nb PR for {base[:8]}"
    if proposal.skip_ci or not (proposal.message or proposal.merge):
        subject += " [skip ci]"
    return f"{subject}\n\n{TRAILER}: {source}\n"


def _pull_request(forge: Forge, *, source: str, target: str, base: str, proposal: Proposal) -> PullRequest:
    open_one = next((one for one in forge.pull_requests(source=source, target=target) if not one.from_fork), None)
    if open_one is None:
        title = proposal.title or f"mlops-nb PR for {target} {base[:8]}"
        body = proposal.body or f"Automated commits for {forge.commit_url(base)} created by mlops-nb."
        return forge.create_pull_request(source=source, target=target, title=title, body=body)
    title_changes = bool(proposal.title) and proposal.title != open_one.title
    body_changes = bool(proposal.body) and proposal.body != open_one.body
    if not (title_changes or body_changes):
        return open_one
    return forge.update_pull_request(open_one.number, title=proposal.title or None, body=proposal.body or None)


def _merged(forge: Forge, found: PullRequest, proposal: Proposal) -> str:
    """Merge as asked; return what went wrong, or "": the pull request is there in any case."""
    if proposal.merge is None:
        return ""
    try:
        done = forge.merge_pull_request(found.number, mode=proposal.merge, when_checks_pass=True)
    except MlopsError as error:
        return f"The pull request is not merged: {error}"
    log.info(
        "%s%s",
        "Merged." if done.state == "merged" else "It is merged as soon as the checks pass.",
        f" {done.reason}" if done.reason else "",
    )
    return ""
