"""Saving what people call a figure: anything that matplotlib, plotly or PIL made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlops_nb.errors import InvalidInput


def default_name(figure: Any, stem: str) -> str:
    """Return a file name whose type suits the figure."""
    return f"{stem}.html" if hasattr(figure, "to_plotly_json") else f"{stem}.png"


def is_figure(thing: Any) -> bool:
    """Return whether `save` knows what to do with it."""
    return hasattr(thing, "to_plotly_json") or hasattr(thing, "savefig") or (hasattr(thing, "save") and hasattr(thing, "mode"))


def save(figure: Any, path: Path, suffix: str, **options: Any) -> None:
    """Write a figure to a path in the format that the suffix of its name asks for.

    Raises:
        InvalidInput: If it is no figure that we know.
    """
    if hasattr(figure, "to_plotly_json"):
        if suffix == ".json":
            path.write_text(figure.to_json(), encoding="utf-8")
        else:
            path.write_text(figure.to_html(**{"include_plotlyjs": True, "full_html": True, **options}), encoding="utf-8")
    elif hasattr(figure, "savefig"):
        figure.savefig(path, **{"format": suffix.lstrip(".") or "png", "bbox_inches": "tight", **options})
    elif hasattr(figure, "save") and hasattr(figure, "mode"):
        figure.save(path, format={".jpg": "JPEG"}.get(suffix, (suffix.lstrip(".") or "png").upper()), **options)
    else:
        raise InvalidInput(f"A {type(figure).__name__} is no figure.", hint="Give a matplotlib or plotly figure or a PIL image.")
