"""What travels between a notebook and an endpoint: requests, answers, comparisons, the form, the words of `%serve`."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_nb.core.durations import seconds_of
from mlops_nb.errors import InvalidInput
from mlops_nb.magics.serve_cards import card_bundle, snippets, try_form
from mlops_nb.magics.serve_completion import ServeCompleter
from mlops_nb.magics.serve_parsers import VERBS, parser_of, share
from mlops_nb.serving import parity
from mlops_nb.serving.client import Endpoint, EndpointServer
from mlops_nb.serving.payloads import prediction_of, request_of
from mlops_nb.serving.records import EndpointInfo, VersionInfo
from mlops_nb.tracking.session import Session


def test_tables_arrays_and_gaps_travel_as_mlflow_reads_them() -> None:
    table = pd.DataFrame({"a": [1, 2], "b": [0.5, float("nan")], "t": pd.to_datetime(["2026-01-01", None]), "s": ["x", None]}, index=[7, 9])
    sent = json.loads(request_of(table, {"k": 1}))
    assert sent["params"] == {"k": 1}
    assert sent["dataframe_split"]["columns"] == ["a", "b", "t", "s"]
    assert sent["dataframe_split"]["data"] == [[1, 0.5, "2026-01-01T00:00:00", "x"], [2, None, None, None]]
    assert json.loads(request_of(np.eye(2))) == {"inputs": [[1.0, 0.0], [0.0, 1.0]]}
    assert json.loads(request_of({"x": np.arange(2)})) == {"inputs": {"x": [0, 1]}}
    assert json.loads(request_of([{"a": 1}])) == {"dataframe_records": [{"a": 1}]}
    assert json.loads(request_of(pd.DataFrame({"f": [b"\x00"]})))["dataframe_split"]["data"] == [["AA=="]]


def test_answers_come_back_as_arrays_and_tables() -> None:
    assert np.array_equal(prediction_of(b'{"predictions": [1, NaN]}'), [1, np.nan], equal_nan=True)
    assert list(prediction_of(b'{"predictions": [{"a": 1, "b": "x"}]}').columns) == ["a", "b"]
    assert prediction_of(b'{"predictions": [[1], [1, 2]]}') == [[1], [1, 2]]


def test_parity_names_the_rows_that_differ() -> None:
    found = parity.compare(np.array([1.0, 2.0, np.nan, 4.0]), np.array([1.0 + 1e-9, 2.5, np.nan, 4.0]))
    assert (found.different, found.holds) == ([1], False)
    assert str(found) == "parity 3/4 rows equal; different: 1\n  row 1: notebook 2.0, endpoint 2.5"
    assert parity.compare(np.array(["a", "b"]), np.array(["a", "c"])).different == [1]
    assert parity.compare(pd.DataFrame({"a": [1, 2], "b": [1, 2]}), pd.DataFrame({"a": [1, 2], "b": [1, 3]})).different == [1]
    assert parity.compare(np.ones((3, 2)), np.array([[1, 1], [1, 1], [1, 2]])).different == [2]
    assert "answers 2 rows" in parity.compare(np.ones(2), np.ones(3)).problem
    assert parity.compare(np.ones((2, 1)), np.ones(2)).holds
    assert parity.compare(pd.Series([1, 2], name="y"), np.array([1, 2])).holds


class Recorder(EndpointServer):
    """Answers without a server; keeps what was sent."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:8888/user/me/mlops", "secret")
        self.sent: list[bytes] = []

    def ask(self, name: str, body: bytes, content_type: str = "application/json") -> tuple[int, bytes]:
        self.sent.append(body)
        return (200, b'{"predictions": [0.25]}') if b"good" in body else (400, b'{"error_code": "BAD_REQUEST", "message": "<i>no</i>"}')


FIELDS = [
    {"type": "double", "name": "tenure"},
    {"type": "long", "name": "n"},
    {"type": "string", "name": "<b>plan</b>"},
    {"type": "boolean", "name": "flag"},
]


def told() -> EndpointInfo:
    return EndpointInfo(
        name="churn",
        state="ready",
        path="/serve/churn/",
        created=time.time(),
        expires=time.time() + 60,
        workers=1,
        live=VersionInfo(label="3", model="models:/churn/3", registered="churn", state="ready"),
        signature={"inputs": json.dumps(FIELDS), "outputs": None, "params": None},
        example={"dataframe_split": {"columns": [one["name"] for one in FIELDS], "data": [[1.5, 2, "it's good", True]]}},
    )


def test_the_form_asks_the_endpoint_for_the_row_in_it_and_shows_what_came() -> None:
    server = Recorder()
    form = try_form(Endpoint(server, "churn"), told())
    *inputs, button, answer = form.children
    assert [one.value for one in inputs] == [1.5, 2, "it's good", True]
    button.click()
    assert json.loads(server.sent[-1]) == {"dataframe_records": [{"tenure": 1.5, "n": 2, "<b>plan</b>": "it's good", "flag": True}]}
    assert "→ <b>0.25</b>" in answer.value
    inputs[2].value = "bad"
    button.click()
    assert "&lt;i&gt;no&lt;/i&gt;" in answer.value


def test_the_card_is_small_escapes_names_and_holds_no_secret() -> None:
    endpoint = Endpoint(Recorder(), "churn")
    bundle = card_bundle(endpoint, told())
    assert "secret" not in str(bundle) and "<script" not in bundle["text/html"] and "<b>plan" not in bundle["text/html"]
    assert len(bundle["text/html"]) < 20_000
    code = snippets(endpoint, told())
    assert "it'\\''s good" in code["curl"]
    compile(code["python"], "snippet", "exec")


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("30m", 1800), ("2h", 7200), ("1.5d", 129_600), ("10 min", 600)])
def test_durations_are_read(text: str, value: float) -> None:
    assert seconds_of(text) == value


def test_wrong_durations_and_shares_are_refused() -> None:
    for wrong in ("", "soon", "-1h", "1y"):
        with pytest.raises(InvalidInput):
            seconds_of(wrong)
    assert (share("10%"), share("0.1"), share("100%")) == (0.1, 0.1, 1.0)
    for wrong in ("", "x", "101%", "-1", "nan"):
        with pytest.raises(InvalidInput):
            share(wrong)


def test_each_verb_has_help_and_examples() -> None:
    for verb in VERBS:
        assert "Examples:" in parser_of(verb).help_text()


def test_completion_knows_verbs_variables_options_and_endpoints() -> None:
    session = Session()
    session.user_ns = {"model": 1, "X_val": 2}
    knowledge: Any = type("Known", (), {"refresh": lambda self: None, "runs": {"id": "calm-ibis"}})()
    completer = ServeCompleter(session, knowledge)
    completer.names, completer._read_at = ("churn",), float("inf")
    completer._first.set()
    assert "promote" in completer.complete("%serve pro", "pro")
    assert {"model", "@last", "calm-ibis"} <= set(completer.complete("%serve ", ""))
    assert completer.complete("%serve stop ", "") == ["churn"]
    assert completer.complete("%serve model --exa", "--exa") == ["--example"]
    assert "X_val" in completer.complete("%serve model --example ", "")
    assert completer.complete("%serve code churn p", "p") == ["python"]
    assert completer.complete("%serve model --env ", "") == ["clean", "kernel"]
    assert completer.complete("%serve model --env-manager u", "u") == ["uv"]
    assert completer.complete("%serve model --route ", "") == ["json", "v2", "openai"]
    assert completer.complete("%serve model --shadow ", "") == ["5%", "10%", "50%"]
    assert "X_val" in completer.complete("%serve parity --with model churn ", "")
    assert "--gpu" in completer.complete("%serve model --gpu ", "")
    assert completer.complete("%track ", "") == []
