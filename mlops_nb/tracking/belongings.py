"""What belongs to a run besides numbers and words: files, figures, data sets, models."""

from __future__ import annotations

import functools
import json
import logging
import math
import shutil
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import msgspec

from mlops_nb.core.datasets import CONTEXT_TAG, Dataset, DatasetInput, check_input
from mlops_nb.core.events import AnyEvent, ArtifactAdded, DatasetLogged, ModelLogged
from mlops_nb.core.logged_models import LoggedModelStatus, check_model_name, new_model_id
from mlops_nb.core.names import clean_text
from mlops_nb.errors import NotFound
from mlops_nb.store.artifacts import check_artifact_path
from mlops_nb.tracking import figures
from mlops_nb.tracking.views import RunViews

logger = logging.getLogger("mlops_nb")

_COMPLAIN_EVERY = 60.0


class Belongings(RunViews):
    """The part of `ActiveRun` that keeps things: each is copied beside the journal as it is now, and delivered later.

    Attributes:
        continues: Whether the run was begun before, so that the store may have things of it already.
    """

    continues = False
    _complained_at = -math.inf

    @abstractmethod
    def _append(self, event: AnyEvent) -> None: ...

    @abstractmethod
    def tell(self, event: AnyEvent) -> None: ...

    @abstractmethod
    def _spool(self, copy: Callable[[Path], Any]) -> str: ...

    @property
    @abstractmethod
    def _cell_index(self) -> int | None: ...

    def log_artifact(self, local_path: str | Path, artifact_path: str | None = None) -> None:
        """Keep a copy of a file as it is now, or of a folder with all in it.

        Args:
            local_path: The file or folder.
            artifact_path: The folder among the run's artifacts; None means the top.

        Raises:
            NotFound: If there is no such file.
        """
        source = Path(local_path)
        if not source.exists():
            raise NotFound(f"There is no file '{local_path}'.")
        prefix = _prefix(artifact_path)
        if source.is_dir():
            self._add_folder(source, f"{prefix}{source.name}/")
        else:
            self.add_file(source, prefix + source.name)

    def add_file(self, source: Path, artifact_file: str) -> None:
        """Keep a copy of a file under another name.

        Raises:
            NotFound: If there is no such file.
        """
        if not source.is_file():
            raise NotFound(f"There is no file '{source}'.")
        self._add_file(artifact_file, functools.partial(shutil.copyfile, source))

    def log_artifacts(self, local_dir: str | Path, artifact_path: str | None = None) -> None:
        """Keep a copy of what is in a folder, without the folder's own name."""
        folder = Path(local_dir)
        if not folder.is_dir():
            raise NotFound(f"There is no folder '{local_dir}'.")
        self._add_folder(folder, _prefix(artifact_path))

    def add_bytes(self, content: bytes, artifact_file: str, *, is_result: bool = True) -> None:
        """Keep bytes as a file.

        Args:
            content: The bytes.
            artifact_file: Its path among the run's artifacts.
            is_result: It is something that the cell gave the run, not a record about the cell.
        """
        self._add_file(artifact_file, lambda to: to.write_bytes(content), is_result=is_result)

    def log_text(self, text: str, artifact_file: str) -> None:
        """Keep text as a file."""
        self._add_file(artifact_file, lambda to: to.write_text(clean_text(text), encoding="utf-8"))

    def log_dict(self, dictionary: Any, artifact_file: str) -> None:
        """Keep a value as a file: YAML where the name ends in `.yaml` or `.yml`, else JSON."""
        if str(artifact_file).endswith((".yaml", ".yml")):
            import yaml

            text = yaml.safe_dump(dictionary, default_flow_style=False, sort_keys=False)
        else:
            text = json.dumps(dictionary, indent=2, default=str)
        self._add_file(artifact_file, lambda to: to.write_text(text, encoding="utf-8"))

    def log_figure(self, figure: Any, artifact_file: str, **options: Any) -> None:
        """Keep a matplotlib or plotly figure or a PIL image; the file's suffix gives the format, `options` go to its own way of saving."""
        suffix = Path(_as_text(artifact_file)).suffix.lower()
        self._add_file(artifact_file, lambda to: figures.save(figure, to, suffix, **options))

    def _add_folder(self, folder: Path, prefix: str) -> None:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            self.add_file(file, prefix + file.relative_to(folder).as_posix())

    def add_beside(self, path: str, content: bytes) -> None:
        """Keep a file about the run that no cell gave it."""
        check_artifact_path(path)
        try:
            spooled = self._spool(lambda to: to.write_bytes(content))
        except OSError as error:
            self._complain(path, error)
            return
        self.tell(ArtifactAdded(path=path, spool=spooled))

    def _complain(self, path: str, error: OSError) -> None:
        """Say that a file could not be kept: once a minute, however many there are."""
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAIN_EVERY:
            self._complained_at = now
            logger.warning("The artifact '%s' is not recorded: %s. Your code goes on.", path, error.strerror or error)

    def _add_file(self, path: str, copy: Callable[[Path], Any], model_id: str | None = None, *, is_result: bool = True) -> None:
        path = _as_text(path)
        check_artifact_path(path)
        try:
            spooled = self._spool(copy)
        except OSError as error:
            self._complain(path, error)
            return
        self._append(ArtifactAdded(path=path, spool=spooled, model_id=model_id, cell=self._cell_index if is_result else None))

    # -- what it read and made

    def log_input(self, dataset: Dataset, context: str | None = None, tags: Mapping[str, str] | None = None) -> None:
        """Note a data set that the run read.

        Args:
            dataset: Name, digest and where it is from.
            context: What it was for, such as `training`.
            tags: Further tags of the use.

        Raises:
            InvalidInput: If a text is longer than MLflow allows.
        """
        given = {**(tags or {}), **({CONTEXT_TAG: context} if context else {})}
        self._append(DatasetLogged(input=check_input(DatasetInput(dataset=dataset, tags=given)), cell=self._cell_index))

    def add_model(
        self,
        folder: Path,
        name: str,
        *,
        model_id: str | None = None,
        model_type: str = "",
        step: int = 0,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Keep a copy of a model folder as a logged model of this run and return the model's id.

        Raises:
            InvalidInput: If the name is not allowed.
        """
        event = ModelLogged(
            model_id=model_id or new_model_id(),
            name=check_model_name(name),
            status=LoggedModelStatus.PENDING,
            model_type=model_type,
            step=step,
            params=dict(params or {}),
            tags=dict(tags or {}),
            cell=self._cell_index,
        )
        self._append(event)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            self._add_file(file.relative_to(folder).as_posix(), functools.partial(shutil.copyfile, file), event.model_id)
        self._append(msgspec.structs.replace(event, status=LoggedModelStatus.READY, ts=0))
        return event.model_id


def _as_text(path: Any) -> str:
    """Return a path among the artifacts, which may be given as a `Path`; what is no path stays, and is refused later."""
    text: str = path.as_posix() if isinstance(path, PurePath) else path
    return text


def _prefix(folder: Any) -> str:
    """Return what goes before the names of files in a folder among the artifacts."""
    if not folder:
        return ""
    text = _as_text(folder)
    check_artifact_path(text.strip("/") if isinstance(text, str) else text)
    return f"{text.strip('/')}/"
