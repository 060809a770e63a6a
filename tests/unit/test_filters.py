"""The search language: what it says, and what it says of mistakes."""

from __future__ import annotations

import random

import pytest

from mlops_nb.core import filters
from mlops_nb.core.filters import And, Comparison, Field, Not, Or, OrderBy
from mlops_nb.errors import FilterError


def test_a_filter_becomes_a_tree() -> None:
    assert filters.parse("metrics.acc > 0.9 and (params.lr = '0.1' or not tags.stage like 'p%')") == And(
        (
            Comparison(Field.METRIC, "acc", ">", 0.9),
            Or((Comparison(Field.PARAM, "lr", "=", "0.1"), Not(Comparison(Field.TAG, "stage", "LIKE", "p%")))),
        )
    )
    assert filters.parse("  ") is None


@pytest.mark.parametrize(
    ("text", "comparison"),
    [
        ("metric.acc >= 1", Comparison(Field.METRIC, "acc", ">=", 1.0)),
        ('metrics."val loss" <> -1e-3', Comparison(Field.METRIC, "val loss", "!=", -0.001)),
        ("params.`a``b` == 'x'", Comparison(Field.PARAM, "a`b", "=", "x")),
        ("params.lr = 'it''s'", Comparison(Field.PARAM, "lr", "=", "it's")),
        ('params.lr = "say ""hi"""', Comparison(Field.PARAM, "lr", "=", 'say "hi"')),
        ("params.path = 'C:\\temp\\'", Comparison(Field.PARAM, "path", "=", "C:\\temp\\")),
        ("params.lr = 0.10", Comparison(Field.PARAM, "lr", "=", "0.10")),
        ("acc > .9", Comparison(Field.METRIC, "acc", ">", 0.9)),
        ("optimizer = 'adam'", Comparison(Field.PARAM, "optimizer", "=", "adam")),
        ("`Run name` ILIKE '%x%'", Comparison(Field.ATTRIBUTE, "run_name", "ILIKE", "%x%")),
        ("attributes.\"Run Name\" = 'x'", Comparison(Field.ATTRIBUTE, "run_name", "=", "x")),
        ("run.status IN ('FAILED', \"KILLED\")", Comparison(Field.ATTRIBUTE, "status", "IN", ("FAILED", "KILLED"))),
        ("Created > 9007199254740993", Comparison(Field.ATTRIBUTE, "start_time", ">", 9007199254740993)),
        ("dataset.name NOT IN ('a')", Comparison(Field.DATASET, "name", "NOT IN", ("a",))),
        ("tags.mlflow.user IS NOT NULL", Comparison(Field.TAG, "mlflow.user", "IS NOT NULL")),
    ],
)
def test_names_and_values_are_read(text: str, comparison: Comparison) -> None:
    assert filters.parse(text) == comparison


def test_each_kind_of_record_has_its_names() -> None:
    assert filters.parse("version_number > 2", filters.MODEL_VERSIONS) == Comparison(Field.ATTRIBUTE, "version_number", ">", 2)
    assert filters.parse("creation_timestamp > 2", filters.LOGGED_MODELS) == Comparison(Field.ATTRIBUTE, "creation_time", ">", 2)
    assert filters.parse("trace.name = 'x'", filters.TRACES) == Comparison(Field.TAG, "mlflow.traceName", "=", "x")
    assert filters.parse("metadata.`mlflow.user` = 'x'", filters.TRACES) == Comparison(Field.METADATA, "mlflow.user", "=", "x")
    assert filters.parse_order_by("timestamp desc", filters.REGISTERED_MODELS) == OrderBy(Field.ATTRIBUTE, "last_update_time", True)
    for language in (filters.EXPERIMENTS, filters.REGISTERED_MODELS, filters.MODEL_VERSIONS, filters.TRACES):
        with pytest.raises(FilterError, match="names nothing"):
            filters.parse("metrics.acc > 1", language)


def test_a_number_may_stand_in_quotes_where_it_may_for_mlflow() -> None:
    for text in ("version_number = '2'", 'version_number = "2"', "version_number = 2.0"):
        assert filters.parse(text, filters.MODEL_VERSIONS) == Comparison(Field.ATTRIBUTE, "version_number", "=", 2), text
    assert filters.parse("timestamp_ms > '17'", filters.TRACES) == Comparison(Field.ATTRIBUTE, "request_time", ">", 17)
    for text in ("version_number = 'two'", "version_number = '2 '", "version_number = '\u0662'", "version_number LIKE '2'"):
        with pytest.raises(FilterError, match="is a number"):
            filters.parse(text, filters.MODEL_VERSIONS)


def test_the_example_of_each_language_is_one() -> None:
    for language in (
        filters.RUNS,
        filters.EXPERIMENTS,
        filters.REGISTERED_MODELS,
        filters.MODEL_VERSIONS,
        filters.LOGGED_MODELS,
        filters.TRACES,
    ):
        assert filters.parse(language.example, language) is not None


@pytest.mark.parametrize(
    ("text", "position", "remedy"),
    [
        ("metrics.auc > > 1", 14, "a number such as 0.9"),
        ("metrics.acc >", 13, "a number such as 0.9"),
        ("status = FINISHED", 9, "'FINISHED'"),
        ("run_name = 'abc", 11, "Close the quote"),
        ("(a = 'x'", 8, "Close the parenthesis"),
        ("a = 'x' b = 'y'", 8, "AND or OR"),
        ("a = 'x' && b = 'y'", 8, "Write AND"),
        ("a = 'x' || b = 'y'", 8, "Write OR"),
        ("a = 'it's'", 8, "AND or OR"),
        ("a = 'x' and", 11, "Write a condition here"),
        ("0.5 < metrics.a", 0, "Write a condition here"),
        ("params.a b = 'x'", 9, "backticks"),
        ("a is nul", 5, "IS NULL"),
        ("metrics.a = 'x'", 12, "without quotes"),
        ("metrics.a like 'x'", 15, "and a number"),
        ("start_time in ('x')", 15, "and a number"),
        ("tags.x > '1'", 7, "LIKE"),
        ("params.a like 5", 14, "'5'"),
        ("nope.x = 'y'", 0, "metrics.KEY"),
        ("metrix.x > 1", 0, "metric"),
        ("attributes.nam = 'x'", 11, "name"),
        ("a = 'x' and datasets.foo = 'x'", 21, "datasets.digest"),
        ("a = 'x\0'", 6, "NUL"),
    ],
)
def test_a_mistake_is_named_with_its_position_and_a_remedy(text: str, position: int, remedy: str) -> None:
    with pytest.raises(FilterError) as caught:
        filters.parse(text)
    assert caught.value.position == position
    assert f"position {position}" in caught.value.message and remedy in str(caught.value)


@pytest.mark.parametrize(("clause", "position"), [("metrics.a down", 10), ("", 0), ("nope.x", 0), ("attributes.x", 11), ("a b c", 2)])
def test_a_mistake_in_an_order_is_named_with_its_position(clause: str, position: int) -> None:
    with pytest.raises(FilterError) as caught:
        filters.parse_order_by(clause)
    assert caught.value.position == position


def test_orders_are_read() -> None:
    assert filters.parse_order_by("metrics.`val loss` DESC") == OrderBy(Field.METRIC, "val loss", True)
    assert filters.parse_order_by("Created asc") == OrderBy(Field.ATTRIBUTE, "start_time")
    assert filters.parse_order_by("acc") == OrderBy(Field.METRIC, "acc")
    assert filters.parse_order_by(filters.order_clause("-val loss")) == OrderBy(Field.METRIC, "val loss", True)
    assert filters.parse_order_by(filters.order_clause("params.lr")) == OrderBy(Field.PARAM, "lr")
    assert filters.parse_order_by(filters.order_clause("start_time")) == OrderBy(Field.ATTRIBUTE, "start_time")


def test_no_text_whatever_breaks_the_parser() -> None:
    chance = random.Random(1)
    pieces = (
        "metrics.a > 0.9 and ( params.`b c` = 'x' or not tags.d in ( 'y' , \"z\" ) ) and e is not null or f like '%ä' \n ' 1e999".split(" ")
    )
    parsed = 0
    for _ in range(3000):
        start = chance.randrange(len(pieces) - 3)
        words = pieces[start : start + chance.randint(3, 12)]
        if chance.random() < 0.7:
            words[chance.randrange(len(words))] = chance.choice(pieces)
        text = " ".join(words)
        try:
            parsed += filters.parse(text) is not None
        except FilterError as error:
            assert error.position is not None and 0 <= error.position <= len(text) and error.hint, text
    assert parsed > 20


def test_text_with_an_operator_is_meant_as_a_filter() -> None:
    assert filters.looks_like_filter("acc > 0.9") and filters.looks_like_filter("name ilike 'x'") and filters.looks_like_filter("a is null")
    assert not filters.looks_like_filter("my run") and not filters.looks_like_filter("'a > b'")


def test_the_keys_that_a_filter_names_are_known() -> None:
    key = "mlflow.prompt.is_prompt"
    assert filters.names(f"name = 'x' or not tags.`{key}` = 'true'", Field.TAG, key, filters.REGISTERED_MODELS)
    assert not filters.names(f"name = '{key}'", Field.TAG, key, filters.REGISTERED_MODELS)


# -- patterns


def slowly(pattern: str, text: str, any_case: bool) -> bool:
    """Return whether a text fits a pattern, by trying every way."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(slowly(pattern[1:], text[i:], any_case) for i in range(len(text) + 1))
    if not text:
        return False
    same = pattern[0] in ("_", text[0]) or (any_case and filters.pattern.folded(pattern[0]) == filters.pattern.folded(text[0]))
    return same and slowly(pattern[1:], text[1:], any_case)


def test_patterns_mean_what_trying_every_way_gives() -> None:
    chance = random.Random(2)
    letters = "aAbkK\u212asSſäÄßẞİiIıσςΣµμ%_\\[]*?^$.\n"
    fitting = 0
    for _ in range(5000):
        text = "".join(chance.choice(letters) for _ in range(chance.randint(0, 6)))
        pattern = "".join(
            chance.choice(text or "a") if chance.random() < 0.6 else chance.choice(letters) for _ in range(chance.randint(0, 6))
        )
        any_case = chance.random() < 0.5
        fits = filters.pattern.compiled(pattern, any_case=any_case).fullmatch(text) is not None
        assert fits == slowly(pattern, text, any_case), (pattern, text, any_case)
        fitting += fits
    assert fitting > 200


def test_each_case_of_a_letter_is_every_other_and_no_other_letter() -> None:
    everything = [chr(n) for n in range(0x20000) if not 0xD800 <= n < 0xE000]
    groups: dict[str, set[str]] = {}
    for c in everything:
        groups.setdefault(filters.pattern.folded(c), set()).add(c)
    for group in groups.values():
        for c in group:
            assert set(filters.pattern.cases(c)) == group


def test_letters_of_one_character_equal_each_other_in_any_case() -> None:
    def same(a: str, b: str) -> bool:
        return filters.pattern.compiled(a, any_case=True).fullmatch(b) is not None

    assert same("ä", "Ä") and same("σ", "ς") and same("ẞ", "ß") and same("k", "\u212a") and same("Ж", "ж")
    assert not same("ß", "ss") and not same("ı", "i") and not same("İ", "i") and not same("é", "e")
