"""The Git data API of the loopback GitHub, over a real repository."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from typing import Any

from tests.forges.filling import filled
from tests.forges.git_repository import GitRepository
from tests.forges.github_state import invalid, message, not_found
from tests.forges.server import LoopbackForge, Reply, Request, route

REPO = "/repos/{owner}/{repo}"


class GitData(LoopbackForge):
    """Blobs, trees, commits, refs and contents. Subclasses set `git` and check permissions by `need`."""

    git: GitRepository

    def need(self, request: Request, permission: str, level: str = "write") -> Any:
        raise NotImplementedError

    def need_commits(self) -> None:
        if not self.git.git("for-each-ref", "--count=1"):
            raise message("Git Repository is empty.", 409)

    def _ref(self, name: str, sha: str) -> dict[str, Any]:
        return filled("github", "git-ref", ref=name, object={"type": "commit", "sha": sha})

    @route("GET", REPO + "/git/ref/{ref+}")
    def get_ref(self, request: Request) -> Reply:
        self.need(request, "contents", "read")
        self.need_commits()
        name = f"refs/{request.params['ref']}"
        sha = self.git.resolve(name)
        return Reply(self._ref(name, sha)) if sha else not_found()

    @route("POST", REPO + "/git/refs")
    def create_ref(self, request: Request) -> Reply:
        self.need(request, "contents")
        self.need_commits()
        sent = request.json()
        if self.git.resolve(sent["ref"]):
            return message("Reference already exists", 422)
        if not self.git.resolve(sent["sha"]):
            return message("Object does not exist", 422)
        self.git.git("update-ref", sent["ref"], sent["sha"])
        return Reply(self._ref(sent["ref"], sent["sha"]), 201)

    @route("PATCH", REPO + "/git/refs/{ref+}")
    def move_ref(self, request: Request) -> Reply:
        self.need(request, "contents")
        name, sent = f"refs/{request.params['ref']}", request.json()
        old = self.git.resolve(name)
        if old is None:
            return message("Reference does not exist", 422)
        if not sent.get("force") and self.git.git("merge-base", old, sent["sha"]) != old:
            return message("Update is not a fast forward", 422)
        self.git.git("update-ref", name, sent["sha"])
        return Reply(self._ref(name, sent["sha"]))

    @route("POST", REPO + "/git/blobs")
    def create_blob(self, request: Request) -> Reply:
        self.need(request, "contents")
        self.need_commits()
        sent = request.json()
        content = base64.b64decode(sent["content"]) if sent.get("encoding") == "base64" else sent["content"].encode()
        return Reply({"sha": self.git.git("hash-object", "-w", "--stdin", stdin=content), "url": f"{self.url}/blob"}, 201)

    def _tree(self, sha: str, *, recursive: bool = False) -> dict[str, Any]:
        listed = []
        for line in self.git.git("ls-tree", *(["-r", "-t"] if recursive else []), sha).splitlines():
            meta, path = line.split("\t", 1)
            mode, kind, entry = meta.split()
            listed.append({"path": path, "mode": mode, "type": kind, "sha": entry, "url": f"{self.url}/entry"})
        return filled("github", "git-tree", sha=sha, url=f"{self.url}/tree", tree=listed, truncated=False)

    @route("GET", REPO + "/git/trees/{tree_sha}")
    def get_tree(self, request: Request) -> Reply:
        self.need(request, "contents", "read")
        sha = self.git.resolve(request.params["tree_sha"], "tree")
        return Reply(self._tree(sha, recursive="recursive" in request.query)) if sha else not_found()

    @route("POST", REPO + "/git/trees")
    def create_tree(self, request: Request) -> Reply:
        self.need(request, "contents")
        sent = request.json()
        base = self.git.resolve(sent["base_tree"], "tree") if "base_tree" in sent else None
        files = {one["path"]: one["sha"] for one in self._tree(base, recursive=True)["tree"] if one["type"] == "blob"} if base else {}
        for one in sent["tree"]:
            files[one["path"]] = one.get("sha") or self.git.git("hash-object", "-w", "--stdin", stdin=one["content"].encode())
        return Reply(self._tree(self._written(files)), 201)

    def _written(self, files: dict[str, str]) -> str:
        """Write a tree of hashes, folder by folder, and return its hash."""
        entries, folders = [], {}
        for path, sha in files.items():
            first, _, rest = path.partition("/")
            if rest:
                folders.setdefault(first, {})[rest] = sha
            else:
                entries.append(f"100644 blob {sha}\t{first}")
        entries += [f"040000 tree {self._written(inner)}\t{name}" for name, inner in folders.items()]
        return self.git.git("mktree", stdin="\n".join([*entries, ""]).encode() if entries else b"")

    def _commit(self, sha: str) -> dict[str, Any]:
        head = self.git.git("cat-file", "commit", sha)
        tree = re.match(r"tree (\w+)", head)
        assert tree
        parents = [{"sha": one, "url": f"{self.url}/c", "html_url": f"{self.url}/c"} for one in re.findall(r"^parent (\w+)", head, re.M)]
        text = head.split("\n\n", 1)[1]
        return filled("github", "git-commit", sha=sha, message=text, tree={"sha": tree[1]}, parents=parents)

    @route("GET", REPO + "/git/commits/{commit_sha}")
    def get_commit(self, request: Request) -> Reply:
        self.need(request, "contents", "read")
        sha = self.git.resolve(request.params["commit_sha"])
        return Reply(self._commit(sha)) if sha else not_found()

    @route("POST", REPO + "/git/commits")
    def create_commit(self, request: Request) -> Reply:
        self.need(request, "contents")
        sent = request.json()
        parents = [argument for parent in sent.get("parents", []) for argument in ("-p", parent)]
        try:
            sha = self.git.git("commit-tree", sent["tree"], *parents, "-m", sent["message"])
        except subprocess.CalledProcessError:
            return invalid("Commit", "tree", "Tree or parent does not exist")
        return Reply(self._commit(sha), 201)

    @route("PUT", REPO + "/contents/{path+}")
    def put_contents(self, request: Request) -> Reply:
        self.need(request, "contents")
        sent = request.json()
        branch = sent.get("branch", self.git.default_branch)
        is_empty = not self.git.git("for-each-ref", "--count=1")
        if not is_empty and not self.git.resolve(f"refs/heads/{branch}"):
            return message(f"Branch {branch} not found", 404)
        sha = self.git.commit(branch, {request.params["path"]: base64.b64decode(sent["content"])}, sent["message"])
        return Reply(filled("github", "file-commit", commit=json.loads(json.dumps({"sha": sha}))), 201)
