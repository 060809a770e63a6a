"""Colours and measures of charts.

Every colour is of middle lightness, so that it stands out at 3:1 and more from white and from JupyterLab's dark pages
alike: neither a static picture nor Plotly's knows on which of them it lies. The hues follow Okabe and Ito, who chose
them to differ for every kind of sight; past the last one the dashes change too.
"""

from __future__ import annotations

TEXT = "#7a7a7a"
GRID = "rgba(128,128,128,0.25)"
GREY = "#808080"
COLOURS = ("#0077bb", "#d55e00", "#009068", "#c0569b", "#9a7400", "#7b61d9", "#2a8a9e")
DASHES = ("solid", "dash", "dot", "dashdot")
SVG_DASHES = {"solid": "", "dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3"}
LOW, MIDDLE, HIGH = (0, 119, 187), (138, 118, 142), (213, 94, 0)
_PALE, _DEEP = (232, 241, 248), (8, 72, 138)

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
WIDTH = 760
PANEL_HEIGHT = 250


def colour(look: int) -> str:
    """Return the colour of a line by its number; grey for -1."""
    return GREY if look < 0 else COLOURS[look % len(COLOURS)]


def dash(look: int) -> str:
    """Return the dashes of a line by its number."""
    return "dot" if look < 0 else DASHES[look // len(COLOURS) % len(DASHES)]


def translucent(look: int, alpha: float) -> str:
    """Return the colour of a line for the band around it."""
    red, green, blue = (int(colour(look)[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def shade(share: float) -> str:
    """Return the colour at a place, 0 to 1, on the scale from blue over grey to vermilion."""
    ends = (LOW, MIDDLE, share * 2) if share < 0.5 else (MIDDLE, HIGH, share * 2 - 1)
    return _between(*ends)


def depth(share: float) -> tuple[str, str]:
    """Return the fill of a cell of a matrix, pale to deep blue, and the colour of the text in it."""
    return _between(_PALE, _DEEP, share), "#ffffff" if share > 0.45 else "#1f2328"


def _between(one: tuple[int, int, int], other: tuple[int, int, int], share: float) -> str:
    share = min(1.0, max(0.0, share))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(one, other, strict=True))
