"""Files of reports with the tracking server: artifacts of one run for each repository, named by their content."""

from __future__ import annotations

import hashlib
import io
import logging
import mimetypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlencode, urlsplit

from mlops_nb import config
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import AlreadyExists, InvalidInput, NotSupported
from mlops_nb.forges.base import AssetFile
from mlops_nb.store.base import RunQuery
from mlops_nb.store.open import open_store

if TYPE_CHECKING:
    from mlops_nb.store.rest import RestStore

log = logging.getLogger("mlops_nb.posting")

SCHEME: Final = "mlflow-artifacts"
EXPERIMENT: Final = "CI reports"
FOLDER: Final = "images"
TAG: Final = "mlops.ci.repository"
_SIGNED_SECONDS = 7 * 24 * 3600


class TrackingHome:
    """The server that `MLOPS_NB_TRACKING_URI` or `MLFLOW_TRACKING_URI` names, asked with the token beside it.

    Where the server keeps its files in S3, addresses are signed for seven days. Else they are the server's own: who reads
    the report sees the images only if the forge, or its proxy of images, may read there without signing in.

    Args:
        url: `mlflow-artifacts:`, or `mlflow-artifacts:/EXPERIMENT` for another experiment than `CI reports`.
        repository: The page of the repository that the reports are of.

    Raises:
        InvalidInput: If no server is named, or the URL is another one.
    """

    def __init__(self, url: str, repository: str) -> None:
        parts = urlsplit(url)
        if parts.netloc or parts.query or parts.fragment:
            raise InvalidInput(
                f"'{SCHEME}://{parts.hostname or ''}' names a server.",
                hint=f"Name the server by MLOPS_NB_TRACKING_URI, and write {SCHEME}: or {SCHEME}:/EXPERIMENT.",
            )
        server = config.tracking_uri() or ""
        if not server.startswith(("http://", "https://")):
            raise InvalidInput(
                "There is no tracking server to publish at.", hint="Set MLOPS_NB_TRACKING_URI to its address, https://host/mlops."
            )
        self._server, self._repository = server, repository
        self._experiment = unquote(parts.path).strip("/") or EXPERIMENT
        self.words = f"the tracking server {urlsplit(server).hostname}"

    def publish(self, files: Sequence[AssetFile]) -> list[str]:
        """Put files there and return their addresses in order; what is there already is not sent again."""
        with self._store() as store:
            run_id = self._run(store)
            there = {one.path for one in store.list_artifacts(run_id, FOLDER)}
            return [self._put(store, run_id, file, there) for file in files]

    @contextmanager
    def _store(self) -> Iterator[RestStore]:
        from mlops_nb.store.rest import RestStore

        store = open_store(self._server, token=config.tracking_token())
        assert isinstance(store, RestStore)
        try:
            yield store
        finally:
            store.close()

    def _run(self, store: RestStore) -> str:
        """Return the repository's run; of two jobs that make one at once, each has its own, and both go on to be seen."""
        experiment = store.get_experiment_by_name(self._experiment)
        try:
            experiment_id = store.create_experiment(self._experiment) if experiment is None else experiment.experiment_id
        except AlreadyExists:
            found = store.get_experiment_by_name(self._experiment)
            if found is None:
                raise
            experiment_id = found.experiment_id
        for run in store.search_runs(RunQuery(experiment_ids=[experiment_id], order_by=["attributes.start_time ASC"])).items:
            if run.tags.get(TAG) == self._repository:
                return run.run_id
        made = store.create_run(experiment_id, name=self._repository.rpartition("/")[2], tags={TAG: self._repository})
        store.update_run(made.run_id, status=RunStatus.FINISHED)
        return made.run_id

    def _put(self, store: RestStore, run_id: str, file: AssetFile, there: set[str]) -> str:
        suffix = mimetypes.guess_extension(file.mime) or Path(file.name).suffix[:10]
        path = f"{FOLDER}/{hashlib.sha256(file.content).hexdigest()[:32]}{suffix}"
        if path not in there:
            store.write_artifact(run_id, path, io.BytesIO(file.content))
            there.add(path)
        try:
            sent = {"run_id": run_id, "path": path, "expiration": _SIGNED_SECONDS}
            return str(store.ask_mlflow("POST", "/artifacts/presigned-download-url", body=sent)["presigned_url"])
        except NotSupported:
            log.info("%s cannot sign addresses: the images show where it may be read without signing in.", self.words.capitalize())
            return f"{store.base_url}/get-artifact?{urlencode({'run_id': run_id, 'path': path})}"
