"""Images in the repository itself, on a branch of their own without common history, written by the Git data API.

Each is named by its content and linked to at its commit, so that what a comment shows never changes, and only those
see it who may read the repository. Several jobs may write at once: who comes second builds on the first.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Sequence
from typing import Any, Final

from mlops_nb.forges.base import AssetFile, ForgeConflict, ForgeError, ForgeNotFound, Limits, RequestRefused
from mlops_nb.forges.client import ForgeClient, part

BRANCH: Final = "mlops-reports"
ENDINGS: Final = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "image/svg+xml": "svg"}
README: Final = (
    "# Images of reports\n\nmlops-nb puts the plots of its pull-request reports here. No branch needs this one; "
    "if it is deleted, older reports lose their plots.\n"
)
MESSAGE: Final = "Add images of a report [skip ci]"
_ATTEMPTS = 8


class ImageBranch:
    """The branch `mlops-reports` of one repository."""

    def __init__(self, client: ForgeClient, base: str, web_url: str, limits: Limits) -> None:
        self._client, self._base, self._web_url, self._limits = client, base, web_url, limits

    def publish(self, files: Sequence[AssetFile]) -> list[str]:
        """Store images in one commit and return their URLs in order; what is there already is not stored again."""
        for file in files:
            self._check(file)
        places = [_place(file) for file in files]
        if not files:
            return []
        blobs: dict[str, str] = {}
        last: ForgeError | None = None
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._client.sleep(random.uniform(0.1, 0.4) * attempt)
            head = self._head()
            stored = self._stored(head) if head else set()
            missing = {place: file for place, file in zip(places, files, strict=True) if place not in stored}
            if head is not None and not missing:
                return [self._url(head, place) for place in places]
            try:
                for place, file in missing.items():
                    blobs[place] = blobs.get(place) or self._blob(file.content)
                commit = self._commit(head, {place: blobs[place] for place in missing})
                self._move(head, commit)
            except RequestRefused as refusal:
                if _is_empty(refusal):
                    self._begin()
                elif not _is_race(refusal):
                    raise
                last = refusal
                continue
            return [self._url(commit, place) for place in places]
        raise ForgeConflict(
            f"The branch {BRANCH} changed {_ATTEMPTS} times while images were added to it.", hint="Run it again.", status=409
        ) from last

    def _check(self, file: AssetFile) -> None:
        if file.mime not in self._limits.asset_mimes:
            raise RequestRefused(
                f"'{file.name[:200]}' is {file.mime[:80] or 'of no known type'}, and only images are put beside the report on GitHub.",
                hint=f"It takes {', '.join(sorted(ENDINGS.values()))}. Other files go to a bucket (s3://, gs://, az://) or "
                "are artifacts of the job.",
            )
        if len(file.content) > self._limits.asset_bytes:
            raise RequestRefused(
                f"'{file.name[:200]}' has {len(file.content) / 2**20:.1f} MiB; GitHub shows up to {self._limits.asset_bytes >> 20} MiB.",
                hint="Draw it with fewer points or a lower resolution.",
            )

    def _head(self) -> str | None:
        try:
            return str(self._client.get(f"{self._base}/git/ref/heads/{BRANCH}", what=f"look up the branch {BRANCH}")["object"]["sha"])
        except ForgeNotFound:
            return None
        except RequestRefused as refusal:
            if _is_empty(refusal):
                return None
            raise

    def _stored(self, head: str) -> set[str]:
        listed = self._client.get(f"{self._base}/git/trees/{part(head)}", what="list the images", params={"recursive": 1})
        return {item["path"] for item in listed["tree"]}

    def _blob(self, content: bytes) -> str:
        sent = {"content": base64.b64encode(content).decode("ascii"), "encoding": "base64"}
        return str(self._post("blobs", sent)["sha"])

    def _commit(self, head: str | None, blobs: dict[str, str]) -> str:
        entries: list[dict[str, str]] = [{"path": place, "mode": "100644", "type": "blob", "sha": sha} for place, sha in blobs.items()]
        if head is None:
            entries.append({"path": "README.md", "mode": "100644", "type": "blob", "content": README})
        base = {"base_tree": self._tree(head)} if head else {}
        tree = self._post("trees", {"tree": entries, **base})["sha"]
        return str(self._post("commits", {"message": MESSAGE, "tree": tree, "parents": [head] if head else []})["sha"])

    def _tree(self, head: str) -> str:
        return str(self._client.get(f"{self._base}/git/commits/{part(head)}", what="look up the images")["tree"]["sha"])

    def _move(self, head: str | None, commit: str) -> None:
        what = f"add images to the branch {BRANCH}"
        if head is None:
            self._post("refs", {"ref": f"refs/heads/{BRANCH}", "sha": commit})
        else:
            self._client.patch(f"{self._base}/git/refs/heads/{BRANCH}", {"sha": commit, "force": False}, what=what)

    def _begin(self) -> None:
        """Give a repository without any commit its first one, on our branch; the Git data API needs one."""
        sent = {"message": MESSAGE, "content": base64.b64encode(README.encode()).decode("ascii"), "branch": BRANCH}
        self._client.put(f"{self._base}/contents/README.md", sent, what=f"begin the branch {BRANCH}")

    def _post(self, what: str, sent: dict[str, Any]) -> dict[str, Any]:
        # Objects are named by their content, so that a second one is the same; a second ref is refused and read anew.
        return dict(self._client.post(f"{self._base}/git/{what}", sent, what="store images", repeatable=True))

    def _url(self, commit: str, place: str) -> str:
        return f"{self._web_url}/raw/{commit}/{place}"


def _place(file: AssetFile) -> str:
    digest = hashlib.sha256(file.content).hexdigest()
    return f"{digest[:2]}/{digest[2:34]}.{ENDINGS.get(file.mime, 'bin')}"


def _is_empty(refusal: RequestRefused) -> bool:
    return refusal.status == 409 and "empty" in refusal.message.lower()


def _is_race(refusal: RequestRefused) -> bool:
    said = refusal.message.lower()
    return refusal.status == 409 or "fast forward" in said or "already exists" in said or "does not exist" in said
