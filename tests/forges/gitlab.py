"""A GitLab on the loopback interface: merge requests, notes, statuses, uploads and pipelines of one project, over a real repository.

What it does where the documentation is silent follows GitLab's source: a status that is set to the state which it has
already is refused (400), merging is refused (405) while the mergeability is being checked, and automatic merging is
refused while there is no pipeline.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from tests.forges.contract import contract
from tests.forges.git_http import serve
from tests.forges.git_repository import GitRepository
from tests.forges.gitlab_records import JOB_TOKEN_MAY, NEEDS_DEVELOPER, PROJECT_ID, ROLES, Account, MergeRequest, Note, Pipeline
from tests.forges.merging import CannotMerge, has_conflicts, merge, rebase
from tests.forges.multipart import uploaded
from tests.forges.server import LoopbackForge, Reply, Request, route


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class LoopbackGitLab(LoopbackForge):
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

    # Merge requests

    def open_merge_request(self, source: str, target: str = "main", title: str = "A change", **more: Any) -> MergeRequest:
        made = MergeRequest(len(self.merge_requests) + 1, source, target, title, **more)
        self.merge_requests[made.iid] = made
        return made

    def head(self, request: MergeRequest) -> str | None:
        return request.fork_commit or self.git.resolve(f"refs/heads/{request.source}")

    def head_pipeline(self, request: MergeRequest) -> Pipeline | None:
        head = self.head(request) if self.pipelines else None
        return next((one for one in sorted(self.pipelines.values(), key=lambda one: -one.id) if one.sha == head), None)

    def shown(self, one: MergeRequest) -> dict[str, Any]:
        pipeline = self.head_pipeline(one)
        status = "checking" if one.checking > 0 else "draft_status" if one.draft else "mergeable"
        if status == "mergeable" and pipeline and pipeline.status in ("running", "pending"):
            status = "ci_still_running"
        one.checking = max(0, one.checking - 1)
        return {
            "id": 9000 + one.iid,
            "iid": one.iid,
            "project_id": PROJECT_ID,
            "title": one.title,
            "description": one.description,
            "state": one.state,
            "draft": one.draft,
            "source_branch": one.source,
            "target_branch": one.target,
            "source_project_id": one.source_project,
            "target_project_id": PROJECT_ID,
            "sha": self.head(one),
            "web_url": f"{self.web}/{self.path}/-/merge_requests/{one.iid}",
            "author": self.user(one.author),
            "squash": one.squash,
            "merge_when_pipeline_succeeds": one.auto_merge,
            "detailed_merge_status": status if one.state == "opened" else "not_open",
            "merge_error": one.merge_error,
            "merge_commit_sha": one.merge_commit,
            "head_pipeline": pipeline and {"id": pipeline.id, "status": pipeline.status, "sha": pipeline.sha},
        }

    def find(self, request: Request) -> MergeRequest:
        found = self.merge_requests.get(int(request.params["iid"]))
        if found is None:
            raise Reply({"message": "404 Not found"}, 404)
        return found

    @route("GET", "/projects/{id}/repository/commits/{sha}/merge_requests")
    def of_commit(self, request: Request) -> Reply:
        sha = self.git.resolve(request.params["sha"])
        if sha is None:
            return Reply({"message": "404 Commit Not Found"}, 404)
        state = request.one("state")
        chosen = [one for one in self.merge_requests.values() if not state or one.state == state]
        return self.paged(request, [self.shown(one) for one in chosen if one.fork_commit == sha or self.git.contains(one.source, sha)])

    @route("GET", "/projects/{id}/merge_requests")
    def list_merge_requests(self, request: Request) -> Reply:
        chosen = list(reversed(self.merge_requests.values()))
        for name, of in (("source_branch", "source"), ("target_branch", "target")):
            if request.one(name):
                chosen = [one for one in chosen if getattr(one, of) == request.one(name)]
        if request.one("state", "all") != "all":
            chosen = [one for one in chosen if one.state == request.one("state")]
        return self.paged(request, [self.shown(one) for one in chosen])

    @route("POST", "/projects/{id}/merge_requests")
    def create_merge_request(self, request: Request) -> Reply:
        sent = request.json()
        source, target = sent["source_branch"], sent["target_branch"]
        if source == target:
            return Reply({"message": ["You can't use same project/branch for source and target"]}, 422)
        if self.git.resolve(f"refs/heads/{source}") is None:
            return Reply({"message": ['Source branch "' + source + '" does not exist']}, 422)
        for one in self.merge_requests.values():
            if (one.source, one.target, one.state) == (source, target, "opened"):
                return Reply({"message": [f"Another open merge request already exists for this source branch: !{one.iid}"]}, 409)
        title = sent["title"]
        more = {"description": sent.get("description", ""), "author": self.me.username, "draft": title.startswith("Draft:")}
        return Reply(self.shown(self.open_merge_request(source, target, title, checking=2, **more)), 201)

    @route("GET", "/projects/{id}/merge_requests/{iid}")
    def one_merge_request(self, request: Request) -> Reply:
        one = self.find(request)
        shown = self.shown(one)
        if shown["detailed_merge_status"] == "mergeable" and has_conflicts(self.git, one.source, one.target):
            shown["detailed_merge_status"] = "conflict"
        if request.one("include_rebase_in_progress") == "true":
            shown["rebase_in_progress"] = one.rebasing > 0
            one.rebasing = max(0, one.rebasing - 1)
        return Reply(shown)

    @route("PUT", "/projects/{id}/merge_requests/{iid}")
    def update_merge_request(self, request: Request) -> Reply:
        one = self.find(request)
        sent = request.json()
        one.title, one.description = sent.get("title", one.title), sent.get("description", one.description)
        one.draft = one.title.startswith("Draft:")
        one.state = {"close": "closed", "reopen": "opened"}.get(sent.get("state_event", ""), one.state)
        return Reply(self.shown(one))

    @route("PUT", "/projects/{id}/merge_requests/{iid}/rebase")
    def rebase_merge_request(self, request: Request) -> Reply:
        one = self.find(request)
        if one.state != "opened":
            return Reply({"message": "405 Method Not Allowed"}, 405)
        one.rebasing = 2
        try:
            rebase(self.git, one.source, one.target)
            one.merge_error = None
        except CannotMerge:
            one.merge_error = "Rebase failed: Rebase locally, resolve all conflicts, then push the branch."
        return Reply({"rebase_in_progress": True}, 202)

    @route("PUT", "/projects/{id}/merge_requests/{iid}/merge")
    def merge_merge_request(self, request: Request) -> Reply:
        one, sent = self.find(request), request.json()
        pipeline = self.head_pipeline(one)
        running = pipeline is not None and pipeline.status in ("running", "pending")
        automatic = sent.get("auto_merge") or sent.get("merge_when_pipeline_succeeds")
        if one.state != "opened" or one.draft or one.checking:
            return Reply({"message": "405 Method Not Allowed"}, 405)
        if sent.get("sha") and sent["sha"] != self.head(one):
            return Reply({"message": "SHA does not match HEAD of source branch: " + str(self.head(one))}, 409)
        if (automatic and pipeline is None) or (self.only_with_pipeline and not automatic and (running or pipeline is None)):
            return Reply({"message": "405 Method Not Allowed"}, 405)
        one.squash = sent.get("squash", one.squash)
        if automatic and running:
            one.auto_merge = True
            return Reply(self.shown(one))
        if pipeline and pipeline.status == "failed" and (automatic or self.only_with_pipeline):
            return Reply({"message": "405 Method Not Allowed"}, 405)
        try:
            message = sent.get("squash_commit_message" if one.squash else "merge_commit_message") or one.title
            one.merge_commit = merge(
                self.git, one.source, one.target, message=message, squash=one.squash, forward=self.merge_method == "ff"
            )
        except CannotMerge:
            return Reply({"message": "Branch cannot be merged"}, 422)
        one.state = "merged"
        return Reply(self.shown(one))

    def pipeline_finished(self, pipeline: Pipeline, status: str = "success") -> None:
        """End a pipeline, and merge what waited for it."""
        pipeline.status = status
        for one in self.merge_requests.values():
            if one.auto_merge and status == "success" and self.head_pipeline(one) is pipeline:
                one.merge_commit = merge(self.git, one.source, one.target, message=one.title, squash=one.squash)
                one.state = "merged"

    # Notes and discussions

    def add_note(self, kind: str, ref: str, body: str, author: str = "ada", *, system: bool = False) -> Note:
        number = self.number()
        discussion = hashlib.sha1(str(number).encode(), usedforsecurity=False).hexdigest()
        made = Note(number, body, author, (kind, ref), system, discussion, time.time(), time.time())
        self.notes.append(made)
        return made

    def shown_note(self, note: Note) -> dict[str, Any]:
        kind, ref = note.noteable
        return {
            "id": note.id,
            "type": "DiscussionNote" if kind == "Commit" else None,
            "body": note.body,
            "author": self.user(note.author),
            "created_at": _time(note.time),
            "updated_at": _time(note.updated),
            "system": note.system,
            "noteable_id": None if kind == "Commit" else 9000 + int(ref),
            "noteable_iid": None if kind == "Commit" else int(ref),
            "noteable_type": kind,
        }

    def noteable(self, request: Request) -> tuple[str, str]:
        if "sha" in request.params:
            sha = self.git.resolve(request.params["sha"])
            if sha is None:
                raise Reply({"message": "404 Commit Not Found"}, 404)
            return "Commit", sha
        if "/issues/" in request.template:
            if int(request.params["iid"]) not in self.issues:
                raise Reply({"message": "404 Not found"}, 404)
            return "Issue", request.params["iid"]
        return "MergeRequest", str(self.find(request).iid)

    @route("GET", "/projects/{id}/merge_requests/{iid}/notes")
    @route("GET", "/projects/{id}/issues/{iid}/notes")
    def list_notes(self, request: Request) -> Reply:
        noteable = self.noteable(request)
        newest_first = request.one("sort", "desc") == "desc"
        return self.paged(request, [self.shown_note(one) for one in self.notes if one.noteable == noteable][:: -1 if newest_first else 1])

    @route("GET", "/projects/{id}/repository/commits/{sha}/discussions")
    def list_discussions(self, request: Request) -> Reply:
        noteable = self.noteable(request)
        found = [one for one in self.notes if one.noteable == noteable]
        return self.paged(request, [self.shown_discussion(one) for one in found])

    def shown_discussion(self, note: Note) -> dict[str, Any]:
        return {"id": note.discussion, "individual_note": False, "notes": [self.shown_note(note)]}

    def body(self, request: Request) -> str:
        body = str(request.json()["body"])
        if len(body) > 1_000_000:
            raise Reply({"message": '400 Bad request - Note {:note=>["is too long (maximum is 1000000 characters)"]}'}, 400)
        return body

    @route("POST", "/projects/{id}/merge_requests/{iid}/notes")
    @route("POST", "/projects/{id}/issues/{iid}/notes")
    @route("POST", "/projects/{id}/repository/commits/{sha}/discussions")
    def create_note(self, request: Request) -> Reply:
        kind, ref = self.noteable(request)
        note = self.add_note(kind, ref, self.body(request), self.me.username)
        return Reply(self.shown_discussion(note) if kind == "Commit" else self.shown_note(note), 201)

    def own_note(self, request: Request) -> Note:
        noteable = self.noteable(request)
        for one in self.notes:
            if str(one.id) == request.params["note_id"] and one.noteable == noteable:
                if one.author != self.me.username and self.me.role != "maintainer":
                    raise Reply({"message": "403 Forbidden"}, 403)
                return one
        raise Reply({"message": "404 Note Not Found"}, 404)

    @route("PUT", "/projects/{id}/merge_requests/{iid}/notes/{note_id}")
    @route("PUT", "/projects/{id}/issues/{iid}/notes/{note_id}")
    @route("PUT", "/projects/{id}/repository/commits/{sha}/discussions/{discussion_id}/notes/{note_id}")
    def update_note(self, request: Request) -> Reply:
        note = self.own_note(request)
        note.body, note.updated = self.body(request), time.time()
        return Reply(self.shown_note(note))

    @route("DELETE", "/projects/{id}/merge_requests/{iid}/notes/{note_id}")
    @route("DELETE", "/projects/{id}/issues/{iid}/notes/{note_id}")
    @route("DELETE", "/projects/{id}/repository/commits/{sha}/discussions/{discussion_id}/notes/{note_id}")
    def delete_note(self, request: Request) -> Reply:
        self.notes.remove(self.own_note(request))
        return Reply(status=204)

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

    @route("POST", "/projects/{id}/merge_requests/{iid}/pipelines")
    def new_merge_request_pipeline(self, request: Request) -> Reply:
        one = self.find(request)
        return Reply(self.shown_pipeline(self.add_pipeline(str(self.head(one)), f"refs/merge-requests/{one.iid}/head", "created")))
