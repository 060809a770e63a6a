"""What Compute Engine refuses, in our words: which limit, which permission, what to try."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlops_nb.clouds.base import (
    CloudError,
    CloudThrottled,
    CloudUnreachable,
    NoCapacity,
    NoCredentials,
    PermissionMissing,
    QuotaExceeded,
    WishRefused,
)

_CAPACITY = re.compile(r"(?:^|_)(?:RESOURCE_POOL_EXHAUSTED|STOCKOUT)", re.IGNORECASE)
_PERMISSION = re.compile(r"Required '([\w.]+)' permission")
_QUOTA = re.compile(r"Quota '?([\w-]+)'? exceeded", re.IGNORECASE)
_ELSEWHERE = "Another zone, type or region may have it: --zones, --types, --cloud-region."


class AlreadyThere(CloudError):
    """Something of this name is there already."""


class NotThere(WishRefused):
    """What was asked for, or named in what was asked for, is not there."""


def of_answer(status: int, body: Any, what: str) -> CloudError:
    """Return the error of an HTTP answer. `what` says what was tried, for people."""
    error = body.get("error") if isinstance(body, Mapping) else None
    error = error if isinstance(error, Mapping) else {}
    details = [detail for detail in error.get("errors") or [] if isinstance(detail, Mapping)]
    reason = str(details[0].get("reason", "")) if details else ""
    text = _text(error.get("message") or (details[0].get("message") if details else "") or f"status {status}")
    tried = f"{what}: Google Cloud says: {text}"
    if status == 401:
        return NoCredentials(tried, hint=LOG_IN, provider_code=reason or "401")
    if is_throttled(status, body):
        return CloudThrottled(tried, hint="Wait a minute and try again.", provider_code=reason or "429")
    if reason == "quotaExceeded" or "quota" in reason.lower():
        return _quota(text, tried, reason)
    if status == 403:
        return _forbidden(text, tried, reason)
    if status == 404:
        return NotThere(tried, hint="Look at the project, region, network and image that you named.", provider_code=reason or "notFound")
    if status == 409:
        return AlreadyThere(tried, hint="Look at what has this name already.", provider_code=reason or "conflict")
    if status >= 500:
        return CloudUnreachable(tried, hint="Try again later.", provider_code=reason or str(status))
    if _CAPACITY.search(reason):
        return NoCapacity(tried, hint=_ELSEWHERE, provider_code=reason)
    return WishRefused(tried, hint="Look at the type, image, region and network that you named.", provider_code=reason or str(status))


def of_operation(operation: Mapping[str, Any], what: str) -> CloudError | None:
    """Return the error that an operation ended with; None: it went well."""
    error = operation.get("error")
    errors = error.get("errors") if isinstance(error, Mapping) else None
    if not errors:
        return None
    first = errors[0] if isinstance(errors[0], Mapping) else {}
    code, text = str(first.get("code", "")), _text(first.get("message", ""))
    tried = f"{what}: Google Cloud says: {text or code}"
    if _CAPACITY.search(code):
        return NoCapacity(tried, hint=_ELSEWHERE, provider_code=code)
    if code in ("QUOTA_EXCEEDED", "LIMIT_EXCEEDED"):
        return _quota(text, tried, code, first)
    if code == "RESOURCE_ALREADY_EXISTS":
        return AlreadyThere(tried, hint="Look at what has this name already.", provider_code=code)
    if code in ("RESOURCE_NOT_FOUND", "RESOURCE_404"):
        return NotThere(tried, hint="Look at the image, network and service account that you named.", provider_code=code)
    if code == "PERMISSIONS_ERROR":
        return _forbidden(text, tried, code)
    if code in ("INTERNAL_ERROR", "BACKEND_ERROR", "RESOURCE_NOT_READY"):
        return CloudUnreachable(tried, hint="Try again later.", provider_code=code)
    return WishRefused(tried, hint="Look at the type, image, region and network that you named.", provider_code=code)


def is_throttled(status: int, body: Any) -> bool:
    """Say whether an answer means that there were too many calls; Compute Engine says it with 403, too."""
    if status == 429:
        return True
    error = body.get("error") if isinstance(body, Mapping) else None
    details = error.get("errors") if isinstance(error, Mapping) else None
    reasons = {str(detail.get("reason", "")) for detail in details or [] if isinstance(detail, Mapping)}
    return status == 403 and bool(reasons & {"rateLimitExceeded", "userRateLimitExceeded"})


LOG_IN = "Run 'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS to the path of a key."


def _forbidden(text: str, tried: str, code: str) -> CloudError:
    if "has not been used in project" in text or code in ("accessNotConfigured", "SERVICE_DISABLED"):
        hint = "Switch the Compute Engine API on: gcloud services enable compute.googleapis.com"
        return PermissionMissing(tried, hint=hint, provider_code=code or "accessNotConfigured", permission="serviceusage.services.enable")
    if "billing" in text.lower():
        return PermissionMissing(tried, hint="Connect the project with a billing account.", provider_code=code)
    found = _PERMISSION.search(text)
    hint = "Give the account the role 'Compute Instance Admin (v1)' (roles/compute.instanceAdmin.v1)"
    if found and ".firewalls." in found[1]:
        hint = "Give the account 'Compute Security Admin' (roles/compute.securityAdmin), or name network tags that your own rules close"
        hint += ": --cloud-aws-security-group TAG"
    elif found and "serviceAccounts.actAs" in found[1]:
        hint = "Give the account 'Service Account User' (roles/iam.serviceAccountUser) on the one of --cloud-permission-set"
    return PermissionMissing(tried, hint=f"{hint}.", provider_code=code or "forbidden", permission=found[1] if found else "")


def _quota(text: str, tried: str, code: str, error: Mapping[str, Any] | None = None) -> QuotaExceeded:
    name = ""
    for detail in (error or {}).get("errorDetails") or []:
        info = detail.get("quotaInfo") if isinstance(detail, Mapping) else None
        if isinstance(info, Mapping):
            name = str(info.get("limitName") or info.get("metricName") or "")
            break
    found = _QUOTA.search(text)
    quota = found[1] if found else name
    hint = f"Ask for more of {quota or 'it'}: IAM & Admin > Quotas in the console; or try another region: --cloud-region."
    if quota.startswith("GPUS_ALL_REGIONS"):
        hint = "It holds for all regions, and new projects have 0 of it: ask for more under IAM & Admin > Quotas."
    return QuotaExceeded(tried, hint=hint, provider_code=code, quota=quota)


def _text(message: Any) -> str:
    """Return a provider's message on one line, shortened; it is shown as plain text alone."""
    return " ".join(str(message).split())[:600].rstrip(".") + "."
