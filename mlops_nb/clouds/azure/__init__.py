"""Azure: virtual machines, each in a resource group of its own, over azure-mgmt."""

from __future__ import annotations

from mlops_nb.clouds.azure.cloud import AzureCloud

__all__ = ["AzureCloud"]
