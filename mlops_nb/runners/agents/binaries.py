"""The agents' programs: which version, from where, and by which checksum they are known before anything of them is executed.

Of GitHub's agent the checksums stand here. GitLab publishes those of a version beside it: the launcher reads them, keeps what it
has seen (a later difference is refused), and hands them to the machine with the registration, so that no machine asks for itself.
Bitbucket's agent is a container image, of which a digest can be given.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from mlops_nb.errors import InvalidInput, MlopsError, NotSupported, StoreUnreachable
from mlops_nb.runners.agents.enrolment import Binary

PINNED: Final = "2026-08-26"
"""When the newest of the versions below was published."""
GITHUB_VERSION: Final = "2.337.0"
_GITHUB: Final = "https://github.com/actions/runner/releases/download/v{version}/actions-runner-linux-{architecture}-{version}.tar.gz"
GITHUB: Final[Mapping[str, Binary]] = {
    architecture: Binary(version=GITHUB_VERSION, url=_GITHUB.format(version=GITHUB_VERSION, architecture=architecture), sha256=digest)
    for architecture, digest in {
        "x64": "70920811a4f8ad4328818682bca5c6469c1c942fab52448868071d0063816613",
        "arm64": "9b1dc70626422526e3c94767cf024896beb15da5342a3f4819bf2feac13e0393",
    }.items()
}
GITLAB_VERSION: Final = "18.5.0"
GITLAB_DOWNLOADS: Final = "https://s3.dualstack.us-east-1.amazonaws.com/gitlab-runner-downloads"
BITBUCKET_IMAGE: Final = "docker-public.packages.atlassian.com/sox/atlassian/bitbucket-pipelines-runner"

ENV_PROGRAM: Final = "MLOPS_NB_AGENT_PROGRAM"
"""A folder with GitHub's agent (`run.sh`), or the program of GitLab's, that is there already and is taken as it is."""
ENV_GITLAB: Final = "MLOPS_NB_GITLAB_RUNNER"
"""Version of GitLab's agent, and its checksums: `18.5.0 x64=SHA256 arm64=SHA256`. The version alone: as published beside it."""
ENV_BITBUCKET: Final = "MLOPS_NB_BITBUCKET_RUNNER_IMAGE"
MOST_BYTES: Final = 1 << 30
_VERSION = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._+-]{0,199}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}")


def architecture() -> str:
    """Return `x64` or `arm64`.

    Raises:
        NotSupported: On other machines: the agents are not built for them.
    """
    machine = platform.machine().lower()
    found = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(machine)
    if found is None:
        raise NotSupported(f"There are no CI agents for {machine}.", hint="Use a machine with x86-64 or ARM64.")
    return found


def gitlab_binaries(environment: Mapping[str, str], seen: Path, *, downloads: str = GITLAB_DOWNLOADS) -> Mapping[str, Binary]:
    """Return GitLab's agent by architecture, with the checksums that were given, else those that GitLab publishes.

    Args:
        seen: File with the checksums of versions that were used before.

    Raises:
        InvalidInput: If the setting cannot be read, or GitLab now publishes other checksums for the same version.
        StoreUnreachable: If they cannot be had.
    """
    words = environment.get(ENV_GITLAB, "").split() or [GITLAB_VERSION]
    version = words[0].removeprefix("v")
    given = dict(word.lower().partition("=")[::2] for word in words[1:])
    if not re.fullmatch(r"\d+\.\d+\.\d+", version) or not all(
        name in ("x64", "arm64") and _HEX.fullmatch(digest) for name, digest in given.items()
    ):
        raise InvalidInput(f"{ENV_GITLAB} cannot be read.", hint=f"For example: {ENV_GITLAB}='{GITLAB_VERSION} x64=SHA256 arm64=SHA256'")
    base = f"{downloads}/v{version}"
    digests = given or _published(f"{base}/release.sha256", version, seen)
    names = {"x64": "gitlab-runner-linux-amd64", "arm64": "gitlab-runner-linux-arm64"}
    return {key: Binary(version=version, url=f"{base}/binaries/{names[key]}", sha256=digests[key]) for key in digests}


def _published(url: str, version: str, seen: Path) -> dict[str, str]:
    import msgspec

    from mlops_nb.outgoing import OutgoingError, read_limited, session

    known: dict[str, dict[str, str]] = {}
    if seen.exists():
        known = msgspec.json.decode(seen.read_bytes(), type=dict[str, dict[str, str]])
    try:
        with session() as http, http.get(url, stream=True) as response:
            if response.status_code != 200:
                raise StoreUnreachable(
                    f"The checksums of gitlab-runner {version} are not there (HTTP {response.status_code} of {url}).",
                    hint=f"Give them: {ENV_GITLAB}='{version} x64=SHA256 arm64=SHA256'",
                )
            text = read_limited(response, 1 << 20).decode("utf-8", "replace")
    except OutgoingError as error:
        if version in known:
            return known[version]
        raise StoreUnreachable(
            f"The checksums of gitlab-runner {version} cannot be read: {error.message}",
            hint=f"Give them: {ENV_GITLAB}='{version} x64=SHA256 arm64=SHA256'",
        ) from error
    listed = {
        line.split()[-1].lstrip("*").rpartition("/")[2]: line.split()[0].lower() for line in text.splitlines() if len(line.split()) == 2
    }
    names = {"x64": "gitlab-runner-linux-amd64", "arm64": "gitlab-runner-linux-arm64"}
    found = {key: listed[name] for key, name in names.items() if _HEX.fullmatch(listed.get(name, ""))}
    if not found:
        raise InvalidInput(f"{url} lists no checksum of gitlab-runner for Linux.", hint="A proxy may be in between.")
    if known.get(version, found) != found:
        raise InvalidInput(
            f"GitLab now publishes other checksums for gitlab-runner {version} than when it was used first.",
            hint=f"Find out why, then remove {version} from {seen}, or take another version by {ENV_GITLAB}.",
        )
    known[version] = found
    seen.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=seen.parent, prefix=".agents-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(known))
    Path(name).replace(seen)
    return found


def install(binary: Binary, cache: Path, tell: Callable[[str], None], *, allowed_hosts: tuple[str, ...] = ()) -> Path:
    """Return the folder (of an archive) or the program that is this binary, fetched and checked if it is not there yet.

    Raises:
        InvalidInput: If what came has another checksum, or is an archive that reaches out of its folder. Nothing of it stays.
        StoreUnreachable: If it cannot be fetched.
    """
    if not (_HEX.fullmatch(binary.sha256) and _VERSION.fullmatch(binary.version)):
        raise InvalidInput(f"The forge calls its agent {binary.version[:80]!r}, with a checksum that is none.", hint="Is it a forge?")
    target = cache / f"{binary.sha256[:16]}-{binary.version}"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True, mode=0o755)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as text:
        folder = Path(text)
        tell(f"Fetching {PurePosixPath(binary.url).name}.")
        file = folder / "file"
        digest = _fetched(binary.url, file, allowed_hosts)
        if digest != binary.sha256:
            raise InvalidInput(
                f"{binary.url} has the checksum {digest} instead of {binary.sha256}: nothing of it is executed.",
                hint="A proxy may have changed it, or the release was replaced. Take another version.",
            )
        ready = folder / "ready"
        if binary.url.endswith((".tar.gz", ".tgz")):
            try:
                with tarfile.open(file) as archive:
                    archive.extractall(ready, filter="data")
            except (tarfile.TarError, OSError) as error:
                raise InvalidInput(f"{binary.url} cannot be unpacked: {error}", hint="Is there room on the disk?") from error
            ready.chmod(0o755)
        else:
            file.chmod(0o755)
            ready = file
        try:
            ready.rename(target)
        except OSError:
            if not target.exists():  # else another was quicker
                raise
    return target


def _fetched(url: str, path: Path, allowed_hosts: tuple[str, ...]) -> str:
    from mlops_nb.outgoing import OutgoingError, session

    digest, length = hashlib.sha256(), 0
    try:
        with session(allowed_hosts=allowed_hosts) as http, http.get(url, stream=True) as response, path.open("wb") as file:
            if response.status_code != 200:
                raise StoreUnreachable(f"{url} answers with HTTP {response.status_code}.", hint=f"Or have it there: {ENV_PROGRAM}")
            for piece in response.iter_content(1 << 20):
                length += len(piece)
                if length > MOST_BYTES:
                    raise InvalidInput(f"{url} is larger than {MOST_BYTES >> 20} MB.", hint="It is not the agent.")
                digest.update(piece)
                file.write(piece)
    except OutgoingError as error:
        raise StoreUnreachable(f"{url} cannot be fetched: {error.message}", hint=f"Or have it there: {ENV_PROGRAM}") from error
    return digest.hexdigest()


def own_copy(source: Path, target: Path) -> None:
    """Copy an agent's folder for one registration: the agent writes its configuration and its work beside its program."""
    try:
        shutil.copytree(source, target, symlinks=True)
    except (OSError, shutil.Error) as error:
        raise MlopsError(f"{source} cannot be copied to {target}: {error}", hint="Is there room on the disk?") from error
