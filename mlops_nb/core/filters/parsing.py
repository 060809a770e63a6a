"""From the text of a filter or an order to its tree."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any

from mlops_nb.core.filters.language import DATASET_KEYS, EQUALITY, RANGE, RUNS, Language
from mlops_nb.core.filters.tree import And, Comparison, Field, Node, Not, Or, OrderBy, Value, comparisons
from mlops_nb.errors import FilterError, did_you_mean

MAX_LENGTH = 100_000
MAX_CONDITIONS = 500
MAX_DEPTH = 100
MAX_MEMBERS = 10_000
MAX_PATTERN = {"LIKE": 5_000, "ILIKE": 1_000}
_REMEMBERED = 1_000

_GRAMMAR = r"""
    start: disjunction
    ?disjunction: conjunction (_OR conjunction)*
    ?conjunction: negation (_AND negation)*
    ?negation: _NOT negation -> negated
        | "(" disjunction ")"
        | comparison
    comparison: key OP value -> compare
        | key LIKE text -> compare
        | key _IN "(" text ("," text)* ","? ")" -> member
        | key _NOT _IN "(" text ("," text)* ","? ")" -> not_member
        | key _IS NULL -> is_null
        | key _IS _NOT NULL -> not_null
    key: NAME | NAME "." QUOTED | QUOTED | DOTTED
    value: NUMBER | STRING | QUOTED
    text: STRING | QUOTED
    order: key [DIRECTION]
    DIRECTION.3: /(asc|desc)\b/i
    OP: "!=" | "<>" | "<=" | ">=" | "==" | "=" | "<" | ">"
    LIKE.3: /(i?like)\b/i
    _IN.3: /in\b/i
    _IS.3: /is\b/i
    NULL.3: /null\b/i
    _NOT.3: /not\b/i
    _AND.3: /and\b/i
    _OR.3: /or\b/i
    DOTTED.2: /[A-Za-z_]\w*\.[\w][\w.\/:-]*/
    NAME.1: /[A-Za-z_]\w*/
    NUMBER: /[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?(?![\w.])/
    STRING: /'(?:[^']|'')*'/
    QUOTED: /"(?:[^"]|"")*"|`(?:[^`]|``)*`/
    %import common.WS
    %ignore WS
"""

_OPERATOR = re.compile(r"[<>=]|\b(?:like|ilike|is\s+(?:not\s+)?null|in\s*\()", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`")
_A_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_WORD = re.compile(r"[^\s()'\"`,]+")


@functools.cache
def _parsers() -> dict[str, Any]:
    # Lark costs 30 ms to import and build; only a process that filters pays for it.
    from lark import Lark

    return {start: Lark(_GRAMMAR, parser="lalr", start=start, propagate_positions=True) for start in ("start", "order")}


def looks_like_filter(text: str) -> bool:
    """Return whether free text typed into a search box is meant as a filter: it has an operator outside quotes."""
    return _OPERATOR.search(_QUOTED.sub("''", text)) is not None


def parse(text: str, language: Language = RUNS) -> Node | None:
    """Parse a filter. Empty text is no filter: None.

    Raises:
        FilterError: With the position of what does not fit.
    """
    if not text.strip():
        return None
    if "\0" in text:
        raise _error("The filter has a NUL", text.index("\0"), "Leave it out: no value has one.")
    if len(text) > MAX_LENGTH:
        raise FilterError(f"The filter has {len(text)} characters; {MAX_LENGTH} are allowed.", hint="Split it into several searches.")
    return _remembered(text, language) if len(text) <= _REMEMBERED else _parse(text, language)


def _parse(text: str, language: Language) -> Node:
    node = _Builder(text, language).node(_tree(text, "start", language).children[0], 1)
    found = comparisons(node)
    if len(found) > MAX_CONDITIONS:
        raise FilterError(f"The filter has over {MAX_CONDITIONS} conditions.", hint="Split it, or use IN with a list of values.")
    if sum(len(each.value) for each in found if isinstance(each.value, tuple)) > MAX_MEMBERS:
        raise FilterError(f"The lists of the filter have over {MAX_MEMBERS} values.", hint="Split it into several searches.")
    return node


_remembered = functools.lru_cache(maxsize=512)(_parse)


def parse_order_by(clause: str, language: Language = RUNS) -> OrderBy:
    """Parse one clause of an order, such as `metrics.val_auc DESC`.

    Raises:
        FilterError: If it is not a key with an optional ASC or DESC.
    """
    if len(clause) > MAX_LENGTH:
        raise FilterError(f"The order has {len(clause)} characters; {MAX_LENGTH} are allowed.")
    return _remembered_order(clause, language) if len(clause) <= _REMEMBERED else _parse_order(clause, language)


def _parse_order(clause: str, language: Language) -> OrderBy:
    key, direction = _tree(clause, "order", language).children
    field, name, _ = _Builder(clause, language).resolved(key, Field.METRIC)
    return OrderBy(field, name, direction is not None and direction.lower() == "desc")


_remembered_order = functools.lru_cache(maxsize=512)(_parse_order)


def order_clause(sort: str) -> str:
    """Return the order clause of a short form: `-val_auc` is the metric `val_auc` of runs, the highest first."""
    key = sort.lstrip("-")
    plain = RUNS.attribute(key) is not None or ("." in key and key.split(".")[0].lower() in RUNS.prefixes)
    shown = key if plain else "metrics.`{}`".format(key.replace("`", "``"))
    return f"{shown} {'desc' if sort.startswith('-') else 'asc'}"


def names(text: str, field: Field, key: str, language: Language = RUNS) -> bool:
    """Return whether a filter names a key, whatever it says of it.

    Raises:
        FilterError: If it does not parse.
    """
    return any((c.field, c.key) == (field, key) for c in comparisons(parse(text, language)))


class _Builder:
    """Turns the parser's tree of one text into ours, with what its names mean in a language."""

    def __init__(self, text: str, language: Language) -> None:
        self._text = text
        self._language = language

    def node(self, tree: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _error("The filter is nested too deeply", tree.meta.start_pos, f"At most {MAX_DEPTH} levels of parentheses are read.")
        if tree.data == "negated":
            negations = 0
            while tree.data == "negated":
                tree, negations = tree.children[0], negations + 1
            part = self.node(tree, depth + 1)
            return Not(part) if negations % 2 else part
        if tree.data in ("disjunction", "conjunction"):
            join = Or if tree.data == "disjunction" else And
            return join(tuple(self.node(child, depth + 1) for child in tree.children))
        return self._comparison(tree)

    def _comparison(self, tree: Any) -> Comparison:
        kind, (key_tree, *rest) = tree.data, tree.children
        if kind in ("is_null", "not_null"):
            field, key, _ = self.resolved(key_tree, Field.METRIC)
            return Comparison(field, key, "IS NULL" if kind == "is_null" else "IS NOT NULL")
        if kind in ("member", "not_member"):
            op, operator_at = ("IN" if kind == "member" else "NOT IN"), key_tree.meta.end_pos
            literals = [child.children[0] for child in rest]
        else:
            op, operator_at = {"==": "=", "<>": "!="}.get(str(rest[0]), str(rest[0]).upper()), rest[0].start_pos
            literals = [rest[1].children[0]]
        literal = literals[0]
        field, key, number = self.resolved(key_tree, Field.METRIC if literal.type == "NUMBER" else Field.PARAM)
        shown = f"{field.value} '{key}'"
        quoted = number and self._language.quoted and op in EQUALITY + RANGE and _A_NUMBER.fullmatch(_unquote(str(literal))) is not None
        if number and literal.type != "NUMBER" and not quoted:
            hint = "Write the number without quotes." if op in EQUALITY + RANGE else "Use =, !=, <, <=, > or >= and a number."
            raise _error(f"{shown} is a number; it cannot be compared with text", literal.start_pos, hint)
        if op not in self._language.operators(field, number):
            at = operator_at if op not in ("IN", "NOT IN") else literal.start_pos
            raise _error(f"{shown} is text; '{op}' cannot compare it", at, "Use =, !=, LIKE, ILIKE, IN or IS NULL.")
        if kind in ("member", "not_member"):
            return Comparison(field, key, op, tuple(_unquote(str(token)) for token in literals))
        if op in MAX_PATTERN and len(literal) > MAX_PATTERN[op]:
            raise _error(f"The pattern of {op} is too long", literal.start_pos, f"It has at most {MAX_PATTERN[op]} characters.")
        return Comparison(field, key, op, _number(_unquote(str(literal)), field) if number else _unquote(str(literal)))

    def resolved(self, tree: Any, bare: Field) -> tuple[Field, str, bool]:
        """Return the field, the key and whether it is a number; `bare` is what a name without prefix is that is no attribute."""
        prefix, key, at = _split(tree)
        if prefix is None:
            attribute = self._language.attribute(key)
            if attribute is None and self._language.open:
                return bare, key, bare is Field.METRIC
            return self._attribute(key, at)
        field = self._language.prefixes.get(prefix.lower())
        if field is None:
            known = [name for name in self._language.prefixes if name.endswith("s")] or list(self._language.prefixes)
            hint = did_you_mean(prefix, self._language.prefixes) or f"Write {_listed([f'{name}.KEY' for name in known])}."
            raise _error(f"'{prefix}.' names nothing that {self._language.thing}s can be searched by", at, hint)
        if field is Field.ATTRIBUTE:
            return self._attribute(key, at + len(prefix) + 1)
        if field is Field.DATASET and key not in DATASET_KEYS:
            hint = f"Use {_listed([f'{prefix}.{name}' for name in DATASET_KEYS])}."
            raise _error(f"A data set has no '{key}' to search by", at + len(prefix) + 1, hint)
        return field, key, field is Field.METRIC

    def _attribute(self, name: str, at: int) -> tuple[Field, str, bool]:
        attribute = self._language.attribute(name)
        if attribute is None:
            known = sorted({next(n for n, a in self._language.names.items() if a is each) for each in self._language.names.values()})
            hint = did_you_mean(name, self._language.names) or f"It has {_listed(known)}."
            raise _error(f"{'An' if self._language.thing[0] == 'e' else 'A'} {self._language.thing} has no attribute '{name}'", at, hint)
        return attribute.field, attribute.key, attribute.number


def _split(tree: Any) -> tuple[str | None, str, int]:
    """Return the prefix, the key and where they begin."""
    tokens = tree.children
    at = int(tokens[0].start_pos)
    if len(tokens) == 2:
        return str(tokens[0]), _unquote(str(tokens[1])), at
    if tokens[0].type == "DOTTED":
        prefix, _, key = str(tokens[0]).partition(".")
        return prefix, key, at
    return None, _unquote(str(tokens[0])), at


def _unquote(text: str) -> str:
    quote = text[:1]
    return text[1:-1].replace(quote * 2, quote) if quote in ("'", '"', "`") else text


def _number(text: str, field: Field) -> Value:
    """Return a number: attributes are compared with whole numbers as such, since a float cannot hold them all."""
    try:
        return float(text) if field is Field.METRIC else int(text)
    except ValueError:
        return float(text)


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _error(what: str, position: int, hint: str) -> FilterError:
    return FilterError(f"{what} (position {position}).", position=position, hint=hint)


def _tree(text: str, start: str, language: Language) -> Any:
    from lark.exceptions import UnexpectedInput

    try:
        return _parsers()[start].parse(text)
    except UnexpectedInput as error:
        at = int(getattr(error, "pos_in_stream", None) or 0)
        if getattr(getattr(error, "token", None), "type", "") == "$END":
            at = len(text)
        expected: set[str] = getattr(error, "allowed", None) or getattr(error, "expected", None) or set()
        what = "filter" if start == "start" else "order"
        near = f"at '{text[at : at + 20]}'" if at < len(text) else "at its end"
        raise _error(f"The {what} does not parse {near}", at, _remedy(text[at:], expected, what, language)) from None


def _remedy(rest: str, expected: set[str], what: str, language: Language) -> str:
    """Return what to write where the text goes wrong."""
    quote = rest[:1]
    if quote in ("'", '"', "`"):
        if _QUOTED.match(rest) is None:
            return f"Close the quote with {quote}; within quotes write {quote * 2} for a {quote}."
        if expected & {"_AND", "_OR"}:
            return f"Join conditions with AND or OR; within quotes write {quote * 2} for a {quote}."
    if what == "order":
        return "Write a name and ASC or DESC, such as: start_time DESC"
    if rest[:2] in ("&&", "||"):
        return f"Write {'AND' if rest[0] == '&' else 'OR'}."
    word = _WORD.match(rest)
    if expected & {"STRING", "NUMBER"} and not expected & {"NAME"}:
        if word is not None and re.match(r"\w", rest):
            return f"Put text in quotes: '{word[0][:40]}'"
        return "Write a number such as 0.9, or text in quotes." if "NUMBER" in expected else "Write text in quotes: 'text'"
    if expected & {"NAME"}:
        return f"Write a condition here, such as: {language.example}"
    if expected & {"OP"}:
        return "Write =, !=, <, <=, >, >=, LIKE, ILIKE, IN (...) or IS NULL after a name; put a name of several words in backticks."
    if "NULL" in expected:
        return "Write IS NULL or IS NOT NULL."
    if expected & {"RPAR"} and not rest:
        return "Close the parenthesis with )."
    if expected & {"_AND", "_OR"}:
        return "Join conditions with AND or OR."
    return f"A filter reads like: {language.example}"
