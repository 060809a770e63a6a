"""Requests as MLflow's many clients write them."""

from __future__ import annotations

import contextlib
import json
import math

import msgspec
import pytest

from mlops_nb.api.decoding import from_body, from_query
from mlops_nb.api.mlflow.experiments import SearchExperiments
from mlops_nb.api.mlflow.runs import LogBatch, LogMetric, SearchRuns
from mlops_nb.core.wire import BatchRequest, EventsRequest, RunSearch
from mlops_nb.errors import InvalidInput


def test_names_are_taken_in_snake_case_and_in_lower_camel() -> None:
    for body in (b'{"run_id": "r", "key": "k", "value": 1, "timestamp": 5}', b'{"runId": "r", "key": "k", "value": 1, "timestamp": 5}'):
        assert from_body(LogMetric, body, {}).run_id == "r"
    assert from_body(SearchRuns, b'{"experimentIds": ["1"], "maxResults": 3}', {}).max_results == 3
    assert from_query(SearchExperiments, "maxResults=3&viewType=ALL", {}).view_type == "ALL"


def test_one_field_under_two_names_is_refused() -> None:
    with pytest.raises(InvalidInput, match="given twice"):
        from_body(LogMetric, b'{"run_id": "a", "runId": "b", "key": "k", "value": 1, "timestamp": 5}', {})


def test_names_within_users_maps_stay_as_they_are() -> None:
    batch = from_body(BatchRequest, b'{"params": {"runId": "1"}, "tags": {"maxResults": "2"}}', {"run_id": "r"})
    assert batch.params == {"runId": "1"}
    assert batch.tags == {"maxResults": "2"}


def test_camel_case_is_understood_within_lists_too() -> None:
    batch = from_body(LogBatch, b'{"runId": "r", "metrics": [{"key": "runId", "value": "NaN", "timestamp": "7"}]}', {})
    assert batch.metrics[0].key == "runId"
    assert math.isnan(batch.metrics[0].value)


def test_unknown_fields_are_ignored() -> None:
    assert from_body(LogMetric, b'{"key": "k", "value": 1, "timestamp": 5, "model_id": "m", "x": {"y": []}}', {}).key == "k"
    assert from_query(SearchExperiments, "nothing=of+ours&max_results=2", {}).max_results == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ('"0.5"', 0.5),
        ('"NaN"', math.nan),
        ('"Infinity"', math.inf),
        ('"-Infinity"', -math.inf),
        ("NaN", math.nan),
        ("-Infinity", -math.inf),
    ],
)
def test_numbers_come_as_numbers_text_or_words(text: str, value: float) -> None:
    body = f'{{"key": "k", "value": {text}, "timestamp": "1700000000000", "step": "3"}}'.encode()
    metric = from_body(LogMetric, body, {})
    assert metric.value == value or (math.isnan(value) and math.isnan(metric.value))
    assert (metric.timestamp, metric.step) == (1_700_000_000_000, 3)


def test_null_is_not_set() -> None:
    search = from_body(SearchRuns, b'{"experiment_ids": null, "filter": null, "max_results": null}', {})
    assert (search.experiment_ids, search.filter, search.max_results) == (None, None, None)


def test_a_word_that_only_looks_like_null_is_text() -> None:
    assert from_body(SearchRuns, b'{"filter": "null", "page_token": "None"}', {}).filter == "null"


def test_json_within_a_json_string_is_taken() -> None:
    inner = json.dumps({"run_id": "r", "key": "k", "value": 1, "timestamp": 5})
    assert from_body(LogMetric, json.dumps(inner).encode(), {}).run_id == "r"


def test_an_empty_body_is_an_empty_request() -> None:
    assert from_body(SearchRuns, b"", {}) == SearchRuns()


def test_arrays_in_a_query_are_repeated_keys() -> None:
    search = from_query(SearchExperiments, "order_by=name+ASC&order_by=creation_time%20DESC&filter=name%3D%27%C3%BC%27", {})
    assert search.order_by == ["name ASC", "creation_time DESC"]
    assert search.filter == "name='ü'"


def test_the_path_wins_over_the_body() -> None:
    assert from_body(BatchRequest, b'{"run_id": "of the body"}', {"run_id": "of the path"}).run_id == "of the path"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"value": 1, "timestamp": 1}', "Missing value for required parameter 'key'."),
        (b'{"key": null, "value": 1, "timestamp": 1}', "Missing value for required parameter 'key'."),
        (b'{"key": 5, "value": 1, "timestamp": 1}', "Invalid value 5 for parameter 'key' supplied"),
        (b'{"key": "k", "value": "much", "timestamp": 1}', "Invalid value \"much\" for parameter 'value' supplied"),
        (b'{"key": "k", "value": 1, "timestamp": 1.5}', "Invalid value 1.5 for parameter 'timestamp' supplied"),
        (b'{"key": "k", "value": 1, "timestamp": 99999999999999999999}', "Invalid value 99999999999999999999 for parameter 'timestamp'"),
        (b'{"key": "k", "value": true, "timestamp": 1}', "Invalid value true for parameter 'value' supplied"),
        (b"[1]", "Invalid value [1] in the request"),
        (b"null", "Invalid value null in the request"),
        (b"{", "The body is not JSON"),
        (b'{"key": "\xff"}', "The body is not JSON"),
        (b'{"key": "\\ud800", "value": 1, "timestamp": 1}', "The body is not JSON"),
        (b"[" * 100_000, "The body is not JSON"),
    ],
)
def test_mistakes_are_told_with_the_field_and_the_value(body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_body(LogMetric, body, {})
    assert caught.value.message.startswith(message)


def test_a_mistake_deep_inside_is_told_with_its_place() -> None:
    with pytest.raises(InvalidInput, match=r"for parameter 'metrics\[1\]\.timestamp' supplied"):
        from_body(LogBatch, b'{"metrics": [{"key":"a","value":1,"timestamp":1}, {"key":"a","value":1,"timestamp":"x"}]}', {})
    with pytest.raises(InvalidInput, match=r"required parameter 'metrics\[0\]\.value'"):
        from_body(LogBatch, b'{"metrics": [{"key":"a","timestamp":1}]}', {})


def test_a_long_value_is_not_repeated_in_full() -> None:
    with pytest.raises(InvalidInput) as caught:
        from_body(SearchRuns, json.dumps({"max_results": "x" * 10_000}).encode(), {})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("query", ["max_results=0", "max_results=50001", "lifecycle_stage=gone", "max_results=many"])
def test_a_value_out_of_range_is_refused(query: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid value"):
        from_query(RunSearch, query, {})


def test_a_query_of_bytes_that_are_no_text_is_refused() -> None:
    with pytest.raises(InvalidInput, match="does not parse"):
        from_query(SearchExperiments, "filter=%ff", {})


def test_events_of_all_kinds_decode() -> None:
    events = [{"t": "p", "seq": 1, "ts": 2, "key": "k", "value": "v"}, {"t": "m", "seq": 2, "ts": 2, "key": "k", "value": "NaN", "step": 1}]
    request = from_body(EventsRequest, msgspec.json.encode({"source": "s", "events": events}), {"run_id": "r"})
    assert [type(event).__name__ for event in request.events] == ["ParamLogged", "MetricLogged"]


@pytest.mark.parametrize("depth", [600, 5_000, 200_000])
@pytest.mark.parametrize("name", ["nothing", "run_id", "runId", "metrics", "experimentIds"])
def test_json_without_a_bottom_is_refused_like_other_mistakes(name: str, depth: int) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        body = b'{"runId":"r","%s":%s1%s}' % (name.encode(), opening * depth, closing * depth)
        for request in (body, body.replace(b'"runId":"r",', b"")):
            with contextlib.suppress(InvalidInput):  # where nothing reads so deep, it is an unknown field
                from_body(EventsRequest, request, {"run_id": "r"})
