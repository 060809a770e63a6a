"""What DVC writes, as parts of a report: `dvc metrics diff --json` or `--md`, `dvc plots diff --json`, folders of plots.

Formats after DVC 3's sources. `metrics diff --json`: {path: {metric: {"old": .., "new": .., "diff": ..}}}. `plots diff
--json`: {"data": {plot: [{"type": "vega", "revisions": [..], "content": SPEC, "datapoints": {revision: [..]}} or {"type":
"image", "revisions": [..], "url": PATH}]}, "errors": [..]}; before DVC 3 without "data". With `--split` the rows are not in
the specification, which holds "<DVC_METRIC_DATA>" in their place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mlops_nb.core.comparison import Direction, direction_of
from mlops_nb.core.comparison import Verdict as MetricVerdict
from mlops_nb.errors import InvalidInput
from mlops_nb.reports.pull_request.data import MAX_IMAGE_BYTES, Image, Metric, Notebook, Number, Side
from mlops_nb.reports.pull_request.pictures import MAX_PICTURES, Pictures
from mlops_nb.reports.pull_request.vega import MAX_SPEC_BYTES, to_png

_MAX_BYTES = 64_000_000
_ROWS = "<DVC_METRIC_DATA>"
_PICTURES = (".png", ".jpg", ".jpeg")
_NOTE = "single value, noise unknown"


def metrics_from_dvc(path: Path) -> list[Metric]:
    """Return the metrics of a file with the output of `dvc metrics diff --json` or `--md`.

    Raises:
        InvalidInput: If it holds neither.
        OSError: If it cannot be read.
    """
    text = _text(path)
    if text.lstrip()[:1] == "|":
        rows = list(_rows_of_markdown(text, path))
    else:
        found = _json(text, path, "dvc metrics diff --json")
        rows = [(file, key, change) for file, metrics in found.items() if isinstance(metrics, dict) for key, change in metrics.items()]
    several = len({file for file, _, _ in rows}) > 1
    kept = [_metric(f"{file}: {key}" if several and file else key, change) for file, key, change in rows]
    if not kept and text.strip() not in ("", "{}"):
        raise InvalidInput(f"No metric was found in {path}.", hint="Write it by: dvc metrics diff --json main > metrics.json")
    return [metric for metric in kept if metric is not None]


def _metric(key: str, change: Any) -> Metric | None:
    if not isinstance(change, Mapping):
        return None
    old, new = _number(change.get("old")), _number(change.get("new"))
    if old is None and new is None:  # texts, such as a grade
        return None
    direction = direction_of(key)
    difference = new - old if old is not None and new is not None else None
    if old is None or new is None:
        verdict = MetricVerdict.NEW if old is None else MetricVerdict.MISSING
    elif not math.isfinite(new - old):
        verdict = MetricVerdict.NOT_COMPARABLE
    elif new == old:
        verdict = MetricVerdict.SAME
    elif direction is Direction.NONE:
        verdict = MetricVerdict.DIFFERENT
    else:
        verdict = MetricVerdict.BETTER if (new > old) is (direction is Direction.HIGHER) else MetricVerdict.WORSE
    note = _NOTE if verdict in (MetricVerdict.BETTER, MetricVerdict.WORSE) else ""
    return Metric(
        key=key[:400], direction=direction, base=_word(old), this=_word(new), difference=_word(difference), verdict=verdict, note=note
    )


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _word(value: float | None) -> Number:
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _rows_of_markdown(text: str, path: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Return the rows of a table whose columns are [Path,] Metric, the two revisions, Change."""
    lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if line.strip().startswith("|")]
    header = [cell.lower() for cell in lines[0]] if lines else []
    if "metric" not in header or len(header) < header.index("metric") + 3:
        raise InvalidInput(
            f"The table in {path} has no column Metric with two values behind it.", hint="Write it by: dvc metrics diff --md main"
        )
    at = header.index("metric")
    for cells in lines[2:]:
        if len(cells) >= at + 3:
            yield cells[0] if at else "", cells[at], {"old": cells[at + 1], "new": cells[at + 2]}


# -- plots


def plots_from_dvc(path: Path, pictures: Pictures, *, base: str | None = None) -> list[Image]:
    """Return the plots of a file with the output of `dvc plots diff --json`, of a specification, or of a folder of both and pictures.

    Args:
        path: The file or folder. Pictures that a file names must lie in its folder or in the working folder.
        pictures: Takes the files.
        base: The revision that is the base; by default the one that is not the workspace.

    Raises:
        InvalidInput: If a file is none of these, or a plot would load something.
        MissingDependencyError: If vl-convert is not installed.
        OSError: If it cannot be read.
    """
    if path.is_dir():
        found = []
        for each in sorted(path.rglob("*"))[: 10 * MAX_PICTURES]:
            if each.suffix.lower() == ".json" and each.is_file():
                found += _plots_of_file(each, pictures, base)
            elif each.suffix.lower() in _PICTURES and each.is_file():
                side, subject = _side_of_name(each.name, base)
                found += _picture(each, subject, side, pictures, within=path)
        return found
    return _plots_of_file(path, pictures, base)


def _plots_of_file(path: Path, pictures: Pictures, base: str | None) -> list[Image]:
    found = _json(_text(path), path, "dvc plots diff --json")
    if "$schema" in found or "mark" in found or "layer" in found:
        return _drawn(found, path.stem, pictures)
    plots = found.get("data", found)
    images: list[Image] = []
    for name, views in plots.items() if isinstance(plots, dict) else ():
        for view in views if isinstance(views, list) else ():
            if not isinstance(view, dict):
                continue
            if view.get("type") == "vega":
                images += _drawn(_filled(view, path), str(name), pictures)
            elif view.get("type") == "image" and isinstance(view.get("url"), str):
                revisions = [str(each) for each in view.get("revisions") or [""]]
                side = Side.BASE if revisions[0] == base or (base is None and revisions[0] not in ("workspace", "")) else Side.THIS
                images += _picture(Path(view["url"]), str(name), side, pictures, within=path.parent)
    return images


def _filled(view: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the specification of a plot with its rows, wherever DVC left them."""
    content = view.get("content")
    if isinstance(content, str):
        content = _json(content, path, "dvc plots diff --json")
    if not isinstance(content, dict):
        raise InvalidInput(f"A plot in {path} has no specification.", hint="Write it by: dvc plots diff --json main > plots.json")
    points = view.get("datapoints")
    rows = [row for each in points.values() for row in each] if isinstance(points, dict) else points if isinstance(points, list) else []
    anchors = view.get("anchor_definitions")
    known = {**(anchors if isinstance(anchors, dict) else {}), _ROWS: rows}

    def fill(value: Any, depth: int) -> Any:
        if depth > 60:
            raise InvalidInput(f"A plot in {path} is nested too deep.", hint="Use a template of DVC.")
        if isinstance(value, str):
            return known.get(value, value)
        if isinstance(value, dict):
            return {key: each if key == "values" and isinstance(each, list) else fill(each, depth + 1) for key, each in value.items()}
        return [fill(each, depth + 1) for each in value] if isinstance(value, list) else value

    filled = fill(content, 0)
    return dict(filled)


def _drawn(spec: dict[str, Any], subject: str, pictures: Pictures) -> list[Image]:
    image = pictures.add(to_png(spec), subject, Side.BOTH, 0.5)
    return [image] if image is not None else []


def _picture(file: Path, subject: str, side: Side, pictures: Pictures, *, within: Path) -> list[Image]:
    real = file if file.is_absolute() else within / file
    real = real.resolve()
    if not any(real.is_relative_to(folder.resolve()) for folder in (within, Path.cwd())):
        raise InvalidInput(
            f"The plot {subject[:80]!r} is the file {file}, outside of {within}.", hint="Write plots into the project's folder."
        )
    if not real.is_file() or real.stat().st_size > MAX_IMAGE_BYTES:
        return []
    image = pictures.add(real.read_bytes(), subject, side, 0.5)
    return [image] if image is not None else []


def _side_of_name(name: str, base: str | None) -> tuple[Side, str]:
    """Return side and subject of a file that DVC called REVISION_NAME."""
    revision, _, rest = name.partition("_")
    if not rest:
        return Side.THIS, name
    if revision == "workspace":
        return Side.THIS, rest
    is_base = revision == base or (base is None and re.fullmatch(r"HEAD|main|master|[0-9a-f]{7,40}", revision) is not None)
    return (Side.BASE, rest) if is_base else (Side.THIS, name)


def _text(path: Path) -> str:
    if path.stat().st_size > (_MAX_BYTES if path.suffix != ".json" else 8 * MAX_SPEC_BYTES):
        raise InvalidInput(f"{path} has {path.stat().st_size:,} bytes.", hint="Plot fewer points.")
    return path.read_bytes().decode("utf-8", "replace").removeprefix("\ufeff")


def _json(text: str, path: Path, command: str) -> dict[str, Any]:
    try:
        # Unlike JSON, DVC writes NaN.
        plain = re.sub(r"(?<=[:\s\[,])-?(?:NaN|Infinity)(?=\s*[,}\]])", lambda found: f'"{found[0]}"', text)
        found = msgspec.json.decode(plain or "{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"{path} is no JSON: {str(error)[:120]}.", hint=f"Write it by: {command} main > {path.name}") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"{path} is not what DVC writes.", hint=f"Write it by: {command} main > {path.name}")
    return found


def add_dvc(
    notebook: Notebook, pictures: Pictures, *, metrics: Path | None = None, plots: Path | None = None, base: str | None = None
) -> Notebook:
    """Return a notebook's part of a report with metrics and plots of DVC behind its own; of metrics that both have, its own count."""
    known = {metric.key for metric in notebook.metrics}
    added = [metric for metric in metrics_from_dvc(metrics) if metric.key not in known] if metrics is not None else []
    drawn = plots_from_dvc(plots, pictures, base=base) if plots is not None else []
    if not added and not drawn:
        return notebook
    return msgspec.structs.replace(notebook, metrics=[*notebook.metrics, *added][:5000], images=[*notebook.images, *drawn][:600])
