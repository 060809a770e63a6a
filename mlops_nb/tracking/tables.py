"""Tables as artifacts, in the JSON that MLflow's pages read: `{"columns": [...], "data": [[...], ...]}`."""

from __future__ import annotations

import json
import logging
import posixpath
import uuid
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from mlops_nb.errors import InvalidInput, MlopsError, NotFound
from mlops_nb.store.base import TrackingStore
from mlops_nb.tracking import images

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_nb.tracking.run import ActiveRun

logger = logging.getLogger("mlops_nb")

TAG_LOGGED_ARTIFACTS = "mlflow.loggedArtifacts"


class Table(msgspec.Struct):
    """Columns by name and rows of values."""

    columns: list[str]
    data: list[list[Any]]

    def extend(self, other: Table) -> None:
        """Add the rows of another table; what one of them lacks is None."""
        new = [column for column in other.columns if column not in self.columns]
        self.columns += new
        for row in self.data:
            row += [None] * len(new)
        places = [other.columns.index(column) if column in other.columns else None for column in self.columns]
        self.data += [[None if at is None else row[at] for at in places] for row in other.data]


_kept: weakref.WeakKeyDictionary[ActiveRun, dict[str, Table]] = weakref.WeakKeyDictionary()


def log_table(run: ActiveRun, data: Any, artifact_file: str, store: Callable[[], TrackingStore]) -> None:
    """Keep a table, behind the rows that were kept under this name before.

    Args:
        run: The run.
        data: A pandas DataFrame, or columns by name: sequences of one length, or single values. Images are kept as files.
        artifact_file: The name, which ends in `.json`.
        store: Gives the store, for what a resumed run has kept already.

    Raises:
        InvalidInput: If it is no table, or the name ends otherwise.
    """
    if not artifact_file.endswith(".json"):
        raise InvalidInput(f"A table cannot be kept as '{artifact_file}'.", hint="Let the name end in .json")
    rows = _table_of(run, data, artifact_file)
    tables = _kept.setdefault(run, {})
    table = tables.get(artifact_file)
    if table is None:
        table = tables[artifact_file] = _earlier(run, artifact_file, store) if run.continues else Table([], [])
    table.extend(rows)
    run.add_bytes(msgspec.json.encode(table), artifact_file)
    entries = json.loads(run.tags.get(TAG_LOGGED_ARTIFACTS, "[]"))
    entry = {"path": artifact_file, "type": "table"}
    if entry not in entries:
        run.set_tag(TAG_LOGGED_ARTIFACTS, json.dumps([*entries, entry]))


def _earlier(run: ActiveRun, artifact_file: str, store: Callable[[], TrackingStore]) -> Table:
    try:
        run.tags.setdefault(TAG_LOGGED_ARTIFACTS, run.record().tags.get(TAG_LOGGED_ARTIFACTS, "[]"))
        return msgspec.json.decode(b"".join(store().read_artifact(run.run_id, artifact_file)), type=Table)
    except NotFound:
        return Table([], [])
    except (MlopsError, msgspec.MsgspecError) as error:  # a log call goes on whatever the store says
        logger.warning("The rows that '%s' has already cannot be read (%s): the table begins anew.", artifact_file, error)
        return Table([], [])


def _table_of(run: ActiveRun, data: Any, artifact_file: str) -> Table:
    if isinstance(data, Mapping):
        columns = {str(key): _values(value) for key, value in data.items()}
        sizes = {len(values) for values in columns.values()}
        if len(sizes) > 1:
            raise InvalidInput(f"The columns of a table have {min(sizes)} to {max(sizes)} values.", hint="Give all of them as many.")
    elif hasattr(data, "to_json") and hasattr(data, "columns"):
        columns = _columns_of(data)
    else:
        raise InvalidInput(f"A {type(data).__name__} is no table.", hint="Give a pandas DataFrame or a dictionary of columns.")
    kept = {key: [_plain(run, value, artifact_file) for value in values] for key, values in columns.items()}
    return Table(list(kept), [list(row) for row in zip(*kept.values(), strict=True)])


def _columns_of(frame: Any) -> dict[str, list[Any]]:
    """Return the columns of a DataFrame as pandas writes them in JSON, images as they are."""
    pictures = {name for name in frame.columns if str(frame[name].dtype) == "object" and frame[name].map(images.is_pil).any()}
    text = frame[[name for name in frame.columns if name not in pictures]].to_json(
        orient="split", index=False, date_format="iso", double_precision=15
    )
    table = msgspec.json.decode(text, type=Table)
    written = dict(zip([c for c in frame.columns if c not in pictures], zip(*table.data, strict=True), strict=False))
    return {str(name): list(frame[name]) if name in pictures else list(written.get(name, ())) for name in frame.columns}


def _values(value: Any) -> list[Any]:
    if hasattr(value, "tolist") and getattr(value, "ndim", 1) != 0:
        return list(value.tolist())
    return list(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value]


def _plain(run: ActiveRun, value: Any, artifact_file: str) -> Any:
    if images.is_pil(value):
        stem = posixpath.join("table_images", posixpath.splitext(artifact_file)[0], str(uuid.uuid4()))
        run.log_figure(value, f"{stem}.png")
        run.log_figure(images.compressed(value), f"{stem}.webp")
        return {"type": "image", "filepath": f"{stem}.png", "compressed_filepath": f"{stem}.webp"}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, (bool, int, float, str, list, dict, type(None))) else str(value)
