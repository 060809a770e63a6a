"""The search language: MLflow's filters, with OR, NOT and parentheses added.

    metrics.val_auc > 0.9 and params.lr = '0.1' and tags.stage like 'prod%'
    attributes.status in ('FAILED', 'KILLED') or run_name ilike '%churn%'
    val_auc > .9                    a bare name: an attribute, else a metric (number) or a param (text)
    params.`learning rate` = 'it''s'    keys in backticks or double quotes; a quote is written twice

`parse` gives a tree that stores translate to SQL with bound parameters and `matches` evaluates in Python. Each kind of
record has its `Language`: which names it knows.
"""

from mlops_nb.core.filters import pattern
from mlops_nb.core.filters.language import EXPERIMENTS, LOGGED_MODELS, MODEL_VERSIONS, REGISTERED_MODELS, RUNS, TRACES, Language
from mlops_nb.core.filters.matching import Searched, matches
from mlops_nb.core.filters.parsing import looks_like_filter, names, order_clause, parse, parse_order_by
from mlops_nb.core.filters.tree import And, Comparison, Field, Node, Not, Or, OrderBy, Value, comparisons

__all__ = [
    "EXPERIMENTS",
    "LOGGED_MODELS",
    "MODEL_VERSIONS",
    "REGISTERED_MODELS",
    "RUNS",
    "TRACES",
    "And",
    "Comparison",
    "Field",
    "Language",
    "Node",
    "Not",
    "Or",
    "OrderBy",
    "Searched",
    "Value",
    "comparisons",
    "looks_like_filter",
    "matches",
    "names",
    "order_clause",
    "parse",
    "parse_order_by",
    "pattern",
]
