"""To whom files belong: a run, a logged model or a trace, and the URI under which clients know them."""

from __future__ import annotations

from enum import StrEnum

from mlops_nb.core.records import Record, Run

PROXY_SCHEME = "mlflow-artifacts"
FOLDER = "artifacts"


class OwnerKind(StrEnum):
    """What owns files. The value is the folder that MLflow's clients put between the experiment and the owner."""

    RUN = ""
    MODEL = "models"
    TRACE = "traces"


class ArtifactOwner(Record, frozen=True, kw_only=True):
    """An owner of files that is known to exist. `uri` is the root of its files, as its record tells it to clients."""

    kind: OwnerKind
    experiment_id: str
    owner_id: str
    uri: str


def artifact_uri(location: str, kind: OwnerKind, owner_id: str) -> str:
    """Return the root of an owner's files below the artifact location of its experiment."""
    return "/".join(part for part in (location.rstrip("/"), kind.value, owner_id, FOLDER) if part)


def owner_of_run(run: Run) -> ArtifactOwner:
    """Return a run as an owner of files."""
    return ArtifactOwner(kind=OwnerKind.RUN, experiment_id=run.experiment_id, owner_id=run.run_id, uri=run.artifact_uri)
