"""CML's words for machines and regions in the words of each cloud: s, m, l, xl, m+t4, us-west. Pure; no I/O.

The sizes are CML's (m is 8 CPUs and 32 GB) on the machine types of today: CML's own names, written in 2021, point in part to
types that have been retired (K80, Azure's V100) or never were there (`p3.xlarge`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mlops_nb.clouds.base import WishRefused
from mlops_nb.core.runners import CloudName
from mlops_nb.errors import did_you_mean

RentedFrom = Literal["aws", "gcp", "azure", "kubernetes"]

SIZES = ("s", "m", "l", "xl")
DEFAULT_SIZE = "m"
DEFAULT_REGION = "us-west"
DEFAULT_DISK_GB = 35
"""As CML's; machines with GPUs want more, for drivers and CUDA: `GPU_DISK_GB`."""
GPU_DISK_GB = 100

REGIONS: Mapping[str, Mapping[str, str]] = {
    "us-west": {"aws": "us-west-1", "gcp": "us-west1", "azure": "westus2"},
    "us-east": {"aws": "us-east-1", "gcp": "us-east1", "azure": "eastus"},
    "eu-west": {"aws": "eu-west-1", "gcp": "europe-west1", "azure": "westeurope"},
    "eu-north": {"aws": "eu-north-1", "gcp": "europe-north1", "azure": "northeurope"},
}

_CPU: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "aws": {
        "s": ("t3.small", "t3a.small"),
        "m": ("m7i.2xlarge", "m6i.2xlarge", "m5.2xlarge"),
        "l": ("m7i.8xlarge", "m6i.8xlarge", "m5.8xlarge"),
        "xl": ("m7i.16xlarge", "m6i.16xlarge", "m5.16xlarge"),
    },
    "gcp": {
        "s": ("e2-small",),
        "m": ("e2-standard-8", "n2-standard-8"),
        "l": ("e2-standard-32", "n2-standard-32"),
        "xl": ("n2-standard-64", "n2d-standard-64"),
    },
    "azure": {
        "s": ("Standard_B2s",),
        "m": ("Standard_D8s_v5", "Standard_D8as_v5"),
        "l": ("Standard_D32s_v5", "Standard_D32as_v5"),
        "xl": ("Standard_D64s_v5", "Standard_D64as_v5"),
    },
    "kubernetes": {"s": ("1-2048",), "m": ("8-32768",), "l": ("32-131072",), "xl": ("64-262144",)},
}

# How many GPUs: the types that have so many, smallest first.
_GPU: Mapping[str, Mapping[str, Mapping[int, tuple[str, ...]]]] = {
    "aws": {
        "t4": {1: ("g4dn.xlarge",), 4: ("g4dn.12xlarge",), 8: ("g4dn.metal",)},
        "v100": {1: ("p3.2xlarge",), 4: ("p3.8xlarge",), 8: ("p3.16xlarge",)},
        "l4": {1: ("g6.2xlarge",), 4: ("g6.12xlarge",), 8: ("g6.48xlarge",)},
        "a10g": {1: ("g5.2xlarge",), 4: ("g5.12xlarge",), 8: ("g5.48xlarge",)},
        "l40s": {1: ("g6e.2xlarge",), 4: ("g6e.12xlarge",), 8: ("g6e.48xlarge",)},
        "a100": {8: ("p4d.24xlarge", "p4de.24xlarge")},
        "h100": {1: ("p5.4xlarge",), 8: ("p5.48xlarge",)},
    },
    "gcp": {
        "t4": {
            1: ("n1-standard-4+nvidia-tesla-t4*1",),
            2: ("n1-standard-16+nvidia-tesla-t4*2",),
            4: ("n1-standard-32+nvidia-tesla-t4*4",),
        },
        "v100": {
            1: ("n1-standard-8+nvidia-tesla-v100*1",),
            4: ("n1-standard-32+nvidia-tesla-v100*4",),
            8: ("n1-standard-64+nvidia-tesla-v100*8",),
        },
        "l4": {1: ("g2-standard-8",), 2: ("g2-standard-24",), 4: ("g2-standard-48",), 8: ("g2-standard-96",)},
        "a100": {1: ("a2-highgpu-1g",), 2: ("a2-highgpu-2g",), 4: ("a2-highgpu-4g",), 8: ("a2-highgpu-8g",)},
        "h100": {1: ("a3-highgpu-1g",), 2: ("a3-highgpu-2g",), 4: ("a3-highgpu-4g",), 8: ("a3-highgpu-8g",)},
    },
    "azure": {
        "t4": {1: ("Standard_NC4as_T4_v3",), 4: ("Standard_NC64as_T4_v3",)},
        "a10g": {1: ("Standard_NV36ads_A10_v5",), 2: ("Standard_NV72ads_A10_v5",)},
        "a100": {1: ("Standard_NC24ads_A100_v4",), 2: ("Standard_NC48ads_A100_v4",), 4: ("Standard_NC96ads_A100_v4",)},
        "h100": {1: ("Standard_NC40ads_H100_v5",), 2: ("Standard_NC80adis_H100_v5",), 8: ("Standard_ND96isr_H100_v5",)},
    },
    "kubernetes": {
        "t4": {1: ("4-16384+nvidia-tesla-t4*1",), 4: ("32-131072+nvidia-tesla-t4*4",)},
        "v100": {
            1: ("8-65536+nvidia-tesla-v100*1",),
            4: ("32-262144+nvidia-tesla-v100*4",),
            8: ("64-524288+nvidia-tesla-v100*8",),
        },
        "l4": {1: ("8-32768+nvidia-l4*1",), 4: ("48-196608+nvidia-l4*4",), 8: ("96-393216+nvidia-l4*8",)},
        "a10g": {1: ("8-32768+nvidia-a10g*1",), 4: ("48-196608+nvidia-a10g*4",), 8: ("96-393216+nvidia-a10g*8",)},
        "l40s": {1: ("8-65536+nvidia-l40s*1",), 4: ("48-393216+nvidia-l40s*4",), 8: ("96-786432+nvidia-l40s*8",)},
        "a100": {1: ("12-87040+nvidia-tesla-a100*1",), 4: ("48-348160+nvidia-tesla-a100*4",), 8: ("96-696320+nvidia-tesla-a100*8",)},
        "h100": {1: ("16-131072+nvidia-h100-80gb*1",), 8: ("96-1048576+nvidia-h100-80gb*8",)},
    },
}
_ALSO = {"tesla": "v100", "a10": "a10g", "nvidia-l4": "l4", "nvidia-l40s": "l40s", "nvidia-tesla-a100": "a100", "nvidia-h100-80gb": "h100"}
_RETIRED = {"k80": "t4", "p4": "l4", "p100": "v100", "m60": "t4"}


def region_of(cloud: CloudName, region: str) -> str:
    """Return a region in the cloud's own word; what is no short name is taken for one of the cloud's own. "": us-west."""
    word = region or DEFAULT_REGION
    return REGIONS.get(word, {}).get(cloud, word)


def gpu_of(name: str) -> str:
    """Return the short name of a GPU: `nvidia-tesla-t4` and `T4` are t4; "" and `nogpu` are none. Others come back as they are."""
    word = name.strip().lower()
    if word in ("", "nogpu"):
        return ""
    word = _ALSO.get(word, word)
    return word.removeprefix("nvidia-tesla-") if word.startswith("nvidia-tesla-") else word


def is_size(name: str) -> bool:
    """Say whether this is one of CML's sizes: m, xl, m+t4."""
    return name.partition("+")[0] in SIZES


def types_of(cloud: RentedFrom, size: str = "", gpu: str = "", gpus: int = 0) -> tuple[str, ...]:
    """Return a cloud's own types for a size and a GPU, in the order to try; a type of the cloud's own comes back as it is.

    Args:
        size: s, m, l, xl, one of them with a GPU (`l+v100`), or a native type; "": m.
        gpu: A short name; where the size names one, too, it has to be the same.
        gpus: At least so many of them; 0: as the size says: m one, l four, xl the most there are.

    Raises:
        WishRefused: If the cloud has no such GPU, or not so many in one machine.
    """
    size = size or DEFAULT_SIZE
    if not is_size(size):
        return (size,)
    letter, _, own = size.partition("+")
    wanted = gpu_of(own) or gpu_of(gpu)
    if own and gpu_of(gpu) not in ("", wanted):
        raise WishRefused(f"The size '{size}' and the GPU '{gpu}' do not go together.", hint=f"Leave one out: --cloud-type {letter}")
    if not wanted:
        if gpus:
            raise WishRefused(f"{gpus} GPUs, but of which kind?", hint=f"Say it: --cloud-gpu {' or '.join(_GPU[cloud])}")
        return _CPU[cloud][letter]
    known = _GPU[cloud]
    if wanted not in known:
        instead = _RETIRED.get(wanted)
        hint = f"There is {', '.join(known)}."
        if instead in known:
            hint = f"It was retired; '{instead}' comes nearest. {hint}"
        elif near := did_you_mean(wanted, known):
            hint = f"{near} {hint}"
        raise WishRefused(f"The GPU '{wanted}' cannot be had from {cloud}.", hint=hint)
    counts = sorted(known[wanted])
    least = gpus or {"s": 1, "m": 1, "l": 4, "xl": counts[-1]}[letter]
    fitting = [count for count in counts if count >= least]
    if not fitting:
        if gpus:
            raise WishRefused(f"No machine of {cloud} has {gpus} GPUs '{wanted}'.", hint=f"The most are {counts[-1]}.")
        fitting = counts[-1:]
    return known[wanted][fitting[0]]


def gpu_of_type(cloud: RentedFrom, native: str) -> tuple[str, int]:
    """Return which GPU a native type of the tables above has, and how many; ("", 0) where it is not among them."""
    for gpu, counts in _GPU[cloud].items():
        for count, types in counts.items():
            if native in types:
                return gpu, count
    return "", 0
