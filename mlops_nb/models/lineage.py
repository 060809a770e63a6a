"""Where a version of a registered model came from: its run, the cell that logged it, the data; and which endpoints serve it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from typing import Any

from mlops_nb.core.formatting import one_line
from mlops_nb.core.model_sources import VersionSource, parse_source
from mlops_nb.core.records import TAG_HYGIENE, CellExecution, ProductKind, Record, Run
from mlops_nb.errors import InvalidInput, NotFound, NotSupported
from mlops_nb.models.remote import version_form
from mlops_nb.store.base import ServedStore, TrackingStore
from mlops_nb.store.registering import find_version

_SCHEME = "models:/"
_LOGGED_MODEL = re.compile(r"m-[0-9a-f]{32}")


class UsedData(Record, frozen=True, kw_only=True):
    """A data set that the run read; `context` is what for, such as `training`."""

    name: str
    digest: str
    context: str = ""


class MakingCell(Record, frozen=True, kw_only=True):
    """The execution that logged the model; `line` is the first line of its code."""

    index: int
    execution_count: int | None = None
    cell_id: str | None = None
    line: str = ""


class Serving(Record, frozen=True, kw_only=True):
    """An endpoint that serves the version: as what (`live`, `canary`, `shadow`), its state, its share of the requests (0 to 1)."""

    endpoint: str
    role: str
    state: str
    share: float = 1.0


class Lineage(Record, frozen=True, kw_only=True):
    """A version with where it came from.

    Attributes:
        run_id: The run that made it, or "".
        run: Its name; "" where the run is gone.
        hygiene: How the run's cells stand to the notebook: `linear`, `reordered`, `unsaved`; "" where that is not known.
        cell: What logged it, where a cell did.
        endpoints: None where no Jupyter server runs that could serve it.
    """

    name: str
    version: int
    aliases: list[str] = []
    stage: str = "None"
    created: int = 0
    user: str = ""
    description: str = ""
    tags: dict[str, str] = {}
    source: str = ""
    model_id: str = ""
    run_id: str = ""
    run: str = ""
    notebook: str = ""
    hygiene: str = ""
    cell: MakingCell | None = None
    data: list[UsedData] = []
    endpoints: list[Serving] | None = None

    @property
    def uri(self) -> str:
        """What names exactly this version."""
        return f"{_SCHEME}{self.name}/{self.version}"

    def __str__(self) -> str:
        return "\n".join(f"{name + ':':<13} {one_line(value)}".rstrip() for name, value in self._facts())

    def _facts(self) -> Iterable[tuple[str, str]]:
        yield "Model", self.uri + "".join(f" @{alias}" for alias in self.aliases)
        yield from ((name, value) for name, value in (("Description", self.description), ("By", self.user)) if value)
        if self.stage != "None":
            yield "Stage", self.stage
        yield "Source", self.source
        if self.model_id:
            yield "Model id", self.model_id
        yield "Run", f"{self.run} ({self.run_id})" if self.run else f"{self.run_id} (gone)" if self.run_id else "not known"
        if self.notebook:
            yield "Notebook", self.notebook + (f", {self.hygiene}" if self.hygiene else "")
        if self.cell is not None:
            number = self.cell.index if self.cell.execution_count is None else self.cell.execution_count
            yield "Cell", f"[{number}] {self.cell.line}"
        yield "Data", ", ".join(f"{one.name} {one.digest}" + (f" ({one.context})" if one.context else "") for one in self.data) or "none"
        yield "Endpoints", served(self.endpoints)
        if self.tags:
            yield "Tags", ", ".join(f"{key}={value}" for key, value in self.tags.items())


def served(endpoints: list[Serving] | None) -> str:
    """Return endpoints in words."""
    if endpoints is None:
        return "no Jupyter server runs here"
    return ", ".join(f"{one.endpoint} ({one.role}, {one.state})" for one in endpoints) or "none"


def wanted(text: str) -> VersionSource:
    """Return what `NAME`, `NAME@ALIAS`, `NAME/VERSION` or the same with `models:/` stands for; the newest by default.

    Raises:
        InvalidInput: If it is none of these.
    """
    inner = text.removeprefix(_SCHEME)
    is_whole = "/" in inner or "@" in inner or _LOGGED_MODEL.fullmatch(inner)
    source = parse_source(_SCHEME + (inner if is_whole else f"{inner}/latest"))
    if not isinstance(source, VersionSource):
        raise InvalidInput(f"'{text[:200]}' names no version of a registered model.", hint="Give NAME, NAME@ALIAS or NAME/VERSION.")
    return source


def lineage(store: TrackingStore, source: VersionSource) -> Lineage:
    """Return where a version came from; which endpoints serve it, only those who run them know.

    Raises:
        NotFound: If there is no such version.
    """
    if isinstance(store, ServedStore):
        found = find_version(store.registry, source)
        known: dict[str, Any] = {
            **{"name": found.name, "version": found.version, "aliases": found.aliases, "stage": found.stage.value, "user": found.user},
            **{"created": found.creation_time, "description": found.description, "tags": found.tags, "source": found.source},
            **{"model_id": found.model_id, "run_id": found.run_id},
        }
    else:
        form = version_form(store, source)
        known = {
            **{"name": form["name"], "version": int(form["version"]), "aliases": sorted(form.get("aliases", []))},
            **{"stage": form.get("current_stage", "None"), "user": form.get("user_id", ""), "created": int(form["creation_timestamp"])},
            **{"description": form.get("description", ""), "source": form.get("source", ""), "run_id": form.get("run_id", "")},
            **{"model_id": form.get("model_id", ""), "tags": {one["key"]: one["value"] for one in form.get("tags", [])}},
        }
    if not known["model_id"] and known["source"].startswith(f"{_SCHEME}m-"):
        known["model_id"] = known["source"].removeprefix(_SCHEME)
    if not known["run_id"] and known["source"].startswith("runs:/"):
        known["run_id"] = known["source"].removeprefix("runs:/").partition("/")[0]
    run = _run(store, known["run_id"])
    if run is None:
        return Lineage(**known)
    return Lineage(
        **known,
        run=run.name,
        notebook=run.notebook or "",
        hygiene=run.tags.get(TAG_HYGIENE, ""),
        cell=_cell(store, run, known["model_id"]),
        data=[UsedData(name=one.dataset.name, digest=one.dataset.digest, context=one.context or "") for one in run.inputs.datasets],
    )


def _run(store: TrackingStore, run_id: str) -> Run | None:
    if not run_id:
        return None
    try:
        return store.get_run(run_id)
    except NotFound:
        return None


def _cell(store: TrackingStore, run: Run, model_id: str) -> MakingCell | None:
    executions: list[CellExecution] = []
    with contextlib.suppress(NotSupported):  # of MLflow's own server
        executions = store.cells(run.run_id)
    for one in executions:
        if any(product.kind is ProductKind.MODEL and product.name == model_id for product in one.products):
            line = next((line.strip() for line in one.source.splitlines() if line.strip()), "")
            return MakingCell(index=one.index, execution_count=one.execution_count, cell_id=one.cell_id, line=line[:120])
    return None
