"""A project of the loopback GitLab: who asks, pages, branches, statuses, uploads and pipelines."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from tests.forges.contract import contract
from tests.forges.git_http import serve
from tests.forges.git_repository import GitRepository
from tests.forges.gitlab_records import JOB_TOKEN_MAY, NEEDS_DEVELOPER, PROJECT_ID, ROLES, Account, MergeRequest, Note, Pipeline
from tests.forges.multipart import uploaded
from tests.forges.server import LoopbackForge, Reply, Request, route


class GitLabProject(LoopbackForge):
    """Answers for the project `path`; every other one is not there."""

    contract: ClassVar[Any] = contract("gitlab")

    def __init__(self, git: Path | GitRepository, *, path: str = "group/sub/project", root: str = "") -> None:
        self.git = git if isinstance(git, GitRepository) else GitRepository(git)
        self.path, self.root = path, root
        self.accounts = {"glpat-loopback": Account("ci-bot")}
        self.merge_requests: dict[int, MergeRequest] = {}
        self.notes: list[Note] = []
        self.statuses: list[dict[str, Any]] = []
        self.pipelines: dict[int, Pipeline] = {}
        self.uploads: dict[str, bytes] = {}
        self.issues: set[int] = {1}
        self.only_with_pipeline = False
        self.merge_method = "merge"
        self._next = 100
        super().__init__(root + "/api/v4")
        self.web = f"{self.origin}{root}"

    def number(self) -> int:
        self._next += 1
        return self._next

    def before(self, request: Request) -> None:
        token = request.headers.get("PRIVATE-TOKEN") or request.headers.get("JOB-TOKEN")
        token = token or request.headers.get("Authorization", "").removeprefix("Bearer ")
        account = self.accounts.get(token or "")
        if account is None or account.job != ("JOB-TOKEN" in request.headers):
            raise Reply({"message": "401 Unauthorized"}, 401)
        if account.job and (request.method, request.template) not in JOB_TOKEN_MAY:
            raise Reply({"message": "401 Unauthorized"}, 401)
        if not account.job and "api" not in account.scopes and (request.method != "GET" or "read_api" not in account.scopes):
            described = "The request requires higher privileges than provided by the access token."
            raise Reply({"error": "insufficient_scope", "error_description": described, "scope": "api"}, 403)
        self.me = account
        if "id" in request.params and request.params["id"] not in (self.path, str(PROJECT_ID)):
            raise Reply({"message": "404 Project Not Found"}, 404)
        writes = request.method != "GET" and any(part in request.template for part in NEEDS_DEVELOPER)
        if writes and ROLES.index(account.role) < ROLES.index("developer"):
            raise Reply({"message": "403 Forbidden"}, 403)

    def other(self, request: Request) -> Reply:
        writers = {token: ROLES.index(one.role) >= ROLES.index("developer") and not one.job for token, one in self.accounts.items()}
        return serve(self.git, request, f"{self.root}/{self.path}.git", writers) or super().other(request)

    def paged(self, request: Request, items: Sequence[Any]) -> Reply:
        page, size = int(request.one("page", "1")), min(int(request.one("per_page", "20")), 100)
        last = max(1, -(-len(items) // size))
        following = str(page + 1) if page < last else ""
        headers = {"X-Next-Page": following, "X-Page": str(page), "X-Per-Page": str(size), "X-Total": str(len(items))}
        if following:
            # As behind a proxy that GitLab has not been told of: the address in the link is of no use from outside.
            headers["Link"] = f'<http://gitlab.internal:8080/api/v4{request.path}?page={following}&per_page={size}>; rel="next"'
        return Reply(items[(page - 1) * size : page * size], headers=headers)

    def user(self, name: str) -> dict[str, Any]:
        number = int(hashlib.sha256(name.encode()).hexdigest()[:6], 16)
        return {"id": number, "username": name, "name": name.title(), "state": "active", "web_url": f"{self.web}/{name}"}

    @route("GET", "/user")
    def current_user(self, request: Request) -> Reply:
        return Reply(self.user(self.me.username))

    @route("GET", "/metadata")
    def metadata(self, request: Request) -> Reply:
        return Reply({"version": "18.5.1", "revision": "0123abc"})

    @route("GET", "/projects/{id}")
    def project(self, request: Request) -> Reply:
        url = f"{self.web}/{self.path}"
        return Reply(
            {
                "id": PROJECT_ID,
                "path_with_namespace": self.path,
                "web_url": url,
                "http_url_to_repo": f"{url}.git",
                "default_branch": self.git.default_branch,
                "merge_method": self.merge_method,
                "only_allow_merge_if_pipeline_succeeds": self.only_with_pipeline,
            }
        )

    @route("GET", "/projects/{id}/repository/branches/{branch}")
    def branch(self, request: Request) -> Reply:
        commit = self.git.resolve(f"refs/heads/{request.params['branch']}")
        if commit is None:
            return Reply({"message": "404 Branch Not Found"}, 404)
        return Reply({"name": request.params["branch"], "commit": {"id": commit}})

    # Statuses, uploads, pipelines

    def shown_status(self, one: dict[str, Any]) -> dict[str, Any]:
        return {**one, "allow_failure": False, "author": self.user(self.me.username)}

    @route("GET", "/projects/{id}/repository/commits/{sha}/statuses")
    def list_statuses(self, request: Request) -> Reply:
        found = [one for one in self.statuses if one["sha"] == request.params["sha"] and request.one("name", one["name"]) == one["name"]]
        newest = {(one["name"], one["ref"]): one for one in found}.values()
        return self.paged(request, [self.shown_status(one) for one in newest])

    @route("POST", "/projects/{id}/statuses/{sha}")
    def set_status(self, request: Request) -> Reply:
        sent, sha = request.json(), self.git.resolve(request.params["sha"])
        if sha is None:
            return Reply({"message": "404 Commit Not Found"}, 404)
        if "pipeline_id" in sent and (sent["pipeline_id"] not in self.pipelines or self.pipelines[sent["pipeline_id"]].sha != sha):
            return Reply({"message": "404 Pipeline for pipeline_id, sha and ref Not Found"}, 404)
        for name in ("description", "target_url"):
            if len(sent.get(name) or "") > 255:
                return Reply({"message": {name: ["is too long (maximum is 255 characters)"]}}, 400)
        name, state = sent.get("name", "default"), sent["state"]
        ref = sent.get("ref") or next((one.ref for one in self.pipelines.values() if one.sha == sha), self.git.default_branch)
        live = [
            one
            for one in self.statuses
            if (one["sha"], one["name"], one["ref"]) == (sha, name, ref) and one["status"] in ("pending", "running")
        ]
        if live and (state == live[0]["status"] or state == "pending"):
            event = {"pending": "enqueue", "running": "run"}[state]
            why = f'Cannot transition status via :{event} from :{live[0]["status"]} (Reason(s): Status cannot transition via "{event}")'
            return Reply({"message": why}, 400)
        one = live[0] if live else {"id": self.number(), "sha": sha, "ref": ref, "name": name, "target_url": None, "description": None}
        one |= {"status": state, **{key: sent[key] for key in ("target_url", "description") if key in sent}}
        if not live:
            self.statuses.append(one)
        return Reply(self.shown_status(one), 201)

    @route("POST", "/projects/{id}/uploads")
    def upload(self, request: Request) -> Reply:
        name, content = uploaded(request, "file")
        if not name:
            return Reply({"error": "file is invalid"}, 400)
        secret = hashlib.md5(f"{self.number()}".encode(), usedforsecurity=False).hexdigest()
        url = f"/uploads/{secret}/{name}"
        self.uploads[url] = content
        full = f"/-/project/{PROJECT_ID}{url}"
        return Reply({"id": self.number(), "alt": name, "url": url, "full_path": full, "markdown": f"![{name}]({url})"}, 201)

    def add_pipeline(self, sha: str, ref: str, status: str = "running") -> Pipeline:
        made = Pipeline(self.number(), sha, ref, status)
        self.pipelines[made.id] = made
        return made

    @route("GET", "/projects/{id}/pipelines/{pipeline_id}")
    @route("POST", "/projects/{id}/pipelines/{pipeline_id}/cancel")
    @route("POST", "/projects/{id}/pipelines/{pipeline_id}/retry")
    def pipeline(self, request: Request) -> Reply:
        one = self.pipelines.get(int(request.params["pipeline_id"]))
        if one is None:
            return Reply({"message": "404 Not found"}, 404)
        verb = request.template.rpartition("/")[2]
        if verb in ("cancel", "retry"):
            one.history.append(f"{verb} while {one.status}")
            one.status = "canceling" if verb == "cancel" else "running"
        elif one.status == "canceling":
            one.polls_until_stopped -= 1
            one.status = "canceling" if one.polls_until_stopped > 0 else "canceled"
        return Reply(self.shown_pipeline(one), 201 if verb == "retry" else 200)

    def shown_pipeline(self, one: Pipeline) -> dict[str, Any]:
        url = f"{self.web}/{self.path}/-/pipelines/{one.id}"
        return {"id": one.id, "status": one.status, "ref": one.ref, "sha": one.sha, "web_url": url}

    @route("POST", "/projects/{id}/pipeline")
    def new_pipeline(self, request: Request) -> Reply:
        ref = request.json()["ref"]
        sha = self.git.resolve(f"refs/heads/{ref}")
        if sha is None:
            return Reply({"message": {"base": ["Reference not found"]}}, 400)
        return Reply(self.shown_pipeline(self.add_pipeline(sha, ref, "created")), 201)
