"""GPUs of this machine, for models that compute on one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlops_nb.errors import InvalidInput, NotSupported

DEVICE = "cuda"
_TAKES_DEVICE = ("pytorch", "transformers", "sentence_transformers")
_PROCESSOR_ONLY = ("sklearn", "statsmodels", "prophet", "spacy")


def visible_gpus() -> int:
    """Return how many NVIDIA GPUs a process that is started now would see."""
    count = _count()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not count:
        return count
    named = [one.strip() for one in chosen.split(",") if one.strip()]
    return min(count, len(named[: named.index("-1")] if "-1" in named else named))


def _count() -> int:
    try:
        import pynvml

        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except ImportError:  # the driver tells as well
        folder = Path("/proc/driver/nvidia/gpus")
        return len(list(folder.iterdir())) if folder.is_dir() else 0
    except Exception:  # noqa: BLE001 - whatever NVML raises: there is no driver, and no GPU
        return 0


def check_gpu() -> None:
    """Check that there is a GPU.

    Raises:
        NotSupported: If none is visible.
    """
    if not visible_gpus():
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise NotSupported(
            "No GPU is visible on the machine of this Jupyter server."
            + (f" CUDA_VISIBLE_DEVICES is '{hidden}'." if hidden is not None and _count() else ""),
            hint="Leave out --gpu to serve from the processor; nvidia-smi shows what the driver sees.",
        )


def settings_of(folder: str) -> dict[str, Any]:
    """Return the settings that put the model of a folder on the GPU.

    Raises:
        InvalidInput: If its framework computes on the processor alone.
    """
    from mlops_nb.models.metadata import read_metadata

    flavors = read_metadata(Path(folder)).flavors
    unable = next((name for name in _PROCESSOR_ONLY if name in flavors), None)
    if unable is not None:
        raise InvalidInput(f"A model of {unable} computes on the processor alone: --gpu does nothing for it.", hint="Leave out --gpu.")
    # ONNX Runtime takes a GPU by itself where it has one; others read MLFLOW_DEFAULT_PREDICTION_DEVICE.
    return {"device": DEVICE} if any(name in flavors for name in _TAKES_DEVICE) else {}
