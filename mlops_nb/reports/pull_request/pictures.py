"""The picture files of a report, collected until it is written."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath

from mlops_nb.reports.pull_request.data import FOLDER, MAX_IMAGE_BYTES, Image, Side

MAX_PICTURES = 300
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpg"}


class Pictures:
    """The files of a report, by path relative to it; one content is kept once."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def add(self, content: bytes, subject: str, side: Side, effect: float = 0.0) -> Image | None:
        """Keep a picture; None where it is none, too large, or one too many.

        Args:
            content: PNG or JPEG.
            subject: What it shows, the same for both sides of a pair.
            side: The run that it is of.
            effect: How much the pair differs, from 0 to 1.
        """
        suffix = next((suffix for start, suffix in _SIGNATURES.items() if content.startswith(start)), None)
        if suffix is None or len(content) > MAX_IMAGE_BYTES or len(self.files) >= 2 * MAX_PICTURES:
            return None
        digest = hashlib.sha256(content).hexdigest()
        slug = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(subject).stem.lower())[:40].strip("-") or "picture"
        path = f"{FOLDER}/{slug}-{side.value}-{digest[:10]}.{suffix}"
        self.files[path] = content
        return Image(path=path, digest=digest, side=side, subject=subject[:400], size=len(content), effect=max(0.0, min(1.0, effect)))
