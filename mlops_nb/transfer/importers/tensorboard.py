"""TensorBoard's event files: each folder that has some is a run, each scalar a metric."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from mlops_nb.core.names import MAX_KEY
from mlops_nb.core.records import TAG_RUN_NAME, TAG_SOURCE_NAME, Experiment, Metric, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, MissingDependencyError
from mlops_nb.transfer.source import Source, SourceFile, SourceRun

_EVENTS = "*tfevents*"
_SCALARS, _IMAGES, _HPARAMS = "scalars", "images", "hparams"
_START, _END = "_hparams_/session_start_info", "_hparams_/session_end_info"
_NOT_ALLOWED = re.compile(r"[^\w\-. /:]")
_IMAGE_KINDS = {b"\x89PNG": "png", b"GIF8": "gif", b"\xff\xd8\xff\xe0": "jpg", b"\xff\xd8\xff\xe1": "jpg"}


class TensorBoardLogs(Source):
    """A log folder. A run's id is made of its experiment, its path in the folder and its first event: it is always the same.

    Args:
        logdir: The folder.
        experiment: What the runs join; the folder's name by default.
        images: Whether image summaries are files of the runs.

    Raises:
        MissingDependencyError: If TensorBoard is not installed.
        InvalidInput: If no event file is below the folder.
    """

    def __init__(self, logdir: str, *, experiment: str | None = None, images: bool = False) -> None:
        try:
            from tensorboard.backend.event_processing import event_file_loader  # type: ignore[import-untyped]
        except ImportError as error:
            raise MissingDependencyError("tensorboard", extra="import", purpose="Reading event files") from error
        self._loader: Any = event_file_loader.EventFileLoader
        self._root = Path(logdir).absolute()
        self._name = experiment or self._root.name
        self._images = images
        self._folders: dict[str, Path] = {}
        if not any(self._root.rglob(_EVENTS)):
            raise InvalidInput(f"There is no event file below {logdir}.", hint="Event files have 'tfevents' in their names.")

    def experiments(self) -> Iterator[Experiment]:
        first = min(path.stat().st_mtime for path in self._root.rglob(_EVENTS))
        yield Experiment(
            experiment_id="0", name=self._name, artifact_location="", creation_time=int(first * 1000), last_update_time=int(first * 1000)
        )

    def runs(self, experiment_id: str) -> Iterator[SourceRun]:
        for folder in sorted({path.parent for path in self._root.rglob(_EVENTS)}):
            run = self._run(folder, experiment_id)
            self._folders[run.run_id] = folder
            yield SourceRun(run=run)

    def _run(self, folder: Path, experiment_id: str) -> Run:
        first = last = None
        params: dict[str, str] = {}
        status = RunStatus.FINISHED
        for event in self._events(folder):
            first = event.wall_time if first is None else first
            last = event.wall_time
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == _HPARAMS:
                    params |= _hyperparameters(value)
                    status = _ended(value) or status
        relative = folder.relative_to(self._root).as_posix()
        name = relative if relative != "." else self._root.name
        files = sorted(path.name for path in folder.glob(_EVENTS))
        identity = "\n".join((self._name, relative, files[0], repr(first)))
        return Run(
            run_id=hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:32],
            experiment_id=experiment_id,
            name=name[:MAX_KEY],
            status=status,
            start_time=_ms(first or 0.0),
            end_time=_ms(last or 0.0),
            artifact_uri=str(folder),
            params=params,
            tags={TAG_RUN_NAME: name[:MAX_KEY], TAG_SOURCE_NAME: "tensorboard"},
        )

    def points(self, run_id: str) -> Iterator[Metric]:
        from tensorboard.util import tensor_util  # type: ignore[import-untyped]

        plugins: dict[str, str] = {}
        for event in self._events(self._folders[run_id]):
            for value in event.summary.value:
                plugin = plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
                if plugin == _SCALARS and value.WhichOneof("value") == "tensor":
                    number = float(tensor_util.make_ndarray(value.tensor).item())
                    yield Metric(key=_key(value.tag), value=number, timestamp=_ms(event.wall_time), step=event.step)

    def files(self, uri: str) -> Iterator[SourceFile]:
        if not self._images:
            return
        from tensorboard.util import tensor_util

        plugins: dict[str, str] = {}
        for event in self._events(Path(uri)):
            for value in event.summary.value:
                plugin = plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
                if plugin == _IMAGES and value.WhichOneof("value") == "tensor":
                    # Width, height, then the images of the batch, encoded.
                    for number, image in enumerate(tensor_util.make_ndarray(value.tensor).tolist()[2:]):
                        kind = _IMAGE_KINDS.get(bytes(image[:4]), "bin")
                        path = f"images/{_path(value.tag)}/{event.step}-{number}.{kind}"
                        yield SourceFile(path=path, size=len(image), open=partial(_opened, bytes(image)))

    def _events(self, folder: Path) -> Iterator[Any]:
        """Return the events of a folder, file by file; the last one of a file may have been cut off."""
        for path in sorted(folder.glob(_EVENTS)):
            yield from self._loader(str(path)).Load()


def _opened(content: bytes) -> BinaryIO:
    return io.BytesIO(content)


def _ms(wall_time: float) -> int:
    return round(wall_time * 1000)


def _key(tag: str) -> str:
    """Return a tag as the name of a metric: what may not be in one is '_', and no part of it reads as a folder's name."""
    parts = [part for part in _NOT_ALLOWED.sub("_", tag).split("/") if part not in ("", ".", "..")]
    return "/".join(parts)[:MAX_KEY] or "_"


def _path(tag: str) -> str:
    return "/".join(part[:100] for part in _key(tag).split("/"))


def _hyperparameters(value: Any) -> dict[str, str]:
    """Return the hyperparameters that the HParams plugin has noted for a session."""
    from tensorboard.plugins.hparams import plugin_data_pb2  # type: ignore[import-untyped]

    if value.tag != _START:
        return {}
    data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
    found: dict[str, str] = {}
    for key, its in data.session_start_info.hparams.items():
        kind = its.WhichOneof("kind")
        if kind is not None:
            found[_key(key)] = str(getattr(its, kind))
    return found


def _ended(value: Any) -> RunStatus | None:
    """Return how a session ended, where the plugin has noted it."""
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

    if value.tag != _END:
        return None
    data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
    states = {
        api_pb2.STATUS_FAILURE: RunStatus.FAILED,
        api_pb2.STATUS_RUNNING: RunStatus.RUNNING,
        api_pb2.STATUS_SUCCESS: RunStatus.FINISHED,
    }
    return states.get(data.session_end_info.status)
