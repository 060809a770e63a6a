"""The git side of a loopback forge: a real bare repository, read and written by git, also served over HTTP."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.forges.server import Reply, Request

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


class GitRepository:
    """A bare repository at `path`. `files` and hashes go in and out as git has them."""

    def __init__(self, path: Path, default_branch: str = "main") -> None:
        self.path = path
        self.default_branch = default_branch
        path.mkdir(parents=True)
        self.git("init", "--bare", "--quiet", f"--initial-branch={default_branch}", ".")
        self.git("config", "http.receivepack", "true")

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run git in the repository and return its output; CalledProcessError where it fails."""
        environment = {**os.environ, **IDENTITY, "GIT_DIR": str(self.path), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(["git", *arguments], cwd=self.path, env=environment, input=stdin, capture_output=True, check=True)
        return done.stdout.decode(errors="surrogateescape").rstrip("\n")

    def resolve(self, revision: str, kind: str = "commit") -> str | None:
        """Return the full hash of a branch, tag or hash, or None."""
        try:
            return self.git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{{kind}}}")
        except subprocess.CalledProcessError:
            return None

    def commit(self, branch: str, files: dict[str, bytes], message: str = "A commit", parent: str | None = None) -> str:
        """Add a commit with these files on top of the branch (or of `parent`) and return its hash."""
        parent = parent or self.resolve(f"refs/heads/{branch}")
        entries = {}
        for line in self.git("ls-tree", "-r", parent).splitlines() if parent else ():
            meta, name = line.split("\t", 1)
            entries[name] = meta.split()[2]
        for name, content in files.items():
            entries[name] = self.git("hash-object", "-w", "--stdin", stdin=content)
        index = self.path / "scratch-index"
        listing = "".join(f"100644 {hash}\t{name}\n" for name, hash in entries.items()).encode()
        environment_index = f"GIT_INDEX_FILE={index}"
        subprocess.run(["env", environment_index, "git", "update-index", "--index-info"], cwd=self.path, input=listing, check=True)
        tree = subprocess.run(["env", environment_index, "git", "write-tree"], cwd=self.path, capture_output=True, check=True).stdout
        index.unlink()
        parents = ("-p", parent) if parent else ()
        made = self.git("commit-tree", tree.decode().strip(), *parents, "-m", message)
        self.git("update-ref", f"refs/heads/{branch}", made)
        return made

    def read(self, revision: str, path: str) -> bytes | None:
        """Return a file's content at a revision, or None."""
        done = subprocess.run(["git", "cat-file", "blob", f"{revision}:{path}"], cwd=self.path, capture_output=True, check=False)
        return done.stdout if done.returncode == 0 else None

    def contains(self, branch: str, commit: str) -> bool:
        """Tell whether the branch has the commit in its history."""
        done = subprocess.run(
            ["git", "merge-base", "--is-ancestor", commit, f"refs/heads/{branch}"], cwd=self.path, capture_output=True, check=False
        )
        return done.returncode == 0

    def serve(self, request: Request, path: str, user: str) -> Reply:
        """Answer git's own HTTP protocol (fetch and push); `path` is what follows the repository in the URL."""
        query = "&".join(f"{name}={value}" for name, values in request.query.items() for value in values)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.path),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": request.method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(request.body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REMOTE_USER": user,
        }
        backend = [shutil.which("git") or "git", "http-backend"]
        done = subprocess.run(backend, env=environment, input=request.body, capture_output=True, check=False)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        return Reply(body, status, headers)
