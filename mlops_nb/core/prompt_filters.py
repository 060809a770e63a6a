"""How filters of registered models and versions tell prompts from models.

Prompts are models with the tag `mlflow.prompt.is_prompt`. A filter that does not name the tag finds no prompt. In one that
does, `= 'true'` finds prompts and `!= 'true'` or `= 'false'` finds what is none, whether it has the tag or not.
"""

from __future__ import annotations

from mlops_nb.core.filters import And, Comparison, Field, Node, Not, comparisons
from mlops_nb.core.registry import TAG_IS_PROMPT

_PROMPT = Comparison(Field.TAG, TAG_IS_PROMPT, "=", "true")


def telling_prompts(node: Node | None) -> Node:
    """Return the filter with what it means for prompts said outright."""
    if node is None:
        return Not(_PROMPT)
    return _said(node) if any(_names_prompts(each) for each in comparisons(node)) else And((node, Not(_PROMPT)))


def _names_prompts(comparison: Comparison) -> bool:
    return (comparison.field, comparison.key) == (Field.TAG, TAG_IS_PROMPT)


def _said(node: Node) -> Node:
    if isinstance(node, Comparison):
        if not _names_prompts(node) or node.op not in ("=", "!="):
            return node
        is_true = str(node.value).lower() == "true"
        return _PROMPT if is_true == (node.op == "=") else Not(_PROMPT)
    if isinstance(node, Not):
        return Not(_said(node.part))
    return type(node)(tuple(_said(part) for part in node.parts))
