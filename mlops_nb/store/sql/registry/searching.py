"""Searching registered models and versions."""

from __future__ import annotations

import sqlalchemy as sa

from mlops_nb.core import filters
from mlops_nb.core.prompt_filters import telling_prompts
from mlops_nb.core.registry import ModelVersion, RegisteredModel, RegistryQuery
from mlops_nb.store.page import Page
from mlops_nb.store.registry import MAX_MODELS_PAGE, MAX_VERSIONS_PAGE
from mlops_nb.store.sql import search
from mlops_nb.store.sql.registry import rows
from mlops_nb.store.sql.search.conditions import Conditions
from mlops_nb.store.sql.search.fragment import is_postgres


def models(c: sa.Connection, query: RegistryQuery) -> Page[RegisteredModel]:
    """Return the models that a query asks for."""
    page = _page(c, search.REGISTERED_MODELS, query, query.order_by, MAX_MODELS_PAGE)
    return Page(items=search.in_order(page.items, rows.load_models(c, page.items)), token=page.token)


def versions(c: sa.Connection, query: RegistryQuery) -> Page[ModelVersion]:
    """Return the versions that a query asks for."""
    # An order of the client's breaks ties by name and number; the default one by the time of the last change first.
    order_by = [*query.order_by, "name ASC", "version_number DESC"] if query.order_by else []
    page = _page(c, search.MODEL_VERSIONS, query, order_by, MAX_VERSIONS_PAGE)
    return Page(items=search.in_order(page.items, rows.load_versions(c, page.items)), token=page.token)


def _page(c: sa.Connection, subject: search.Subject, query: RegistryQuery, order_by: list[str], largest: int) -> Page[int]:
    node = telling_prompts(filters.parse(query.filter, subject.language))
    return search.select_ids(
        c,
        subject,
        "",
        order_by,
        where=[Conditions(subject, postgres=is_postgres(c), metric_ids={}).of(node)],
        scope=query.filter,
        max_results=query.max_results,
        largest=largest,
        page_token=query.page_token,
    )
