"""Bitbucket Cloud: REST API 2.0.

Source: developer.atlassian.com/cloud/bitbucket/rest. What it cannot do, and what is done instead:

- Markdown has no HTML, so `<!-- -->` is shown; a link definition, `[//]: # (text)`, is not.
- The pull requests of a commit are known only where the app "Pull Request Commit Links" is installed; else those are
  taken whose newest commit it is.
- There is no request to merge later: what still runs is waited for, for a while.
- An access token may not ask who it is (BCLOUD-23528): its comments are known by being the ones that it may change.
- Pipelines are run again as a whole.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, Final, Unpack

import msgspec

from mlops_nb.forges import bitbucket_merging, bitbucket_reports
from mlops_nb.forges.base import (
    AssetFile,
    Check,
    Comment,
    ForgeKind,
    ForgeNotFound,
    ForgeNotSupported,
    GitCredentials,
    Limits,
    Merge,
    MergeMode,
    NotAuthenticated,
    PermissionMissing,
    PostedCheck,
    PullRequest,
    PullRequestState,
    RequestRefused,
    Target,
)
from mlops_nb.forges.client import PER_PAGE, ForgeClient, PatienceOptions, part
from mlops_nb.forges.context import Context
from mlops_nb.forges.lost import fitting, once, poll, same_comment
from mlops_nb.forges.tokens import Token

log = logging.getLogger(__name__)

IMAGES: Final = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}
LIMITS: Final = Limits(
    # Nowhere documented for the cloud: what Bitbucket's server takes. Longer ones were seen to be accepted.
    comment_characters=32_768,
    check_summary_characters=bitbucket_reports.DETAILS_CHARACTERS,
    check_annotations=bitbucket_reports.ANNOTATIONS,
    asset_bytes=100 * 1024 * 1024,
    asset_mimes=frozenset(IMAGES),
)
TITLE_CHARACTERS: Final = 255
PULL_REQUESTS_PER_PAGE: Final = 50
STOP_SECONDS: Final = 120.0
NO_ISSUES: Final = "Bitbucket's issue trackers have come to their end: comment on a pull request or a commit."
THIS_TOKEN: Final = "this access token"
"""The author of what an access token wrote, as long as only Bitbucket knows the account behind it."""
_STATES: Final[dict[PullRequestState, tuple[str, ...]]] = {
    "open": ("OPEN",),
    "closed": ("MERGED", "DECLINED", "SUPERSEDED"),
    "all": ("OPEN", "MERGED", "DECLINED", "SUPERSEDED"),
}
_TARGET_FIELDS: Final = (
    *("type", "ref_type", "ref_name", "selector", "commit"),
    *("source", "destination", "destination_commit", "pullrequest"),
)


def headers(token: Token | None) -> Callable[[], Mapping[str, str]]:
    """Return what gives the headers that authenticate with a token: Basic with a user or e-mail address, else Bearer."""
    if token is None:
        return dict
    if token.kind in ("bitbucket-api", "bitbucket-password"):
        return lambda: {"Authorization": f"Basic {base64.b64encode(f'{token.user}:{token.secret.reveal()}'.encode()).decode()}"}
    return lambda: {"Authorization": f"Bearer {token.secret.reveal()}"}


class Bitbucket:
    """One repository on Bitbucket Cloud. See `base.Forge` for the contract.

    Args:
        context: Where the repository is.
        token: What to ask with; None asks as nobody, which reads public repositories only.
        patience: Clock, sleep and tell of the client, for `ForgeClient`.
    """

    kind: ForgeKind = "bitbucket"
    limits = LIMITS

    def __init__(self, context: Context, token: Token | None, **patience: Unpack[PatienceOptions]) -> None:
        self.repository = context.repository
        self.web_url = f"{context.server_url}/{context.repository}"
        source = token.source if token else None
        self.client = ForgeClient("bitbucket", context.api_url, headers(token), source=source, **patience)
        self._token, self._context = token, context
        self._base = "repositories/" + "/".join(part(each) for each in context.repository.split("/"))
        self._me: str | None = None
        self._others: set[str] = set()
        self._stored: dict[str, str] = {}
        self._reports = bitbucket_reports.Reports(self.client, context, self._base, self.web_url)
        if token is not None and token.kind == "bitbucket-password":
            log.warning("App passwords have come to their end at Bitbucket on 2026-07-28: make an access token of the repository.")

    @property
    def _is_nameless(self) -> bool:
        return self._token is not None and self._token.kind not in ("bitbucket-api", "bitbucket-password")

    def whoami(self) -> str:
        """Return the account's UUID; `THIS_TOKEN` for access tokens."""
        if self._is_nameless:
            return THIS_TOKEN
        if self._me is None:
            self._me = str(self.client.get("user", what="tell whose token it is")["uuid"])
        return self._me

    def default_branch(self) -> str:
        found = self.client.get(self._base, what=f"show the repository {self.repository}")
        if not found.get("mainbranch"):
            raise ForgeNotFound(f"The repository {self.repository} has no main branch: it is empty.", hint="Push a first commit.")
        return str(found["mainbranch"]["name"])

    def branch_commit(self, branch: str) -> str | None:
        params = {"q": f"name = {_quoted(branch)}", "pagelen": 2}
        listed = self.client.get(f"{self._base}/refs/branches", what=f"show the branch {branch}", params=params)
        return next((str(one["target"]["hash"]) for one in listed["values"] if one["name"] == branch), None)

    def commit_url(self, commit: str) -> str:
        return f"{self.web_url}/commits/{commit}"

    # Pull requests

    def pull_request(self, number: int) -> PullRequest:
        return self._pull_request(self.client.get(f"{self._base}/pullrequests/{number}", what=f"show pull request {number}"), whole=True)

    def pull_requests(
        self, *, source: str | None = None, target: str | None = None, state: PullRequestState = "open"
    ) -> Iterator[PullRequest]:
        """Iterate over pull requests. Their commits have 12 digits, except those that are known here in full."""
        of_fork = source is not None and ":" in source
        clauses = [" OR ".join(f'state = "{one}"' for one in _STATES[state])]
        clauses = [f"({clauses[0]})" if " OR " in clauses[0] else clauses[0]]
        if source is not None:
            clauses.append(f"source.branch.name = {_quoted(source.rpartition(':')[2])}")
        if target is not None:
            clauses.append(f"destination.branch.name = {_quoted(target)}")
        params = {"q": " AND ".join(clauses), "sort": "-created_on", "pagelen": PULL_REQUESTS_PER_PAGE}
        for found in self.client.pages(f"{self._base}/pullrequests", what="list pull requests", params=params, items="values"):
            one = self._pull_request(found)
            if source is None or one.from_fork == of_fork:
                yield one

    def pull_requests_of(self, commit: str) -> list[PullRequest]:
        """Return the open pull requests with the commit; without the app for it, those whose newest commit it is."""
        path = f"{self._base}/commit/{part(commit)}/pullrequests"
        what = f"list the pull requests of commit {commit[:12]}"
        try:
            answer = self.client.send("GET", path, what=what, params={"pagelen": PULL_REQUESTS_PER_PAGE})
            indexed = answer.status == 200
        except ForgeNotFound:
            indexed = False
        if indexed:
            params = {"pagelen": PULL_REQUESTS_PER_PAGE}
            listed = (
                answer.json()["values"]
                if "next" not in answer.json()
                else self.client.pages(path, what=what, params=params, items="values")
            )
            found = [self._pull_request(one, commit) for one in listed]
        else:
            log.info(
                "Bitbucket does not know the pull requests of commits: for it, a workspace's admin opens the branches of a commit's page "
                "and installs the app 'Pull Request Commit Links'. Looked for one whose newest commit is %s.",
                commit[:12],
            )
            found = [one for one in self.pull_requests() if one.commit and commit.startswith(one.commit)]
            found = [self.pull_request(one.number) for one in found]
        return sorted((one for one in found if one.open), key=lambda one: one.commit != commit)

    def create_pull_request(self, *, source: str, target: str, title: str, body: str, draft: bool = False) -> PullRequest:
        """Open a pull request. Bitbucket would put the new title into one that is open, so that is looked for first."""

        def find() -> PullRequest | None:
            return next((self.pull_request(one.number) for one in self.pull_requests(source=source, target=target)), None)

        def create() -> PullRequest:
            sent: dict[str, Any] = {
                "title": title[:TITLE_CHARACTERS],
                "description": body,
                "source": _branch(source),
                "destination": _branch(target),
            }
            made = self.client.post(
                f"{self._base}/pullrequests",
                sent | ({"draft": True} if draft else {}),
                what=f"open a pull request from {source} to {target}",
            )
            return self._pull_request(made, whole=True)

        return find() or once(create, find)

    def update_pull_request(self, number: int, *, title: str | None = None, body: str | None = None) -> PullRequest:
        sent = {"title": title and title[:TITLE_CHARACTERS], "description": body}
        changed = {name: value for name, value in sent.items() if value is not None}
        what = f"change pull request {number}"
        return self._pull_request(self.client.put(f"{self._base}/pullrequests/{number}", changed, what=what), whole=True)

    def merge_pull_request(
        self, number: int, *, mode: MergeMode = "merge", when_checks_pass: bool = True, message: str | None = None
    ) -> Merge:
        """Merge, after the builds of the pull request where they end soon; a failed one is a refusal."""
        return bitbucket_merging.merge(self.client, self._base, number, mode=mode, when_checks_pass=when_checks_pass, message=message)

    def _pull_request(self, found: Mapping[str, Any], commit: str | None = None, *, whole: bool = False) -> PullRequest:
        end, state = found["source"], found["state"]
        head = str((end.get("commit") or {}).get("hash", ""))
        known = [one for one in (commit, self._context.commit) if one and head and one.startswith(head)]
        if known:
            head = known[0]
        elif whole and head and state == "OPEN":
            of = (end.get("repository") or {}).get("full_name") or self.repository
            base = "repositories/" + "/".join(part(each) for each in str(of).split("/"))
            head = (
                str(self.client.get(f"{base}/commit/{part(head)}", what=f"show commit {head}")["hash"]) if of == self.repository else head
            )
        return PullRequest(
            number=int(found["id"]),
            url=str(found["links"]["html"]["href"]),
            source=str(end["branch"]["name"]),
            target=str(found["destination"]["branch"]["name"]),
            commit=head,
            title=str(found["title"]),
            body=str(found.get("description") or ""),
            open=state == "OPEN",
            merged=state == "MERGED",
            draft=bool(found.get("draft")),
            from_fork=(end.get("repository") or {}).get("full_name") != self.repository,
            author=str((found.get("author") or {}).get("uuid", "")),
        )

    # Comments

    def comments(self, target: Target) -> Iterator[Comment]:
        path, what = self._comments(target), f"list the comments of {target}"
        for found in self.client.pages(path, what=what, params={"pagelen": PER_PAGE, "sort": "created_on"}, items="values"):
            if not found.get("deleted"):
                yield self._comment(found, target)

    def create_comment(self, target: Target, body: str) -> Comment:
        sent = _content(fitting(body, LIMITS.comment_characters, "Bitbucket"))
        begun = self.client.clock()

        def create() -> Comment:
            try:
                made = self.client.post(self._comments(target), sent, what=f"add a comment to {target}")
            except ForgeNotFound as error:
                if target.kind != "issue":
                    raise
                raise ForgeNotSupported(
                    f"{self.repository} has no issue {target.ref} on Bitbucket, or no issue tracker.", hint=NO_ISSUES, status=404
                ) from error
            self._learn(made)
            return self._comment(made, target)

        return once(create, lambda: same_comment(self.comments(target), self.whoami(), body, begun))

    def update_comment(self, comment: Comment, body: str) -> Comment:
        sent = _content(fitting(body, LIMITS.comment_characters, "Bitbucket"))
        return self._comment(self.client.put(self._one(comment), sent, what=f"change a comment of {comment.target}"), comment.target)

    def delete_comment(self, comment: Comment) -> None:
        try:
            self.client.delete(self._one(comment), what=f"delete a comment of {comment.target}")
        except ForgeNotFound:
            return  # gone already

    def _comments(self, target: Target) -> str:
        place = {"pr": "pullrequests", "issue": "issues", "commit": "commit"}[target.kind]
        return f"{self._base}/{place}/{part(target.ref)}/comments"

    def _one(self, comment: Comment) -> str:
        return f"{self._comments(comment.target)}/{part(comment.id)}"

    def _comment(self, found: Mapping[str, Any], target: Target) -> Comment:
        comment = Comment(
            id=str(found["id"]),
            body=str((found.get("content") or {}).get("raw") or ""),
            url=str(found["links"]["html"]["href"]) if "html" in found.get("links", {}) else self.web_url,
            author=str((found.get("user") or {}).get("uuid", "")),
            target=target,
            created=str(found.get("created_on") or ""),
            updated=str(found.get("updated_on") or ""),
        )
        return self._with_author(comment, found.get("user") or {})

    def _learn(self, made: Mapping[str, Any]) -> None:
        if self._is_nameless:
            self._me = str((made.get("user") or {}).get("uuid", "")) or None

    def _with_author(self, comment: Comment, user: Mapping[str, Any]) -> Comment:
        """Return a comment whose author is THIS_TOKEN where an access token may change it.

        Bitbucket lets nobody change another's comment, so that setting a comment to the text that it has tells whose it is.
        That is done once for each access token that has written here, and never to what people wrote.
        """
        if not self._is_nameless or user.get("type") != "app_user" or comment.author in self._others:
            return comment
        if self._me is None:
            try:
                self.client.put(self._one(comment), _content(comment.body), what="tell whose comment it is")
            except (PermissionMissing, ForgeNotFound, RequestRefused):
                self._others.add(comment.author)
                return comment
            self._me = comment.author
        return msgspec.structs.replace(comment, author=THIS_TOKEN) if comment.author == self._me else comment

    # Checks, files, pipelines

    def set_check(self, check: Check, id: str | None = None) -> PostedCheck:
        """Set a build status, and a Code Insights report with the check's summary and annotations."""
        return self._reports.set(check, is_update=id is not None)

    def publish(self, files: Sequence[AssetFile]) -> list[str]:
        """Put files into the repository's downloads; images only where Bitbucket shows their kind in a comment.

        Their addresses are pages of the web site: a browser that is signed in shows them, mails and other programs do not.
        """
        return [self._put(file) for file in files]

    def _put(self, file: AssetFile) -> str:
        if file.mime.startswith("image/") and file.mime not in IMAGES:
            raise ForgeNotSupported(
                f"{file.name} is {file.mime}, which Bitbucket would not show in a comment.", hint="Give PNG, JPEG, GIF or WebP."
            )
        suffix = IMAGES.get(file.mime) or re.sub(r"[^a-z0-9]", "", PurePosixPath(file.name).suffix.lower())[:10] or "bin"
        name = f"mlops-{sha256(file.content).hexdigest()[:40]}.{suffix}"
        if name not in self._stored:
            form = {"files": (name, file.content, file.mime)}
            self.client.send("POST", f"{self._base}/downloads", what=f"upload {file.name}", files=form, repeatable=True)
            self._stored[name] = f"{self.web_url}/downloads/{name}"
        return self._stored[name]

    def rerun(self, run_id: str, *, failed_only: bool = True) -> str:
        """Start a new pipeline on the same target, of all steps; a running one is stopped first."""
        path = f"{self._base}/pipelines/{part(run_id)}"

        def get() -> dict[str, Any]:
            found: dict[str, Any] = self.client.get(path, what=f"show the pipeline {run_id}")
            return found

        found = get()
        if found["state"]["name"] != "COMPLETED":
            try:
                self.client.post(f"{path}/stopPipeline", what=f"stop the pipeline {run_id}", repeatable=True)
            except RequestRefused:
                log.info("Bitbucket did not stop the pipeline %s: it may have ended.", run_id)
            stopped = poll(self.client, STOP_SECONDS, lambda: one if (one := get())["state"]["name"] == "COMPLETED" else None)
            if stopped is None:
                raise RequestRefused(
                    f"The pipeline {run_id} did not stop within {STOP_SECONDS:.0f} s.", hint="Stop it by hand, and try again."
                )
        target = {name: found["target"][name] for name in _TARGET_FIELDS if found["target"].get(name) is not None}
        target = {
            name: _short(value) if name in ("commit", "destination_commit", "pullrequest") else value for name, value in target.items()
        }
        started = self.client.post(f"{self._base}/pipelines", {"target": target}, what=f"run the pipeline {run_id} again")
        return f"{self.web_url}/pipelines/results/{started['build_number']}"

    def git_credentials(self) -> GitCredentials:
        if self._token is None:
            raise NotAuthenticated(f"There is no token to push to {self.web_url} with.", hint="Set BITBUCKET_TOKEN.")
        users = {"bitbucket-api": "x-bitbucket-api-token-auth", "bitbucket-password": self._token.user or ""}
        user = users.get(self._token.kind, "x-token-auth")
        return GitCredentials(url=f"{self.web_url}.git", username=user, password=self._token.secret.reveal())


def _quoted(text: str) -> str:
    """Return a text as a value of Bitbucket's query language."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _content(body: str) -> dict[str, Any]:
    return {"content": {"raw": body}}


def _branch(name: str) -> dict[str, Any]:
    return {"branch": {"name": name}}


def _short(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[name] for name in ("type", "hash", "id") if name in value}
