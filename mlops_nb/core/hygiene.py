"""What stands between a notebook and the same results from top to bottom."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from html import escape

from mlops_nb.core.provenance import Hygiene, Place, Standing, closure, graded, is_variable
from mlops_nb.core.records import CellExecution, CellOutcome, Record


class FindingKind(StrEnum):
    """What can be wrong with a cell.

    CHANGED: its code is not the code that ran. DELETED: others need it, and it is gone. UNSAVED: a version of it is
    needed that it no longer holds. STALE: what it used was written again after it ran. OUT_OF_ORDER: it used, or would
    use, a value of a cell further down. UNDEFINED: no cell above it makes what it uses. RUN_TWICE: it ran more than once
    though each time it changes what it begins with.
    """

    CHANGED = "changed"
    DELETED = "deleted"
    UNSAVED = "unsaved"
    STALE = "stale"
    OUT_OF_ORDER = "out-of-order"
    UNDEFINED = "undefined"
    RUN_TWICE = "run-twice"


class Finding(Record, frozen=True, kw_only=True):
    """One thing that is wrong with one cell: `label` is how people call the cell, `names` are the variables concerned."""

    kind: FindingKind
    cell_id: str | None
    label: str
    message: str
    names: list[str] = []


class Check(Record, frozen=True, kw_only=True):
    """The result of a check: `subject` is the notebook or run, `cells` the number of cells looked at.

    `hygiene` is None where it is not known.
    """

    subject: str
    cells: int
    hygiene: Hygiene | None
    findings: list[Finding] = []

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def verdict(self) -> str:
        """The result in one line."""
        count = f"{self.cells} cell{'' if self.cells == 1 else 's'}"
        if self.ok:
            order = "runs top to bottom" if self.hygiene else "whether it runs top to bottom is not known"
            return f"{self.subject}: {count} · no problems · {order}"
        problems = f"{len(self.findings)} problem{'' if len(self.findings) == 1 else 's'}"
        return f"{self.subject}: {count} · {problems}" + (f" · {self.hygiene.value}" if self.hygiene else "")

    def __str__(self) -> str:
        return "\n".join([self.verdict, *(f"  {finding.label} {finding.message}" for finding in self.findings)])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}

    def _repr_html_(self) -> str:
        colour = "var(--jp-success-color1, #2e7d32)" if self.ok else "var(--jp-warn-color1, #b26a00)"
        rows = "".join(
            f'<tr><td style="text-align:left">{escape(f.label)}</td><td style="text-align:left">{escape(f.kind.value)}</td>'
            f'<td style="text-align:left">{escape(f.message)}</td></tr>'
            for f in self.findings[:_SHOWN]
        )
        more = f"<div>and {len(self.findings) - _SHOWN} more</div>" if len(self.findings) > _SHOWN else ""
        return (
            f'<div style="border-left:3px solid {colour};padding:2px 10px;margin:2px 0">'
            f'<span style="color:{colour}" aria-hidden="true">{"✓" if self.ok else "⚠"}</span> <b>{escape(self.verdict)}</b>'
            + (f"<table>{rows}</table>" if rows else "")
            + f"{more}</div>"
        )


_SHOWN = 40
_KNOWN = frozenset(dir(builtins)) | frozenset(
    "In Out __builtin__ __builtins__ __name__ __doc__ _ __ ___ display exit get_ipython quit".split()
)
_OF_OUTPUTS = re.compile(r"_\d+|_i+|_i\d+|_dh|_ih|_oh")


def check(subject: str, standing: Standing, targets: Iterable[int] | None = None) -> Check:
    """Check a notebook, or what a run needs of it.

    Args:
        subject: What the result is about, for people.
        standing: The executions and the notebook.
        targets: The executions that gave the run its results; None checks every cell as it ran last.
    """
    wanted = _last_of_each_place(standing) if targets is None else list(targets)
    needed = [standing.by_index[index] for index in closure(standing.executions, wanted, standing.writers)]
    findings: list[Finding] = []
    for execution in needed:
        findings += _versions(execution, standing)
    end = max(wanted, default=-1) if targets is not None else None
    for execution in needed:
        findings += _order(execution, standing, end)
    if targets is None:
        found = {(f.cell_id, name) for f in findings for name in f.names}
        gone = {name for f in findings if f.kind is FindingKind.DELETED for name in f.names}
        findings += [f for f in from_top_to_bottom(standing) if (f.cell_id, f.names[0]) not in found and f.names[0] not in gone]
    return Check(
        subject=subject,
        cells=len(standing.places) if targets is None and standing.places else len(needed),
        hygiene=graded(needed, standing),
        findings=_once(findings),
    )


def _last_of_each_place(standing: Standing) -> list[int]:
    last: dict[int, CellExecution] = {}
    for execution in standing.executions:
        position = standing.position(execution)
        if position is None and not standing.is_deleted(execution):  # a cell that the file does not have yet
            position = -1 - execution.index
        if position is not None and standing.is_last(execution):
            last[position] = execution
    return sorted(execution.index for execution in last.values() if execution.outcome is CellOutcome.OK)


# -- versions


def _versions(execution: CellExecution, standing: Standing) -> list[Finding]:
    """Find out whether the version of a cell that is needed is still there."""
    needed_for = sorted(name for name in execution.writes if is_variable(name))
    of = f" ({_listed(needed_for)})" if needed_for else ""
    if standing.is_deleted(execution):
        kind = FindingKind.DELETED if execution.cell_id else FindingKind.UNSAVED
        what = "is no longer in the notebook" if execution.cell_id else "ran in a version that is not in the notebook"
        return [_finding(kind, execution, standing, f"{what}, but its results{of} are used.", needed_for)]
    if standing.is_changed(execution):
        if standing.is_last(execution):
            return [_finding(FindingKind.CHANGED, execution, standing, "was changed after it ran.", needed_for)]
        return [
            _finding(FindingKind.UNSAVED, execution, standing, f"holds another version; results{of} of the older one are used.", needed_for)
        ]
    return []


# -- order


def _order(execution: CellExecution, standing: Standing, end: int | None) -> list[Finding]:
    """Find out whether a cell would get the same values from top to bottom."""
    findings = []
    here = standing.position(execution)
    if here is None:
        return []
    for name in filter(is_variable, execution.reads):
        writer = standing.writer_of(name, execution)
        if writer is None:
            continue
        there = standing.position(writer)
        if standing.is_same_cell(writer, execution):
            if name in standing.names(execution.source).evolves or _has_no_source(execution, name):
                message = f"ran more than once, and each time it changes {name}, with which it begins."
                findings.append(_finding(FindingKind.RUN_TWICE, execution, standing, message, [name]))
        elif there is not None and there > here:
            message = f"used {name} of {_label(writer, standing)}, which stands further down."
            findings.append(_finding(FindingKind.OUT_OF_ORDER, execution, standing, message, [name]))
        elif (again := _written_again(name, writer, execution, standing, end)) is not None:
            message = f"used {name} before {_label(again, standing)} wrote it again."
            findings.append(_finding(FindingKind.STALE, execution, standing, message, [name]))
        elif (place := standing.between(name, writer, execution)) is not None:
            message = f"used {name} of {_label(writer, standing)}; from top to bottom cell {place.position + 1} would write it in between."
            findings.append(_finding(FindingKind.OUT_OF_ORDER, execution, standing, message, [name]))
    return findings


def _has_no_source(execution: CellExecution, name: str) -> bool:
    return not execution.source and name in execution.writes


def _written_again(name: str, writer: CellExecution, reader: CellExecution, standing: Standing, end: int | None) -> CellExecution | None:
    """Return the last execution of a cell above the reader that wrote a name after the reader had used it."""
    here = standing.position(reader)
    if here is None or not standing.is_last(reader):
        return None
    for index in reversed(standing.writers.after(name, reader.index)):
        again = standing.by_index[index]
        there = standing.position(again)
        if (end is not None and index > end) or there is None or there >= here or standing.is_same_cell(again, reader):
            continue
        names = standing.names(again.source)
        gives_the_same = again.source_hash == writer.source_hash and (name in names.definite or (not again.source and not again.reads))
        if not gives_the_same and name not in names.modules:
            return again
    return None


# -- from top to bottom, by the sources alone


def from_top_to_bottom(standing: Standing) -> list[Finding]:
    """Find the names that a cell uses and no cell above it makes.

    Of a cell that ran as it is now it is known what it used and made; of others the source tells.
    """
    ran = standing.ran_as_they_are()
    cells = [(place, standing.names(place.source)) for place in standing.places]
    makers: dict[str, Place] = {}
    for place, names in reversed(cells):
        makers |= dict.fromkeys(names.binds | names.promised, place)
    known: set[str] = set(_KNOWN)
    deferred: dict[str, frozenset[str]] = {}
    findings = []
    for place, names in cells:
        execution = ran.get(place.position)
        if names.is_opaque and execution is None:
            break
        used = set(names.reads)
        for name in names.reads:
            used |= _behind(name, deferred) - names.before.get(name, frozenset())
        if execution is not None:
            used &= set(execution.reads)
            known.update(execution.writes)
        for name in sorted(used - known):
            if _OF_OUTPUTS.fullmatch(name) or (name in names.binds and name not in names.reads):
                continue
            below = makers.get(name)
            if below is not None and below.position > place.position:
                kind, message = FindingKind.OUT_OF_ORDER, f"uses {name}, which only cell {below.position + 1}, further down, makes."
            else:
                kind, message = FindingKind.UNDEFINED, f"uses {name}, which no cell above it makes."
            findings.append(Finding(kind=kind, cell_id=place.cell_id, label=f"cell {place.position + 1}", message=message, names=[name]))
            known.add(name)
        known |= names.binds | names.promised
        deferred |= names.deferred
    return findings


def _behind(name: str, deferred: dict[str, frozenset[str]]) -> set[str]:
    """Return the globals that the code behind a name uses."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for used in deferred.get(todo.pop(), ()):
            if used not in found:
                found.add(used)
                todo.append(used)
    return found


# -- words


def _finding(kind: FindingKind, execution: CellExecution, standing: Standing, message: str, names: Sequence[str]) -> Finding:
    return Finding(kind=kind, cell_id=execution.cell_id, label=_label(execution, standing), message=message, names=list(names))


def _label(execution: CellExecution, standing: Standing) -> str:
    if execution.execution_count is not None:
        return f"cell [{execution.execution_count}]"
    position = standing.position(execution)
    return "a cell that is gone" if position is None else f"cell {position + 1}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


def _once(findings: Sequence[Finding]) -> list[Finding]:
    """Return one finding for each kind and cell, with the names of all."""
    merged: dict[tuple[FindingKind, str], Finding] = {}
    for finding in findings:
        key = (finding.kind, finding.cell_id or finding.label)
        known = merged.get(key)
        if known is None:
            merged[key] = finding
        elif finding.names and finding.names[0] not in known.names:
            joined = Finding(
                kind=finding.kind,
                cell_id=finding.cell_id,
                label=known.label,
                message=f"{known.message} It also {finding.message}" if len(known.message) < 300 else known.message,
                names=[*known.names, *finding.names],
            )
            merged[key] = joined
    return list(merged.values())
