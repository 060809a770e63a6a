"""Where the files of runs, models and traces are kept: a local folder or an object store, behind one contract."""

from mlops_nb.store.artifacts.base import ArtifactStore
from mlops_nb.store.artifacts.local import LocalArtifacts
from mlops_nb.store.artifacts.open import open_artifacts
from mlops_nb.store.artifacts.paths import check_artifact_path, media_type_of

__all__ = ["ArtifactStore", "LocalArtifacts", "check_artifact_path", "media_type_of", "open_artifacts"]
