"""Formats of frameworks: what in them could run code."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from mlops_nb.models.scan.allowed import is_allowed

_SHOWN = 4
_MAX_CONFIG = 100_000_000


def skops(file: BinaryIO) -> Iterator[str]:
    """Yield the types of a skops file that are not known as harmless."""
    try:
        import skops.io
    except ImportError:
        yield "skops is not installed, which would check it: pip install 'mlops-nb[models]'"
        return
    try:
        named = [str(name) for name in skops.io.get_untrusted_types(data=file.read())]
    except (ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, RecursionError, ImportError) as error:
        yield f"it cannot be read as skops ({type(error).__name__})"
        return
    unknown = [name for name in named if not is_allowed(*_split(name))]
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        yield f"it holds {', '.join(name[:100] for name in unknown[:_SHOWN])}{more}, which skops does not know as harmless"


def _split(name: str) -> tuple[str, str]:
    module, _, last = name.rpartition(".")
    return module, last


def keras(archive: zipfile.ZipFile) -> Iterator[str]:
    """Yield what in a `.keras` file is code, or the name of code."""
    try:
        if archive.getinfo("config.json").file_size > _MAX_CONFIG:
            yield "its structure is larger than 100 MB"
            return
        config = json.loads(archive.read("config.json"))
    except (KeyError, ValueError, RecursionError) as error:
        yield f"its structure cannot be read ({type(error).__name__})"
        return
    yield from keras_config(config)


def keras_config(config: Any) -> Iterator[str]:
    """Yield what in the structure of a Keras model is code, or the name of code."""
    todo, told = [config], set()
    while todo:
        part = todo.pop()
        if isinstance(part, list):
            todo += part
        elif isinstance(part, dict):
            todo += part.values()
            module, name = part.get("module"), str(part.get("class_name"))
            why = None
            top = module.partition(".")[0] if isinstance(module, str) else None
            if name in ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"):
                why = f"it has a layer {name}, which holds code"
            elif top is not None and top not in ("keras", "keras_hub", "keras_nlp", "keras_cv", "builtins"):
                why = f"it names {module}"[:60] + f".{name[:60]}, which is no part of Keras"
            elif top == "builtins" and name not in ("function", "dict", "list", "tuple", "str", "int", "float", "bool", "slice"):
                why = f"it names builtins.{name[:60]}"
            if why and why not in told:
                told.add(why)
                yield why


def hdf5(file: BinaryIO) -> Iterator[str]:
    """Yield what in an HDF5 file of Keras is code, or leads to other files."""
    try:
        import h5py
    except ImportError:
        yield "it is HDF5, and h5py is not installed, which would check it"
        return
    try:
        with h5py.File(file, "r") as opened:
            config = opened.attrs.get("model_config")
            if config is not None:
                yield from keras_config(json.loads(config))
            outside: list[str] = []
            _links(opened, outside)
            if outside:
                yield f"it takes parts from other files, such as {outside[0][:80]}"
    except (OSError, ValueError, KeyError, RuntimeError, RecursionError) as error:
        yield f"it cannot be read as HDF5 ({type(error).__name__})"


def _links(group: Any, outside: list[str], depth: int = 0) -> None:
    import h5py

    for name in group if depth < 30 else ():
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            outside.append(str(link.filename))
        elif isinstance(link, h5py.HardLink):
            inner = group[name]
            if isinstance(inner, h5py.Group):
                _links(inner, outside, depth + 1)
            elif inner.external or inner.is_virtual:
                outside.append(name)


def onnx(file: BinaryIO) -> Iterator[str]:
    """Yield where a graph of ONNX takes its numbers from, if that is not beside it."""
    try:
        import onnx as library
    except ImportError:
        return  # its runtime reads numbers of the graph itself, and beside it only below the folder
    try:
        model = library.load_model_from_string(file.read())
    except Exception as error:  # noqa: BLE001 - protobuf has errors of several libraries; the file is refused either way
        yield f"it cannot be read as ONNX ({type(error).__name__})"
        return
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location" and (entry.value.startswith(("/", "\\")) or ".." in entry.value.replace("\\", "/").split("/")):
                yield f"it takes numbers from {entry.value[:80]}, which is not in the folder"
                return
