"""CML's sizes and regions in the words of the clouds."""

from __future__ import annotations

import pytest

from mlops_nb.clouds.base import WishRefused
from mlops_nb.clouds.sizes import gpu_of, region_of, types_of


def test_the_words_of_cml_name_a_type_on_each_cloud() -> None:
    for cloud in ("aws", "gcp", "azure", "kubernetes"):
        for size in ("s", "m", "l", "xl", "m+t4", "l+t4"):
            assert types_of(cloud, size)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cloud", "size", "gpu", "gpus", "first"),
    [
        ("aws", "", "", 0, "m7i.2xlarge"),
        ("aws", "m+v100", "", 0, "p3.2xlarge"),
        ("aws", "xl", "tesla", 0, "p3.16xlarge"),
        ("gcp", "m", "t4", 0, "n1-standard-4+nvidia-tesla-t4*1"),
        ("gcp", "m", "nvidia-tesla-t4", 2, "n1-standard-16+nvidia-tesla-t4*2"),
        ("gcp", "m", "l4", 3, "g2-standard-48"),
        ("azure", "l", "nogpu", 0, "Standard_D32s_v5"),
        ("azure", "xl+T4", "", 0, "Standard_NC64as_T4_v3"),
        ("kubernetes", "m+t4", "", 0, "4-16384+nvidia-tesla-t4*1"),
        ("aws", "g4ad.xlarge", "", 0, "g4ad.xlarge"),
        ("gcp", "n1-highmem-2+nvidia-tesla-p4*1", "", 0, "n1-highmem-2+nvidia-tesla-p4*1"),
    ],
)
def test_a_size_and_a_gpu_name_the_first_type_to_try(cloud: str, size: str, gpu: str, gpus: int, first: str) -> None:
    assert types_of(cloud, size, gpu, gpus)[0] == first  # type: ignore[arg-type]


def test_a_gpu_that_was_retired_names_the_next_best() -> None:
    with pytest.raises(WishRefused, match=r"'k80' cannot be had from aws.*'t4' comes nearest"):
        types_of("aws", "m+k80")


def test_a_gpu_that_a_cloud_has_not_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(WishRefused, match=r"'l4' cannot be had from azure.*t4, a10g, a100, h100"):
        types_of("azure", "m", "l4")
    with pytest.raises(WishRefused, match=r"No machine of gcp has 16 GPUs 'l4'.*most are 8"):
        types_of("gcp", "m", "l4", 16)
    with pytest.raises(WishRefused, match=r"do not go together"):
        types_of("gcp", "m+t4", "v100")


def test_a_short_region_is_each_cloud_s_own_and_others_stay() -> None:
    assert region_of("aws", "") == "us-west-1"
    assert region_of("gcp", "eu-north") == "europe-north1"
    assert region_of("azure", "eu-west") == "westeurope"
    assert region_of("gcp", "us-central1-a") == "us-central1-a"


def test_names_of_gpus_have_one_short_form() -> None:
    assert [gpu_of(name) for name in ("", "nogpu", "T4", "nvidia-tesla-v100", "tesla", "nvidia-l4")] == ["", "", "t4", "v100", "v100", "l4"]
