"""What machines cost is known without a key, as far as the tables go."""

from __future__ import annotations

import pytest

from mlops_nb.clouds.base import WishRefused
from mlops_nb.clouds.listing import listed_offers
from mlops_nb.core.runners import MachineWish
from mlops_nb.runners import opening


def test_tables_have_the_machines_of_a_wish_with_their_gpus() -> None:
    found = listed_offers("aws", MachineWish(region="us-east", gpu="t4", gpus=1))
    assert found and all(offer.gpu == "t4" and offer.gpus >= 1 and offer.hourly and offer.region == "us-east-1" for offer in found)
    assert listed_offers("gcp", MachineWish(region="us-east", gpu="a100", gpus=8))[0].hourly


def test_spot_machines_and_clusters_have_no_price_in_a_table() -> None:
    assert listed_offers("aws", MachineWish(spot=True)) == []
    assert listed_offers("kubernetes", MachineWish()) == []


def test_a_gpu_that_nobody_has_is_refused_by_name() -> None:
    with pytest.raises(WishRefused, match="moon"):
        listed_offers("azure", MachineWish(gpu="moon", gpus=1))


def test_an_estimate_without_keys_says_that_it_has_asked_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    found = opening.estimate_offers([MachineWish(region="us-east", gpu="t4", gpus=1)], ["aws"])
    assert found.offers and "our table" in found.unseen["aws"]
