"""The gate file, `.mlops/gates.yml`: read with the line of each field, for errors that can be found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mlops_nb.core.formatting import one_line
from mlops_nb.core.gates import MAX_GATES, Gate, gate_from_fields
from mlops_nb.errors import InvalidInput, NotFound, did_you_mean

_MAX_BYTES = 64 * 1024
_MAX_DEPTH = 20
_OPENS = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken, yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken)
_CLOSES = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
_EXAMPLE = "Write a list: gates: [{metric: val_auc, direction: maximize, tolerance: 0.002}]"


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
