"""A Bitbucket Cloud on the loopback interface: pull requests, comments, reports, downloads and pipelines of one repository.

Comments carry `content.html` as Bitbucket renders it: Python-Markdown with raw HTML escaped. Deleted comments stay in
the lists, marked; commits of pull requests are abbreviated to 12 digits; access tokens have no `/user`.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from tests.forges.bitbucket_records import SCOPES, Account, Comment, Pipeline, PullRequest, refused, rendered
from tests.forges.bitbucket_runners import WORKSPACE_UUID, BitbucketRunners
from tests.forges.contract import contract
from tests.forges.git_http import serve
from tests.forges.git_repository import GitRepository
from tests.forges.merging import CannotMerge, merge, rebase
from tests.forges.multipart import uploaded
from tests.forges.server import Reply, Request, route


class LoopbackBitbucket(BitbucketRunners):
    """Answers for the repository `full_name`; every other one is not there."""

    contract: ClassVar[Any] = contract("bitbucket")

    def __init__(self, git: Path | GitRepository, *, full_name: str = "team/project") -> None:
        self.git = git if isinstance(git, GitRepository) else GitRepository(git)
        self.full_name = full_name
        self.accounts = {"ATCTT-loopback": Account("ci-bot")}
        self.pull_requests: dict[int, PullRequest] = {}
        self.comments: list[Comment] = []
        self.statuses: dict[tuple[str, str], dict[str, Any]] = {}
        self.reports: dict[tuple[str, str], dict[str, Any]] = {}
        self.annotations: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self.downloads: dict[str, bytes] = {}
        self.pipelines: dict[str, Pipeline] = {}
        self.links_app = True
        self.has_issues = True
        self._next = 100
        super().__init__("/2.0")

    def number(self) -> int:
        self._next += 1
        return self._next

    def authenticated(self, request: Request) -> Account:
        kind, _, secret = request.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            import base64

            name, _, secret = base64.b64decode(secret).decode().partition(":")
            account = self.accounts.get(secret)
            if account and account.email == name:
                return account
        elif kind == "Bearer" and secret in self.accounts and self.accounts[secret].email is None:
            return self.accounts[secret]
        raise refused("Token is invalid, expired, or not supported for this endpoint.", 401)

    def before(self, request: Request) -> None:
        self.me = self.authenticated(request)
        if request.template == "/user":
            if self.me.email is None:
                raise refused("Token is invalid or not supported for this endpoint.", 403)
            return
        wanted = f"{request.params['workspace']}/{request.params['repo']}" if "repo" in request.params else request.params["workspace"]
        if wanted not in (self.full_name, self.full_name.split("/")[0]):
            raise refused("You may not have access to this repository or it no longer exists in this workspace.", 404)
        reading, writing = next(
            (read, write) for part, read, write in SCOPES if part in request.template.replace("/commit/{commit}/pullrequests", "")
        )
        needed = (reading if request.method == "GET" else writing)[self.me.email is None]
        if needed not in self.me.scopes:
            message = "Your credentials lack one or more required privilege scopes."
            raise refused(message, 403, granted=list(self.me.scopes), required=[needed])

    def paged(self, request: Request, items: Sequence[Any], *, most: int = 100, usual: int = 10) -> Reply:
        page, size = int(request.one("page", "1")), int(request.one("pagelen", str(usual)))
        if size > most:
            return refused("Invalid pagelen", 400)
        body: dict[str, Any] = {"values": items[(page - 1) * size : page * size], "pagelen": size, "page": page}
        if page * size < len(items):
            query = {name: values for name, values in request.query.items() if name != "page"} | {"page": [str(page + 1)]}
            body["next"] = f"{self.url}{request.path}?{urlencode(query, doseq=True)}"
        return Reply(body)

    def user(self, name: str) -> dict[str, Any]:
        """Return an account as comments have it: people, and the accounts of access tokens, which have no nickname."""
        shown = {"uuid": Account(name).uuid, "display_name": name.title()}
        if any(account.name == name and account.email is None for account in self.accounts.values()):
            return {"type": "app_user", "kind": "repository_access_token", **shown}
        return {"type": "user", "nickname": name, **shown}

    def html_url(self, path: str) -> dict[str, Any]:
        return {"html": {"href": f"{self.origin}/{self.full_name}{path}"}}

    def other(self, request: Request) -> Reply:
        """Speak git and with runners, and show a download to whoever is signed in, as the web site does."""
        if (step := self.take_step(request)) is not None:
            return step
        writers = {token: any("repository" in one and "write" in one for one in who.scopes) for token, who in self.accounts.items()}
        answer = serve(self.git, request, f"/{self.full_name}.git", writers)
        if answer is not None:
            return answer
        name = request.path.removeprefix(f"/{self.full_name}/downloads/")
        if name in self.downloads:
            return Reply(self.downloads[name], headers={"Content-Type": "application/octet-stream"})
        return refused("Resource not found", 404)

    @route("GET", "/user")
    def current_user(self, request: Request) -> Reply:
        return Reply(self.user(self.me.name))

    @route("GET", "/repositories/{workspace}/{repo}")
    def repository(self, request: Request) -> Reply:
        main = {"type": "branch", "name": self.git.default_branch}
        shown = {
            "type": "repository",
            "full_name": self.full_name,
            "uuid": "{1}",
            "workspace": {"type": "workspace", "uuid": WORKSPACE_UUID, "slug": self.full_name.split("/")[0]},
            "is_private": True,
            "mainbranch": main,
            "links": self.html_url(""),
        }
        return Reply(shown)

    @route("GET", "/repositories/{workspace}/{repo}/refs/branches")
    def branches(self, request: Request) -> Reply:
        wanted = self.wanted(request).get("name")
        lines = self.git.git("for-each-ref", "--format=%(objectname) %(refname:strip=2)", "refs/heads").splitlines()
        found = [line.split(" ", 1) for line in lines if not wanted or line.split(" ", 1)[1] in wanted]
        return self.paged(request, [{"type": "branch", "name": name, "target": {"type": "commit", "hash": sha}} for sha, name in found])

    @route("GET", "/repositories/{workspace}/{repo}/commit/{commit}")
    def commit(self, request: Request) -> Reply:
        return Reply({"type": "commit", "hash": self.place(request)[1]})

    def wanted(self, request: Request) -> dict[str, list[str]]:
        """Read the query language, as far as it is in use: `a = "b" AND (c = "d" OR c = "e")`."""
        wanted: dict[str, list[str]] = {}
        for group in request.one("q").split(" AND ") if request.one("q") else ():
            for clause in group.strip("()").split(" OR "):
                match = re.fullmatch(r'([a-z.]+) = "((?:[^"\\]|\\.)*)"', clause)
                if match is None:
                    raise refused(f"Invalid query: {clause}", 400)
                wanted.setdefault(match[1], []).append(re.sub(r"\\(.)", r"\1", match[2]))
        return wanted

    # Pull requests

    def open_pull_request(self, source: str, target: str = "main", title: str = "A change", **more: Any) -> PullRequest:
        made = PullRequest(len(self.pull_requests) + 1, source, target, title, **more)
        self.pull_requests[made.id] = made
        return made

    def head(self, one: PullRequest) -> str | None:
        return one.fork_commit or self.git.resolve(f"refs/heads/{one.source}")

    def shown(self, one: PullRequest) -> dict[str, Any]:
        head = self.head(one)
        return {
            "type": "pullrequest",
            "id": one.id,
            "title": one.title,
            "description": one.description,
            "state": one.state,
            "draft": one.draft,
            "author": self.user(one.author),
            "source": {
                "branch": {"name": one.source},
                "commit": head and {"hash": head[:12]},
                "repository": {"full_name": one.fork or self.full_name},
            },
            "destination": {"branch": {"name": one.target}, "commit": None, "repository": {"full_name": self.full_name}},
            "merge_commit": one.merge_commit and {"hash": one.merge_commit[:12]},
            "links": self.html_url(f"/pull-requests/{one.id}"),
        }

    def find(self, request: Request) -> PullRequest:
        found = self.pull_requests.get(int(request.params["number"]))
        if found is None:
            raise refused("Pull request not found", 404)
        return found

    @route("GET", "/repositories/{workspace}/{repo}/commit/{commit}/pullrequests")
    def of_commit(self, request: Request) -> Reply:
        if not self.links_app:
            return refused("Repository is not indexed by the Pull Request Commit Links app", 404)
        commit = self.git.resolve(request.params["commit"])
        if commit is None:
            return refused("Commit not found", 404)
        return self.paged(
            request, [self.shown(one) for one in self.pull_requests.values() if self.git.contains(one.source, commit)], most=50
        )

    @route("GET", "/repositories/{workspace}/{repo}/pullrequests")
    def list_pull_requests(self, request: Request) -> Reply:
        wanted, chosen = self.wanted(request), list(reversed(self.pull_requests.values()))
        for name, of in (("source.branch.name", "source"), ("destination.branch.name", "target")):
            if name in wanted:
                chosen = [one for one in chosen if getattr(one, of) in wanted[name]]
        states = wanted.get("state") or request.query.get("state", ["OPEN"])
        return self.paged(request, [self.shown(one) for one in chosen if one.state in states], most=50)

    @route("POST", "/repositories/{workspace}/{repo}/pullrequests")
    def create_pull_request(self, request: Request) -> Reply:
        sent = request.json()
        source = sent["source"]["branch"]["name"]
        target = sent.get("destination", {}).get("branch", {}).get("name", self.git.default_branch)
        if self.git.resolve(f"refs/heads/{source}") is None:
            return Reply(
                {"type": "error", "error": {"message": "source.branch.name: branch not found", "fields": {"source": ["branch not found"]}}},
                400,
            )
        if self.git.contains(target, str(self.git.resolve(f"refs/heads/{source}"))):
            return refused("There are no changes to be pulled", 400)
        # Bitbucket does not make a second pull request between two branches: it updates the first.
        for one in self.pull_requests.values():
            if (one.source, one.target, one.state) == (source, target, "OPEN"):
                one.title, one.description = sent["title"], sent.get("description", "")
                return Reply(self.shown(one), 201)
        more = {"description": sent.get("description", ""), "author": self.me.name, "draft": sent.get("draft", False)}
        return Reply(self.shown(self.open_pull_request(source, target, sent["title"], **more)), 201)

    @route("GET", "/repositories/{workspace}/{repo}/pullrequests/{number}")
    def one_pull_request(self, request: Request) -> Reply:
        return Reply(self.shown(self.find(request)))

    @route("PUT", "/repositories/{workspace}/{repo}/pullrequests/{number}")
    def update_pull_request(self, request: Request) -> Reply:
        one, sent = self.find(request), request.json()
        one.title, one.description = sent.get("title", one.title), sent.get("description", one.description)
        return Reply(self.shown(one))

    @route("GET", "/repositories/{workspace}/{repo}/pullrequests/{number}/statuses")
    def pull_request_statuses(self, request: Request) -> Reply:
        head = self.head(self.find(request))
        return self.paged(request, [status for (commit, _), status in self.statuses.items() if commit == head])

    @route("POST", "/repositories/{workspace}/{repo}/pullrequests/{number}/merge")
    def merge_pull_request(self, request: Request) -> Reply:
        one, sent = self.find(request), request.json()
        if one.state != "OPEN":
            return refused("This pull request is already closed.", 400)
        strategy = sent.get("merge_strategy", "merge_commit")
        message = sent.get("message") or f"Merged in {one.source} (pull request #{one.id})"
        try:
            if strategy.startswith("rebase"):
                rebase(self.git, one.source, one.target)
            forward = "fast_forward" in strategy
            one.merge_commit = merge(self.git, one.source, one.target, message=message, squash="squash" in strategy, forward=forward)
        except CannotMerge:
            return refused("You can't merge until you resolve all merge conflicts.", 400)
        one.state = "MERGED"
        return Reply(self.shown(one))

    # Comments

    def place(self, request: Request) -> tuple[str, str]:
        if "commit" in request.params:
            commit = self.git.resolve(request.params["commit"])
            if commit is None:
                raise refused("Commit not found", 404)
            return "commit", commit
        if "/issues/" in request.template:
            if not self.has_issues:
                raise refused("Repository has no issue tracker.", 404)
            return "issue", request.params["number"]
        return "pullrequest", str(self.find(request).id)

    def add_comment(self, kind: str, ref: str, raw: str, author: str = "ada", *, deleted: bool = False) -> Comment:
        made = Comment(self.number(), (kind, ref), raw, author, deleted, time.time(), time.time())
        self.comments.append(made)
        return made

    def shown_comment(self, one: Comment) -> dict[str, Any]:
        kind, ref = one.place
        path = {"pullrequest": f"/pull-requests/{ref}", "issue": f"/issues/{ref}", "commit": f"/commits/{ref}"}[kind]
        raw = "" if one.deleted else one.raw
        times = (datetime.fromtimestamp(seconds, UTC).isoformat() for seconds in (one.time, one.updated))
        shown = {
            "type": f"{kind}_comment",
            "id": one.id,
            "content": {"raw": raw, "html": rendered(raw), "markup": "markdown"},
            "user": self.user(one.author),
            "created_on": next(times),
            "updated_on": next(times),
            "links": self.html_url(f"{path}#comment-{one.id}"),
        }
        return shown | ({} if kind == "issue" else {"deleted": one.deleted})

    @route("GET", "/repositories/{workspace}/{repo}/pullrequests/{number}/comments")
    @route("GET", "/repositories/{workspace}/{repo}/issues/{number}/comments")
    @route("GET", "/repositories/{workspace}/{repo}/commit/{commit}/comments")
    def list_comments(self, request: Request) -> Reply:
        place = self.place(request)
        found = [one for one in self.comments if one.place == place and not (one.deleted and place[0] == "issue")]
        return self.paged(request, [self.shown_comment(one) for one in found])

    def raw(self, request: Request) -> str:
        raw = str(request.json()["content"]["raw"])
        if len(raw) > 32_768:
            raise refused("content.raw: Ensure this value has at most 32768 characters", 400)
        return raw

    @route("POST", "/repositories/{workspace}/{repo}/pullrequests/{number}/comments")
    @route("POST", "/repositories/{workspace}/{repo}/issues/{number}/comments")
    @route("POST", "/repositories/{workspace}/{repo}/commit/{commit}/comments")
    def create_comment(self, request: Request) -> Reply:
        return Reply(self.shown_comment(self.add_comment(*self.place(request), self.raw(request), self.me.name)), 201)

    def own_comment(self, request: Request) -> Comment:
        place = self.place(request)
        for one in self.comments:
            if str(one.id) == request.params["comment_id"] and one.place == place and not one.deleted:
                if one.author != self.me.name:
                    raise refused("You do not have permission to edit this comment", 403)
                return one
        raise refused("Comment not found", 404)

    @route("PUT", "/repositories/{workspace}/{repo}/pullrequests/{number}/comments/{comment_id}")
    @route("PUT", "/repositories/{workspace}/{repo}/issues/{number}/comments/{comment_id}")
    @route("PUT", "/repositories/{workspace}/{repo}/commit/{commit}/comments/{comment_id}")
    def update_comment(self, request: Request) -> Reply:
        one = self.own_comment(request)
        one.raw, one.updated = self.raw(request), time.time()
        return Reply(self.shown_comment(one))

    @route("DELETE", "/repositories/{workspace}/{repo}/pullrequests/{number}/comments/{comment_id}")
    @route("DELETE", "/repositories/{workspace}/{repo}/issues/{number}/comments/{comment_id}")
    @route("DELETE", "/repositories/{workspace}/{repo}/commit/{commit}/comments/{comment_id}")
    def delete_comment(self, request: Request) -> Reply:
        self.own_comment(request).deleted = True
        return Reply(status=204)

    # Statuses, reports, downloads, pipelines

    @route("POST", "/repositories/{workspace}/{repo}/commit/{commit}/statuses/build")
    def set_status(self, request: Request) -> Reply:
        commit, sent = self.place(request)[1], request.json()
        if not sent["url"].startswith(("http://", "https://")):
            return refused("url: Enter a valid URL.", 400)
        if len(sent["key"]) > 40:
            return refused("key: Ensure this value has at most 40 characters", 400)
        shown = {"type": "build", "uuid": "{2}", "links": self.html_url(f"/commits/{commit}"), **sent}
        self.statuses[commit, sent["key"]] = shown
        return Reply(shown, 201)

    @route("PUT", "/repositories/{workspace}/{repo}/commit/{commit}/reports/{report_id}")
    def set_report(self, request: Request) -> Reply:
        key, sent = (self.place(request)[1], request.params["report_id"]), request.json()
        if len(sent["details"]) > 2000:
            return refused("The details field cannot contain more than 2000 characters.", 400)
        self.reports[key] = {"uuid": "{3}", "external_id": key[1], **sent}
        return Reply(self.reports[key])

    @route("DELETE", "/repositories/{workspace}/{repo}/commit/{commit}/reports/{report_id}")
    def delete_report(self, request: Request) -> Reply:
        key = (self.place(request)[1], request.params["report_id"])
        self.reports.pop(key, None)
        self.annotations.pop(key, None)
        return Reply(status=204)

    @route("POST", "/repositories/{workspace}/{repo}/commit/{commit}/reports/{report_id}/annotations")
    def annotate(self, request: Request) -> Reply:
        key, sent = (self.place(request)[1], request.params["report_id"]), request.json()
        if key not in self.reports:
            return refused("Report not found", 404)
        if any(len(one["summary"]) > 450 for one in sent):
            return refused("The summary field cannot contain more than 450 characters.", 400)
        kept = self.annotations.setdefault(key, {})
        if len(sent) > 100 or len({*kept, *(one["external_id"] for one in sent)}) > 1000:
            return refused("Too many annotations", 400)
        kept.update({one["external_id"]: one for one in sent})
        return Reply([{"uuid": "{4}", **one} for one in sent])

    @route("POST", "/repositories/{workspace}/{repo}/downloads")
    def upload(self, request: Request) -> Reply:
        name, content = uploaded(request, "files")
        if not name:
            return refused("files: This field is required.", 400)
        self.downloads[quote(name)] = content
        return Reply(status=201)

    def add_pipeline(self, target: dict[str, Any], state: str = "IN_PROGRESS") -> Pipeline:
        made = Pipeline("{" + str(uuid.uuid4()) + "}", len(self.pipelines) + 1, target, state)
        self.pipelines[made.uuid] = made
        return made

    def shown_pipeline(self, one: Pipeline) -> dict[str, Any]:
        state = {"name": one.state, **({"result": {"name": one.result}} if one.result else {})}
        return {"type": "pipeline", "uuid": one.uuid, "build_number": one.number, "target": one.target, "state": state}

    @route("GET", "/repositories/{workspace}/{repo}/pipelines")
    def list_pipelines(self, request: Request) -> Reply:
        return self.paged(request, [self.shown_pipeline(one) for one in reversed(self.pipelines.values())])

    @route("POST", "/repositories/{workspace}/{repo}/pipelines")
    def start_pipeline(self, request: Request) -> Reply:
        return Reply(self.shown_pipeline(self.add_pipeline(request.json()["target"], "PENDING")), 201)

    @route("GET", "/repositories/{workspace}/{repo}/pipelines/{uuid}")
    @route("POST", "/repositories/{workspace}/{repo}/pipelines/{uuid}/stopPipeline")
    def pipeline(self, request: Request) -> Reply:
        one = self.pipelines.get(request.params["uuid"])
        one = one or next((other for other in self.pipelines.values() if str(other.number) == request.params["uuid"]), None)
        if one is None:
            return refused("Pipeline not found", 404)
        if request.template.endswith("stopPipeline"):
            one.stopping = True
            return Reply(status=204)
        if one.stopping:
            one.polls_until_stopped -= 1
            one.state = "IN_PROGRESS" if one.polls_until_stopped > 0 else "COMPLETED"
        return Reply(self.shown_pipeline(one))
