"""A GitLab on the loopback interface: merge requests, notes, statuses, uploads and pipelines of one project, over a real repository.

What it does where the documentation is silent follows GitLab's source: a status that is set to the state which it has
already is refused (400), merging is refused (405) while the mergeability is being checked, and automatic merging is
refused while there is no pipeline.
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import Any

from tests.forges.gitlab_records import PROJECT_ID, MergeRequest, Note, Pipeline
from tests.forges.gitlab_runners import GitLabRunners
from tests.forges.merging import CannotMerge, has_conflicts, merge, rebase
from tests.forges.server import Reply, Request, route


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class LoopbackGitLab(GitLabRunners):
    """Answers for the project `path`; every other one is not there."""

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

    @route("POST", "/projects/{id}/merge_requests/{iid}/pipelines")
    def new_merge_request_pipeline(self, request: Request) -> Reply:
        one = self.find(request)
        return Reply(self.shown_pipeline(self.add_pipeline(str(self.head(one)), f"refs/merge-requests/{one.iid}/head", "created")))
