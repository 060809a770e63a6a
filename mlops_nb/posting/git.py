"""git, run so that it leaves no trace: no setting of the user's is changed, and no token is in argv, URLs or files."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from mlops_nb.errors import InvalidInput, MlopsError, NotFound
from mlops_nb.forges.base import GitCredentials

SECONDS = 600
_USER_INFO = re.compile(r"(?<=://)[^/\s@]+@")
_REF = re.compile(r"(?!.*(?:\.\.|@\{|//|\.lock(?:/|$)))[^\x00-\x20\x7f~^:?*\[\\]+(?<![./])")


class GitError(MlopsError):
    """git failed; the message holds what it said."""


class Git:
    """git in one repository.

    Args:
        folder: Inside of the working tree.
        environment: Variables of the process; nothing else of the user's settings is changed.
        credentials: For fetch and push over HTTP(S) to the forge's host, and no other.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], credentials: GitCredentials | None = None) -> None:
        self._environment = {**environment, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
        self._folder = folder
        self._trusted: tuple[tuple[str, str], ...] = ()
        root = self._top()
        self.root = root
        self._secrets = [] if credentials is None else [credentials.password]
        self._authorization = () if credentials is None else _authorization(credentials)

    def _top(self) -> Path:
        """Return the root of the working tree; one that belongs to another user, as in containers, is trusted for this process only."""
        try:
            return Path(self("rev-parse", "--show-toplevel"))
        except GitError as error:
            if "dubious ownership" not in str(error):
                raise NotFound(f"{self._folder} is in no git repository.", hint="Check it out first.") from error
        root = next((p for p in (self._folder, *self._folder.parents) if (p / ".git").exists()), self._folder).resolve()
        self._trusted = (("safe.directory", str(root)),)
        return Path(self("rev-parse", "--show-toplevel"))

    def __call__(
        self,
        *arguments: str,
        index: Path | None = None,
        stdin: bytes = b"",
        settings: Sequence[tuple[str, str]] = (),
        network: bool = False,
    ) -> str:
        """Run git and return what it prints, without the last line's end.

        Args:
            arguments: Of git.
            index: A file to use instead of the index.
            stdin: What it reads.
            settings: Of this one call.
            network: Whether it may use the credentials.

        Raises:
            GitError: If it fails.
        """
        return (
            self.raw(*arguments, index=index, stdin=stdin, settings=settings, network=network)
            .decode(errors="surrogateescape")
            .removesuffix("\n")
        )

    def raw(
        self,
        *arguments: str,
        index: Path | None = None,
        stdin: bytes = b"",
        settings: Sequence[tuple[str, str]] = (),
        network: bool = False,
    ) -> bytes:
        """As a call, with the bytes that git prints."""
        every = [*self._trusted, *settings, *(self._authorization if network else ())]
        environment = _with_settings(self._environment, every)
        if index is not None:
            environment["GIT_INDEX_FILE"] = str(index)
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=getattr(self, "root", self._folder),
                env=environment,
                input=stdin,
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except FileNotFoundError:
            raise NotFound("git is not installed.", hint="Install git.") from None
        except subprocess.TimeoutExpired:
            raise GitError(f"git {arguments[0]} took longer than {SECONDS // 60} minutes.", hint="Is the remote reachable?") from None
        if done.returncode:
            raise GitError(f"git {arguments[0]} failed: {self._clean(done.stderr) or f'exit status {done.returncode}'}")
        return done.stdout

    def tries(self, *arguments: str, network: bool = False) -> str | None:
        """Return what git prints, or None if it fails."""
        try:
            return self(*arguments, network=network)
        except GitError:
            return None

    def _clean(self, stderr: bytes) -> str:
        text = _USER_INFO.sub("", stderr.decode(errors="replace"))
        for secret in self._secrets:
            text = text.replace(secret, "***")
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("hint:")]
        return " ".join(lines)[-600:]


def check_branch(name: str, option: str) -> str:
    """Return a branch's name, or refuse it: it goes to git and to the forge."""
    if name.startswith("-") or name == "@" or name.startswith("refs/") or _REF.fullmatch(name) is None:
        raise InvalidInput(f"'{name[:200]}' cannot be the name of a branch ({option}).")
    return name


def _authorization(credentials: GitCredentials) -> tuple[tuple[str, str], ...]:
    """Return the settings that let git authenticate at the forge's host: a header, as GitHub's checkout does, in memory only.

    Headers and helpers that are set for it are switched off before: two Authorization headers are refused.
    """
    parts = urlsplit(credentials.url)
    if parts.scheme not in ("http", "https"):
        return ()
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
    pair = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    key = f"http.{place}.extraheader"
    return ((key, ""), (key, f"Authorization: Basic {pair}"), ("credential.helper", ""), ("http.followRedirects", "initial"))


def _with_settings(environment: Mapping[str, str], settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the environment with settings added to those that it carries already."""
    found = dict(environment)
    count = int(found.get("GIT_CONFIG_COUNT") or 0)
    for number, (key, value) in enumerate(settings, start=count):
        found[f"GIT_CONFIG_KEY_{number}"], found[f"GIT_CONFIG_VALUE_{number}"] = key, value
    found["GIT_CONFIG_COUNT"] = str(count + len(settings))
    return found


def process_environment() -> dict[str, str]:
    """Return the environment that git gets."""
    return dict(os.environ)
