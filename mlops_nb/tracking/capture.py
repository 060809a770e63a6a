"""What a run should know of where it came from: the user, the program or notebook, the state of the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from mlops_nb import config
from mlops_nb.core.records import (
    TAG_EXECUTION,
    TAG_GIT_BRANCH,
    TAG_GIT_COMMIT,
    TAG_GIT_DIRTY,
    TAG_NOTEBOOK,
    TAG_PARENT,
    TAG_REPRODUCES,
    TAG_SOURCE_NAME,
    TAG_SOURCE_TYPE,
    TAG_USER,
)
from mlops_nb.tracking import servers

ENV_NOTEBOOK = "MLOPS_NB_NOTEBOOK"
ENV_EXECUTION = "MLOPS_NB_EXECUTION"
ENV_PARENT = "MLOPS_NB_PARENT_RUN"

MAX_CHANGES = 5_000_000
MAX_NEW_FILE = 500_000
_GIT_SECONDS = 10.0
_SERVER_SECONDS = 2.0
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_SOURCES = frozenset(
    ".py .pyi .pyx .ipynb .r .rmd .jl .sql .sh .bash .c .cc .cpp .cu .cuh .h .hpp .rs .go .java .scala .js .ts .md .rst .txt .toml "
    ".yaml .yml .cfg .ini .json .dockerfile .dvc .tf .proto .qmd".split()
)
ENV_REPRODUCES = "MLOPS_NB_REPRODUCES"


def source_tags(project: config.Project, user_ns: dict[str, Any] | None) -> dict[str, str]:
    """Return the tags that name the user and the notebook or program. What is not known is left out."""
    tags = {TAG_USER: config.user_name()}
    notebook = notebook_path(user_ns)
    if notebook is not None:
        tags |= notebook_tags(notebook, project)
    elif user_ns is not None:
        tags |= {TAG_SOURCE_TYPE: "NOTEBOOK"}
    elif sys.argv and sys.argv[0] and Path(sys.argv[0]).exists():
        tags |= {TAG_SOURCE_NAME: _relative(Path(sys.argv[0]).resolve(), project.root), TAG_SOURCE_TYPE: "LOCAL"}
    if execution := os.environ.get(ENV_EXECUTION):
        tags[TAG_EXECUTION] = execution
    if parent := os.environ.get(ENV_PARENT):
        tags[TAG_PARENT] = parent
    if original := os.environ.get(ENV_REPRODUCES):
        tags[TAG_REPRODUCES] = original
    return {key: value for key, value in tags.items() if value}


def notebook_tags(notebook: Path, project: config.Project) -> dict[str, str]:
    """Return the tags of a run that comes from a notebook."""
    shown = _relative(notebook, project.root)
    return {TAG_NOTEBOOK: shown, TAG_SOURCE_NAME: shown, TAG_SOURCE_TYPE: "NOTEBOOK"}


def notebook_path(user_ns: dict[str, Any] | None) -> Path | None:
    """Return the notebook that this kernel runs, as far as its front end tells; None when unknown.

    Asked in this order: our papermill engine, the Jupyter server (which sets JPY_SESSION_NAME), VS Code. Last of all the
    sessions of the Jupyter servers may be asked, see `notebook_of_server`.
    """
    if value := os.environ.get(ENV_NOTEBOOK):
        return Path(value).resolve()
    if user_ns is None:
        return None
    session = os.environ.get("JPY_SESSION_NAME", "")
    if session.endswith(".ipynb"):
        return Path(session).resolve()
    vscode = user_ns.get("__vsc_ipynb_file__")
    return Path(vscode).resolve() if isinstance(vscode, str) else None


def notebook_of_server() -> Path | None:
    """Return the notebook of this kernel as the Jupyter server that runs it has it; None when none says so.

    Asks the servers of this user over HTTP: not for the thread that the user waits for.
    """
    kernels = sys.modules.get("ipykernel.kernelapp")
    if kernels is None or not kernels.IPKernelApp.initialized():
        return None
    file = Path(kernels.IPKernelApp.instance().connection_file).stem
    return notebook_of_kernel(file.removeprefix("kernel-"))


def notebook_of_kernel(kernel_id: str) -> Path | None:
    """Return the notebook whose session has a kernel, by the Jupyter servers of this user."""
    import requests

    for record in servers.runtime_dir().glob("jpserver-*.json"):
        try:
            server = json.loads(record.read_bytes())
            headers = {"Authorization": f"token {server['token']}"}
            answer = requests.get(f"{server['url']}api/sessions", headers=headers, timeout=_SERVER_SECONDS, allow_redirects=False)
            for session in answer.json() if answer.ok else ():
                path = str(session.get("path", ""))
                if session["kernel"]["id"] == kernel_id and path.endswith(".ipynb"):
                    return Path(server["root_dir"], path).resolve()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not running any more, or something else altogether
            continue
    return None


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def git_tags(folder: Path) -> dict[str, str]:
    """Return commit, branch and whether there are uncommitted changes; empty outside a repository or without git."""
    text = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    tags = {}
    if match := re.search(r"^# branch\.oid ([0-9a-f]{40,64})$", text, re.MULTILINE):
        tags[TAG_GIT_COMMIT] = match[1]
    if (match := re.search(r"^# branch\.head (.+)$", text, re.MULTILINE)) and match[1] != "(detached)":
        tags[TAG_GIT_BRANCH] = match[1]
    if tags.get(TAG_GIT_COMMIT):
        tags[TAG_GIT_DIRTY] = str(bool(re.search(r"^[12u] ", text, re.MULTILINE))).lower()
    return tags


def repository(folder: Path) -> str | None:
    """Return where the repository comes from, without user and password."""
    names = _git(folder, "remote").split()
    name = "origin" if "origin" in names else next(iter(names), "")
    url = _git(folder, "remote", "get-url", name).strip() if name else ""
    if "://" not in url:
        return url or None
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def changes(folder: Path) -> str:
    """Return all that differs from the commit in the whole repository as a patch that `git apply` takes.

    New files of source code that git does not ignore are in it. Of more than 5 MB the rest is left out, and a line says so.
    """
    root = _git(folder, "rev-parse", "--show-toplevel").strip()
    if not root:
        return ""
    options = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--src-prefix=a/", "--dst-prefix=b/")
    base = "HEAD" if _git(Path(root), "rev-parse", "--verify", "--quiet", "HEAD") else _EMPTY_TREE
    parts = [_git(Path(root), "diff", *options, base, "--", limit=MAX_CHANGES)]
    size = len(parts[0])
    for name in _git(Path(root), "ls-files", "--others", "--exclude-standard", "-z").split("\0"):
        if not name or Path(name).suffix.lower() not in _SOURCES or size >= MAX_CHANGES:
            continue
        added = _as_new(Path(root), name)
        parts.append(added)
        size += len(added)
    text = "".join(parts)
    return text if len(text) < MAX_CHANGES else text[:MAX_CHANGES] + f"\n... more than {MAX_CHANGES:,} characters, the rest is left out\n"


def _as_new(root: Path, name: str) -> str:
    """Return a file that git does not know as the patch that makes it."""
    try:
        file = root / name
        if file.is_symlink() or file.stat().st_size > MAX_NEW_FILE:
            return ""
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n"
    if not text:
        return head
    lines = text.split("\n")
    end = "" if lines[-1] == "" else "\n\\ No newline at end of file"
    lines = lines[:-1] if lines[-1] == "" else lines
    count = "" if len(lines) == 1 else f",{len(lines)}"
    return f"{head}--- /dev/null\n+++ b/{name}\n@@ -0,0 +1{count} @@\n" + "\n".join(f"+{line}" for line in lines) + end + "\n"


def _git(folder: Path, *arguments: str, limit: int | None = None) -> str:
    """Return what git answers, at most `limit` characters; "" outside a repository, without git, or when it takes too long."""
    # The user's git settings must not start programs (fsmonitor, pagers) from our background thread.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *arguments]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=environment)
    except OSError:
        return ""
    timer = threading.Timer(_GIT_SECONDS, process.kill)
    timer.daemon = True
    timer.start()
    out = process.stdout
    assert out is not None
    try:
        content = out.read() if limit is None else out.read(limit)
        if limit is not None and len(content) == limit:
            process.kill()
            return content.decode("utf-8", "replace")
        return content.decode("utf-8", "replace") if process.wait() == 0 else ""
    finally:
        timer.cancel()
        out.close()
        process.wait()
