"""Announcements of clouds that they take a machine back, read from the machine's own metadata service."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_nb.core.runners import CloudName
from mlops_nb.runners.machine.notices.base import Notice, Notices

__all__ = ["Notice", "Notices", "notices_of"]


def notices_of(cloud: CloudName) -> Sequence[Notices]:
    """Return where this cloud announces things; none of those whose machines hear it by a signal (Kubernetes, ssh, local)."""
    if cloud == "aws":
        from mlops_nb.runners.machine.notices.aws import AwsNotices

        return [AwsNotices()]
    if cloud == "gcp":
        from mlops_nb.runners.machine.notices.gcp import GcpNotices

        return [GcpNotices()]
    if cloud == "azure":
        from mlops_nb.runners.machine.notices.azure import AzureNotices

        return [AzureNotices()]
    return []
