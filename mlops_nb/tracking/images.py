"""Images as arrays or PIL's, kept as MLflow keeps them."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from mlops_nb.errors import InvalidInput, MissingDependencyError

if TYPE_CHECKING:
    from mlops_nb.tracking.run import ActiveRun

TAG_LOGGED_IMAGES = "mlflow.loggedImages"
_COMPRESSED_SIDE = 256
_KEY = re.compile(r"[a-zA-Z0-9_\-./ ]+")


def log_image(
    run: ActiveRun,
    image: Any,
    artifact_file: str | None = None,
    *,
    key: str | None = None,
    step: int | None = None,
    timestamp: int | None = None,
) -> None:
    """Keep an image under a name, or as one of a series.

    Args:
        run: The run.
        image: A PIL image, or an array of height x width or height x width x 1, 3 or 4; whole numbers from 0 to 255,
            or others from 0 to 1, which are rescaled where they are not.
        artifact_file: The file's name; then nothing else is given.
        key: The name of a series of images.
        step: The place in the series; 0 by default.
        timestamp: When it was made (ms); now by default.

    Raises:
        InvalidInput: If it is no image, or both or neither of `artifact_file` and `key` are given.
        MissingDependencyError: If it is an array and Pillow is not installed.
    """
    if (artifact_file is None) == (key is None) or (artifact_file is not None and (step is not None or timestamp is not None)):
        raise InvalidInput(
            "An image needs either a file name or a key with a step.", hint="log_image(image, 'a.png') or log_image(image, key='a', step=1)"
        )
    picture = to_pil(image)
    if artifact_file is not None:
        run.log_figure(picture, artifact_file)
        return
    assert key is not None
    if not _KEY.fullmatch(key):
        raise InvalidInput(f"The key of an image {key!r} has characters that are not allowed.", hint="Use letters, digits and '_-./ '.")
    when = timestamp or time.time_ns() // 1_000_000
    stem = f"images/{key.replace('/', '~')}+step+{step or 0}+timestamp+{when}+{uuid.uuid4()}"
    run.log_figure(picture, f"{stem}.png")
    run.log_figure(compressed(picture), f"{stem}+compressed.webp")
    run.set_tag(TAG_LOGGED_IMAGES, "True")


def to_pil(image: Any) -> Any:
    """Return an image as PIL's.

    Raises:
        InvalidInput: If it is no image.
        MissingDependencyError: If it is an array and Pillow is not installed.
    """
    if is_pil(image):
        return image
    if hasattr(image, "to_pil"):  # MLflow's own
        return image.to_pil()
    if not (hasattr(image, "dtype") and hasattr(image, "ndim")):
        raise InvalidInput(f"A {type(image).__name__} is no image.", hint="Give a PIL image or a numpy array.")
    try:
        from PIL import Image
    except ImportError:
        raise MissingDependencyError("PIL", extra="report", purpose="Keeping an array as an image") from None
    return Image.fromarray(_as_bytes(image))


def _as_bytes(array: Any) -> Any:
    if array.dtype.kind not in "biuf":
        raise InvalidInput(f"An array of type {array.dtype} is no image.", hint="Use whole numbers from 0 to 255, or numbers from 0 to 1.")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or not array.size:
        raise InvalidInput(f"An array of shape {array.shape} is no image.", hint="Use height x width, or height x width x 1, 3 or 4.")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    low, high = array.min(), array.max()
    if array.dtype.kind in "iu":
        if low < 0 or high > 255:
            raise InvalidInput(f"The image has values from {low} to {high}.", hint="Whole numbers go from 0 to 255.")
        return array.astype("uint8")
    if array.dtype.kind == "f" and (low < 0 or high > 1):
        array = (array - low) / ((high - low) or 1)
    return (array * 255).astype("uint8")


def is_pil(image: Any) -> bool:
    """Return whether something is PIL's image, without importing PIL."""
    return all(hasattr(image, name) for name in ("save", "resize", "size", "mode"))


def compressed(image: Any) -> Any:
    """Return a PIL image scaled to fit a square of 256 pixels, as MLflow's pages show it first."""
    width, height = image.size
    scale = _COMPRESSED_SIDE / max(width, height)
    return image.resize((max(1, int(width * scale)), max(1, int(height * scale))))
