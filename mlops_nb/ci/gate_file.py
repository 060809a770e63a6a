"""The gate file, `.mlops/gates.yml`: read with the line of each field, for errors that can be found.

Who may change a notebook may change its gates, too. So a commit is judged by the gates of the default branch, and what it
changes of them stands in the report, where a reviewer decides about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from mlops_nb.ci.origin import LOCAL, Origin
from mlops_nb.ci.worktree import commit_of_branch, top_of
from mlops_nb.core.formatting import one_line
from mlops_nb.core.gates import MAX_GATES, Gate, direction_for, gate_from_fields
from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput, NotFound, did_you_mean
from mlops_nb.forges.git import git

_MAX_BYTES = 64 * 1024
_MAX_DEPTH = 20
_OPENS = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken, yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken)
_CLOSES = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
_EXAMPLE = "Write a list: gates: [{metric: val_auc, direction: maximize, tolerance: 0.002}]"


class GatesChanged(Record, frozen=True, kw_only=True):
    """What a commit changes of the gates: metric, before and now in words (None: no gate); and which of them judged, in words."""

    changes: tuple[tuple[str, str | None, str | None], ...] = ()
    words: str = ""


class GateFile(Record, frozen=True, kw_only=True):
    """The gates of this commit and, where they are others, those of the default branch.

    Attributes:
        own: Those of this commit.
        base: Those of the default branch; None: the same, or not known.
        words: Which of them judge, for the reader; or why those of the default branch are not known.
        by_base: Whether those of the default branch judge.
    """

    own: tuple[Gate, ...]
    base: tuple[Gate, ...] | None = None
    words: str = ""
    by_base: bool = False

    def for_notebook(self, name: str) -> list[Gate]:
        """Return the gates that judge a notebook."""
        return _for(self.base if self.by_base and self.base is not None else self.own, name)

    def changed_for(self, name: str) -> GatesChanged:
        """Return what this commit changes of a notebook's gates."""
        own = _for(self.own, name)
        if self.base is None:
            return GatesChanged(words=self.words if own else "")
        before, now = _by_metric(_for(self.base, name)), _by_metric(own)
        changes = [
            (key[0], _in_words(before.get(key)), _in_words(now.get(key)))
            for key in dict.fromkeys([*before, *now])
            if _plain(before.get(key)) != _plain(now.get(key))
        ]
        return GatesChanged(changes=tuple(changes), words=self.words) if changes else GatesChanged()


def gates_against_base(own: Sequence[Gate], paths: Sequence[Path], origin: Origin, *, by_base: bool) -> GateFile:
    """Compare the gates of this commit with those of the default branch.

    Args:
        own: Those of this commit.
        paths: Where they are, or may be where there are none; the first that the default branch has counts.
        origin: Of this job.
        by_base: Whether those of the default branch are to judge.
    """
    mine = tuple(own)
    top = top_of(next((path.parent for path in paths if path.parent.is_dir()), Path.cwd()))
    if origin.is_default or top is None:
        return GateFile(own=mine)
    branch = origin.default_branch
    try:
        commit = commit_of_branch(top, branch, is_ci=origin.ci != LOCAL)
    except NotFound:
        return GateFile(own=mine, words=f"whether they are those of {branch} is not known, which is not in this clone")
    names = [path.resolve().relative_to(top).as_posix() for path in paths if path.resolve().is_relative_to(top)]
    found = next((text for name in names if (text := git(top, "show", f"{commit}:./{name}")) is not None), None)
    this = "this pull request" if origin.pull_request is not None else "this branch"
    if found is None:
        return GateFile(own=mine, words=f"{this} sets them; {branch} has none" if names else "")
    try:
        base = tuple(gates_from_text(found, where=f"the gate file of {branch}"))
    except InvalidInput as error:
        return GateFile(own=mine, words=f"those of {branch} cannot be read: {error.message}"[:400])
    if [_plain(gate) for gate in base] == [_plain(gate) for gate in mine]:
        return GateFile(own=mine)
    judged = f"judged by those of {branch}" if by_base else f"judged by the changed ones, not by those of {branch}"
    return GateFile(own=mine, base=base, words=f"{this} changes them; {judged}", by_base=by_base)


def _for(gates: Sequence[Gate], name: str) -> list[Gate]:
    return [gate for gate in gates if gate.is_for(name)]


def _by_metric(gates: Sequence[Gate]) -> dict[tuple[str, str, int], Gate]:
    """Return gates by metric and notebooks; several of the same are told apart by their order."""
    found: dict[tuple[str, str, int], Gate] = {}
    for gate in gates:
        place = sum(key[:2] == (gate.metric, gate.notebook) for key in found)
        found[gate.metric, gate.notebook, place] = gate
    return found


def _plain(gate: Gate | None) -> Gate | None:
    """Return a gate without its line, which is no part of what it asks."""
    return None if gate is None else msgspec.structs.replace(gate, line=None)


def _in_words(gate: Gate | None) -> str | None:
    if gate is None:
        return None
    flags = [word for word, is_set in (("not required", not gate.required), ("any difference", not gate.significant)) if is_set]
    flags += ["comparable"] if gate.comparable else []
    return ", ".join([gate.in_words(direction_for(gate, gate.metric)) or "is there", *flags])


def read_gates(path: Path) -> list[Gate]:
    """Read a gate file.

    Raises:
        NotFound: If it is not there.
        InvalidInput: If it does not say what a gate file can say; with the line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"There is no gate file {path}.", hint=_EXAMPLE) from None
    except OSError as error:
        raise InvalidInput(f"The gate file {path} cannot be read: {error.strerror or error}.", hint="Name a readable file.") from None
    if len(content) > _MAX_BYTES:
        raise InvalidInput(f"The gate file {path} is larger than {_MAX_BYTES // 1024} KiB.", hint="Use patterns such as val_*.")
    return gates_from_text(content, where=path.name)


def gates_from_text(content: bytes | str, *, where: str) -> list[Gate]:
    """Return the gates that a gate file's content describes.

    Raises:
        InvalidInput: If it does not say what a gate file can say; with the line.
    """
    root = _composed(content, where)
    if root is None:
        return []
    fields = _mapping(root, where, "A gate file")
    for key, (_, line) in fields.items():
        if key not in ("gates", "version"):
            hint = did_you_mean(key, ["gates", "version"]) or "There are: gates, version."
            raise InvalidInput(f"{where}, line {line}: A gate file has no '{key}'.", hint=hint)
    if "version" in fields and (version := _value(fields["version"][0], where)) != 1:
        raise InvalidInput(
            f"{where}, line {fields['version'][1]}: version is '{one_line(str(version))[:20]}'.", hint="This mlops_nb reads version 1."
        )
    if "gates" not in fields:
        raise InvalidInput(f"{where}: there are no gates in it.", hint=_EXAMPLE)
    entries = fields["gates"][0]
    if isinstance(entries, yaml.ScalarNode) and entries.value == "":
        return []
    if not isinstance(entries, yaml.SequenceNode):
        raise InvalidInput(f"{where}, line {_line(entries)}: gates is no list.", hint=_EXAMPLE)
    if len(entries.value) > MAX_GATES:
        raise InvalidInput(f"{where} has {len(entries.value)} gates; {MAX_GATES} are allowed.", hint="Use patterns such as val_*.")
    return [_gate(entry, where) for entry in entries.value]


def _gate(node: Any, where: str) -> Gate:
    fields = _mapping(node, where, "A gate")
    values = {key: _value(value, where) for key, (value, _) in fields.items()}
    return gate_from_fields(values, {key: line for key, (_, line) in fields.items()}, line=_line(node), where=where)


def _composed(content: bytes | str, where: str) -> Any:
    """Return the document as nodes. Nothing in it makes an object or refers to another part."""
    loader = None
    try:
        depth = 0
        for token in yaml.scan(content, Loader=yaml.SafeLoader):
            depth += isinstance(token, _OPENS) - isinstance(token, _CLOSES)
            if depth > _MAX_DEPTH:  # before it takes long: time goes with the square of the depth
                raise InvalidInput(f"{where}, line {token.start_mark.line + 1}: this is nested too deeply.", hint=_EXAMPLE)
            if isinstance(token, (yaml.AliasToken, yaml.AnchorToken)):
                raise InvalidInput(f"{where}, line {token.start_mark.line + 1}: anchors and aliases are not read.", hint="Write it out.")
        loader = yaml.SafeLoader(content)
        return loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InvalidInput(f"{where}{line}: this is no YAML: {one_line(problem)[:200]}.", hint=_EXAMPLE) from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{where} cannot be read: it is no text.", hint=_EXAMPLE) from None
    finally:
        if loader is not None:
            loader.dispose()


def _mapping(node: Any, where: str, what: str) -> dict[str, tuple[Any, int]]:
    if not isinstance(node, yaml.MappingNode):
        raise InvalidInput(f"{where}, line {_line(node)}: {what} is a mapping of fields.", hint=_EXAMPLE)
    fields: dict[str, tuple[Any, int]] = {}
    for key, value in node.value:
        name = one_line(key.value)[:60] if isinstance(key, yaml.ScalarNode) else "a list or mapping"
        if name in fields:
            raise InvalidInput(f"{where}, line {_line(key)}: '{name}' stands here twice.", hint="Keep one of them.")
        fields[name] = (value, _line(key))
    return fields


def _value(node: Any, where: str) -> Any:
    """Return the value of a scalar, and of all else its kind as a text, which no field takes."""
    if not isinstance(node, yaml.ScalarNode):
        raise InvalidInput(f"{where}, line {_line(node)}: a field has one value, not a list or mapping.", hint=_EXAMPLE)
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError, OverflowError):
        return node.value


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1
