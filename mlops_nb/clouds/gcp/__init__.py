"""Google Cloud: machines of Compute Engine, over its REST API and google-auth."""

from __future__ import annotations

from mlops_nb.clouds.gcp.cloud import GcpCloud

__all__ = ["GcpCloud"]
