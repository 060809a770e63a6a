"""Sources of model versions: one form for each place, and no way out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_nb.core.model_sources import (
    CLOUDS,
    CloudSource,
    LoggedModelSource,
    ProxySource,
    RunSource,
    Source,
    VersionSource,
    parse_source,
)
from mlops_nb.core.registry import Stage
from mlops_nb.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("runs:/r1/a b/ü#1", RunSource(uri="runs:/r1/a b/ü#1", run_id="r1")),
        ("runs:/r1", RunSource(uri="runs:/r1", run_id="r1")),
        ("mlflow-artifacts:///0//r1/artifacts/", ProxySource(uri="mlflow-artifacts:/0/r1/artifacts")),
        ("models:/m-0a1b", LoggedModelSource(uri="models:/m-0a1b", model_id="m-0a1b")),
        ("models:/m-0a1b@prod", VersionSource(name="m-0a1b", alias="prod")),
        ("models:/a b/12", VersionSource(name="a b", number=12)),
        ("models:/a@b@prod", VersionSource(name="a@b", alias="prod")),
        ("models:/a/LATEST", VersionSource(name="a")),
        ("models:/a/production", VersionSource(name="a", stage=Stage.PRODUCTION)),
        ("GS://Bucket/Key", CloudSource(uri="gs://Bucket/Key")),
        ("s3://bucket/..hidden/a..b", CloudSource(uri="s3://bucket/..hidden/a..b")),
    ],
)
def test_each_form_is_read_as_what_it_names(text: str, source: Source) -> None:
    assert parse_source(text) == source


_PIECES = st.sampled_from(
    [
        "runs:",
        "models:",
        "mlflow-artifacts:",
        "s3:",
        "file:",
        "http:",
        "/",
        "//",
        "..",
        ".",
        "%2e",
        "%2F",
        "%25",
        "\\",
        "@",
        "?",
        "#",
        "m-1",
    ]
)
_TEXTS = st.lists(st.one_of(_PIECES, st.text(max_size=4)), max_size=8).map("".join)


@given(_TEXTS)
def test_what_is_accepted_is_canonical_and_leads_nowhere_else(text: str) -> None:
    try:
        source = parse_source(text)
    except InvalidInput:
        return
    if isinstance(source, VersionSource):
        assert "/" not in source.name
        return
    assert parse_source(source.uri) == source
    scheme, _, rest = source.uri.partition(":")
    assert scheme in CLOUDS | {"runs", "models", "mlflow-artifacts"}
    assert not {".", ".."} & set(rest.replace("\\", "/").split("/"))
    assert not any(ord(c) < 32 or ord(c) == 127 for c in rest)


def test_a_place_is_within_its_root_and_not_beside_it() -> None:
    root = "mlflow-artifacts:/0/r1/artifacts"
    for uri, within in ((root, True), (f"{root}/model", True), (f"{root}x", False), ("mlflow-artifacts:/0/r1", False)):
        assert ProxySource(uri=uri).is_within(root) is within
