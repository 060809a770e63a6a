"""What a filter says, as a tree."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Field(StrEnum):
    METRIC = "metric"
    PARAM = "param"
    TAG = "tag"
    ATTRIBUTE = "attribute"
    DATASET = "dataset"
    METADATA = "metadata"


Value = float | int | str | tuple[str, ...] | None


class Comparison(msgspec.Struct, frozen=True):
    """`key op value`. `op` is one of = != < <= > >= LIKE ILIKE IN NOT IN IS NULL IS NOT NULL."""

    field: Field
    key: str
    op: str
    value: Value = None


class And(msgspec.Struct, frozen=True):
    parts: tuple[Node, ...]


class Or(msgspec.Struct, frozen=True):
    parts: tuple[Node, ...]


class Not(msgspec.Struct, frozen=True):
    part: Node


Node = Comparison | And | Or | Not


class OrderBy(msgspec.Struct, frozen=True):
    """A term of an order. `dataset` is (name, digest or None): of a metric only the points on that data set count."""

    field: Field
    key: str
    descending: bool = False
    dataset: tuple[str, str | None] | None = None


def comparisons(node: Node | None) -> list[Comparison]:
    """Return the comparisons of a filter from left to right."""
    if node is None:
        return []
    if isinstance(node, Comparison):
        return [node]
    if isinstance(node, Not):
        return comparisons(node.part)
    return [comparison for part in node.parts for comparison in comparisons(part)]
