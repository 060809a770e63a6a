"""The Python that does what a line of `%track` does: what `--code` prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlops_nb.core.filters import looks_like_filter, order_clause
from mlops_nb.core.records import TAG_ATTEMPT, TAG_SERIES
from mlops_nb.magics.arguments import split_assignment, unquoted


class _Code(str):
    """Text that is Python already."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def twin_of(verb: str, arguments: Any, *, variables: Mapping[str, Any], is_cell: bool = False) -> str:
    """Return the Python twin of a verb with its parsed arguments.

    Args:
        verb: A verb of `parsers.VERBS`.
        arguments: What its parser gave.
        variables: Of the notebook, to tell a variable from a path.
        is_cell: Whether it is the line `%%track`, whose run is a `with` block.
    """
    lines = ["import mlops_nb", *_TWINS[verb](arguments, variables)]
    if is_cell:
        lines[-1] = f"with {lines[-1].removeprefix('run = ')} as run:\n    ..."
    return "\n".join(lines)


def _call(function: str, /, *positional: Any, **named: Any) -> str:
    given = [repr(value) for value in positional]
    given += [f"{key}={value!r}" for key, value in named.items() if value not in (None, {}, [], False)]
    return f"mlops_nb.{function}({', '.join(given)})"


def _text(word: str | None) -> str | None:
    return None if word is None else unquoted(word)


def _run(word: str, variables: Mapping[str, Any]) -> Any:
    return _Code(word) if word.isidentifier() and word in variables else unquoted(word)


def _thing(word: str, variables: Mapping[str, Any]) -> Any:
    return _Code(word) if word.partition("[")[0].partition(".")[0] in variables else unquoted(word)


def _expressions(words: Sequence[str]) -> dict[str, Any]:
    pairs = (split_assignment(word) or (word, "...") for word in words)
    return {key: _Code(expression) for key, expression in pairs}


def _tags(words: Sequence[str]) -> dict[str, str]:
    return {unquoted(key): unquoted(value) or "true" for key, _, value in (word.partition("=") for word in words)}


def _start(a: Any, variables: Mapping[str, Any]) -> list[str]:
    name, tags, params = _text(a.name), _tags(a.tag), _expressions(a.param)
    series = _text(getattr(a, "series", None)) or (name if hasattr(a, "series") else None)
    if series is not None:
        name, tags = f"{series} #1", {**tags, TAG_SERIES: series, TAG_ATTEMPT: "1"}
    lines = [f"import random; random.seed({a.seed})"] if a.seed else []
    if a.seed:
        params["seed"] = _Code(a.seed)
    resume, parent = getattr(a, "append", None) or a.resume, a.parent
    call = _call(
        "start_run",
        *([name] if name else []),
        experiment=_text(a.experiment),
        params=params,
        tags=tags,
        note=_text(a.note),
        parent=_run(parent, variables) if parent else None,
        resume=_run(resume, variables) if resume else None,
    )
    after = [_call("log_data", _thing(word, variables)) for word in a.data]
    return [*lines, f"run = {call}", *after] if not hasattr(a, "series") else [*lines, f"run = {call}"]


def _stop(a: Any, _: Mapping[str, Any]) -> list[str]:
    note = [f"mlops_nb.active_run().note({_text(a.note)!r})"] if a.note else []
    return [*note, _call("stop_run", *([a.status.upper()] if a.status != "finished" else []))]


def _log(a: Any, _: Mapping[str, Any]) -> list[str]:
    prefix = "".join(f"{unquoted(word.partition('=')[2])}/" for word in a.ctx)
    metrics = {prefix + key: value for key, value in _expressions(a.metrics).items()}
    step = _Code(a.step) if a.step else None
    if all(key.isidentifier() for key in metrics):
        return [_call("log", **metrics, step=step)]
    return [_call("log", metrics, step=step)]


def _file(a: Any, variables: Mapping[str, Any]) -> list[str]:
    lines = []
    for word in a.things:
        thing = _thing(word, variables)
        if isinstance(thing, _Code):
            lines.append(_call("log_figure", thing, _text(a.name) or f"{word}.png"))
        elif a.name:
            lines.append(f"mlops_nb.active_run().add_file(pathlib.Path({thing!r}), {_text(a.name)!r})")
        else:
            lines.append(_call("log_artifact", thing))
    return lines


def _ls(a: Any, _: Mapping[str, Any]) -> list[str]:
    query = " ".join(a.query)
    order = [order_clause(a.sort)] if a.sort else None
    experiment = _text(a.experiment)
    text = [query] if query else []
    return [_call("search_runs", *text, order_by=order, max_results=a.number, experiment=experiment, archived=a.archived)]


def _table(a: Any, _: Mapping[str, Any]) -> list[str]:
    query = " ".join(a.query)
    columns = [unquoted(each) for each in a.column]
    return [_call("run_table", *([query] if query else []), sort=a.sort or None, group=a.group or None, columns=columns)]


def _explore(a: Any, variables: Mapping[str, Any]) -> list[str]:
    text = " ".join(a.runs)
    one = not a.runs or looks_like_filter(text) or (len(a.runs) == 1 and text.startswith("tag:"))
    runs: Any = text if one else [_run(word, variables) for word in a.runs]
    axis = a.axis if a.axis != "step" else None
    options = {"axis": axis, "smoothing": a.smoothing or None, "log": a.log, "group": unquoted(a.group) or None}
    return [_call("explore", *([runs] if runs else []), metrics=[unquoted(each) for each in a.metric], **options)]


def _check(a: Any, variables: Mapping[str, Any]) -> list[str]:
    if a.run and unquoted(a.run).endswith(".ipynb"):
        return [_call("check_notebook", path=unquoted(a.run))]
    return [_call("check_notebook", *([_run(a.run, variables)] if a.run else []))]


def _reproduce(a: Any, variables: Mapping[str, Any]) -> list[str]:
    tolerance = {key: _Code(number) for key, _, number in (word.partition("=") for word in a.tol)}
    return [_call("reproduce", _run(a.run, variables), **({"tolerance": tolerance} if tolerance else {}))]


def _each(name: str) -> Callable[[Any, Mapping[str, Any]], list[str]]:
    def lines(a: Any, variables: Mapping[str, Any]) -> list[str]:
        return [_call(name, _run(word, variables), undo=a.undo) for word in a.runs]

    return lines


def _delete(a: Any, variables: Mapping[str, Any]) -> list[str]:
    return [_call("restore_run" if a.undo else "delete_run", _run(word, variables)) for word in a.runs]


def compare_twin(a: Any, variables: Mapping[str, Any]) -> str:
    """Return the Python twin of a line of `%compare` with its parsed arguments."""
    text = " ".join(a.runs)
    is_query = a.runs[:1] == ["last"] or looks_like_filter(text)
    call = _call(
        "compare",
        *([text] if is_query else [_run(word, variables) for word in a.runs]),
        base=_run(a.base, variables) if a.base else None,
        what=a.what if a.what != "all" else None,
        metrics=unquoted(a.metric) or None,
        by=_text(a.by),
        sig=a.sig if a.sig != "auto" else None,
        alpha=a.alpha if a.alpha != 0.05 else None,
        only_changed=a.only_changed,
    )
    lines = ["import mlops_nb", f"found = {call}" if a.plot or a.export else call]
    if a.export:
        lines.append(f"found.export({unquoted(a.export)!r})")
    if a.plot:
        keys = [key.lstrip("-") for key in unquoted(a.metric).split(",") if key]
        lines.append(_call("plot", a.plot, _Code("found.members"), keys or None, group=_text(a.by)).replace(", None", ""))
    return "\n".join(lines)


def report_twin(a: Any, variables: Mapping[str, Any]) -> str:
    """Return the Python twin of a line of `%report` with its parsed arguments."""
    call = _call(
        "report",
        *([_run(a.run, variables)] if a.run != "@last" else []),
        vs=_run(a.vs, variables) if a.vs else None,
        forge=a.forge if a.forge != "github" else None,
        gates=_text(a.gates),
        dvc_metrics=_text(a.dvc_metrics),
        dvc_plots=_text(a.dvc_plots),
    )
    return "\n".join(["import mlops_nb", f"{call}.export({unquoted(a.export)!r})" if a.export else call])


def _model(a: Any, _: Mapping[str, Any]) -> list[str]:
    name = _text(a.name) or (a.variable if a.variable.isidentifier() else "model")
    call = _call("log_model", _Code(a.variable), name=name, input_example=_Code(a.example) if a.example else None)
    if not (a.register or a.alias):
        return [call]
    return [f"info = {call}", _call("register_model", _Code("info.model_uri"), name, alias=_text(a.alias))]


_TWINS: dict[str, Callable[[Any, Mapping[str, Any]], list[str]]] = {
    "start": _start,
    "stop": _stop,
    "log": _log,
    "watch": lambda a, _: [_call("watch", *a.names)],
    "model": _model,
    "data": lambda a, v: [_call("log_data", _thing(a.thing, v), _text(a.name), context=_text(a.context)).replace(", None", "")],
    "file": _file,
    "show": lambda a, v: [_call("get_run", _run(a.run or "@last", v))],
    "ls": _ls,
    "table": _table,
    "explore": _explore,
    "check": _check,
    "reproduce": _reproduce,
    "restore": lambda a, v: [_call("restore_notebook", _run(a.run, v), path=_text(a.path))],
    "share": lambda a, v: [_call("share_run", _run(a.run, v), _text(a.static) or "run.html")],
    "note": lambda a, v: [_call("note_run", _run(a.run, v), unquoted(" ".join(a.text)))],
    "tag": lambda a, v: [_call("tag_run", _run(a.run, v), _tags(a.tags))],
    "archive": _each("archive_run"),
    "delete": _delete,
    "privacy": lambda a, _: [_call("privacy", *([a.level] if a.level else []))],
    "on": lambda _a, _v: [_call("autolog")],
    "off": lambda _a, _v: [_call("autolog", disable=True)],
}
