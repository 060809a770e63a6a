"""What MLflow's clients ask of the server itself."""

from __future__ import annotations

from mlops_nb.api.mlflow.wire import Answer
from mlops_nb.api.operation import AgentScope, Context, Nothing, Permission, operation

# The MLflow release whose API this is. Clients compare it with 3.4 before they send spans.
MLFLOW_VERSION = "3.17.2"


class ServerInfo(Answer, kw_only=True, omit_defaults=False):
    """What the server can do beyond the basics."""

    store_type: str = "SqlStore"
    workspaces_enabled: bool = False
    trace_archival_enabled: bool = False
    multipart_uploads_enabled: bool = False
    multipart_downloads_enabled: bool = False
    presigned_upload_run_id_supported: bool = False
    presigned_upload_model_id_supported: bool = False


@operation("mlflow.health", "GET", "/health", permission=Permission.READ)
def health(context: Context, request: Nothing) -> str:
    """Say that the server answers."""
    return "OK"


@operation("mlflow.version", "GET", "/version", permission=Permission.READ, agent=AgentScope.ANY)
def version(context: Context, request: Nothing) -> str:
    """Return the version of MLflow whose API this is."""
    return MLFLOW_VERSION


@operation(
    "mlflow.serverInfo",
    "GET",
    ("/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"),
    permission=Permission.READ,
    agent=AgentScope.ANY,
)
def server_info(context: Context, request: Nothing) -> ServerInfo:
    """Return what the server can do."""
    direct = context.store.files.has_direct_transfer
    return ServerInfo(
        multipart_uploads_enabled=direct,
        multipart_downloads_enabled=direct,
        presigned_upload_run_id_supported=direct,
        presigned_upload_model_id_supported=direct,
    )


OPERATIONS = (health, version, server_info)
