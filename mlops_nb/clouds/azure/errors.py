"""What Azure refuses, in our words: which limit, which permission, what to try."""

from __future__ import annotations

import re
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

LOG_IN = "Run 'az login', or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET."
_CAPACITY = {
    "SkuNotAvailable",
    "AllocationFailed",
    "ZonalAllocationFailed",
    "OverconstrainedAllocationRequest",
    "OverconstrainedZonalAllocationRequest",
    "SpotPriceTooLow",
    "NotAvailableForSubscription",
}
_QUOTA = {"QuotaExceeded", "SubscriptionIsOverQuotaForSku", "PublicIPCountLimitReached", "ResourceCountLimitReached", "SpotQuotaExceeded"}
_LOGIN = {"InvalidAuthenticationToken", "InvalidAuthenticationTokenTenant", "ExpiredAuthenticationToken", "AuthenticationFailed"}
_FORBIDDEN = {
    "AuthorizationFailed",
    "LinkedAuthorizationFailed",
    "RequestDisallowedByPolicy",
    "DisallowedOperation",
    "ReadOnlyDisabledSubscription",
}
_LATER = {
    "InternalServerError",
    "ServerTimeout",
    "RetryableError",
    "ServiceUnavailable",
    "OperationPreempted",
    "AnotherOperationInProgress",
}
_ACTION = re.compile(r"perform action '([^']+)'")
_FAMILY = re.compile(r"approved (.+?) quota", re.IGNORECASE)
_NESTED = {"DeploymentFailed", "ResourceDeploymentFailure", "MultipleErrorsOccurred", "Conflict", "BadRequest", ""}


class NotThere(WishRefused):
    """What was asked for, or named in what was asked for, is not there."""


class BeingDeleted(CloudUnreachable):
    """Something of this name is on its way out; it can be made again when it is gone."""


def translated(error: Exception, what: str) -> CloudError:
    """Return an error of Azure's library as ours. `what` says what was tried, for people."""
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError, ServiceResponseError

    if isinstance(error, ClientAuthenticationError) and not getattr(error, "error", None):
        return NoCredentials(f"{what}: Azure accepts no credentials of this machine.", hint=LOG_IN, provider_code="Authentication")
    if isinstance(error, ServiceRequestError | ServiceResponseError) or not isinstance(error, HttpResponseError):
        return CloudUnreachable(f"{what}: Azure gives no answer that helps.", hint="Look at your network, or try again later.")
    status, code, text = error.status_code or 0, *_innermost(error)
    tried = f"{what}: Azure says: {text}"
    if code in _LOGIN or status == 401:
        return NoCredentials(tried, hint=LOG_IN, provider_code=code or "401")
    if status == 429 or code in ("TooManyRequests", "OperationNotAllowed429"):
        return CloudThrottled(tried, hint="Wait a minute and try again.", provider_code=code or "429")
    if code in _QUOTA or (code == "OperationNotAllowed" and "quota" in text.lower()):
        return _quota(tried, text, code)
    if code in _CAPACITY:
        hint = "Another zone, type or region may have it: --zones, --types, --cloud-region."
        return NoCapacity(tried, hint=hint, provider_code=code)
    if code in _FORBIDDEN or status == 403:
        return _forbidden(tried, text, code)
    if code in ("ResourceGroupBeingDeleted", "ResourceBeingDeleted"):
        return BeingDeleted(tried, hint="Try again in a few minutes.", provider_code=code)
    if code in ("SubscriptionNotFound", "InvalidSubscriptionId"):
        return NoCredentials(tried, hint="Set AZURE_SUBSCRIPTION_ID to the id of a subscription of yours.", provider_code=code)
    if status == 404:
        return NotThere(tried, hint="Look at the image, network, identity and region that you named.", provider_code=code or "NotFound")
    if code in ("MissingSubscriptionRegistration", "NoRegisteredProviderFound"):
        hint = "Register it: az provider register --namespace Microsoft.Compute (and .Network, .DevTestLab)."
        return PermissionMissing(tried, hint=hint, provider_code=code, permission="Microsoft.Resources/subscriptions/providers/register")
    if code in ("MarketplacePurchaseEligibilityFailed", "ResourcePurchaseValidationFailed"):
        return WishRefused(tried, hint="Accept the terms of the image first: az vm image terms accept --urn URN", provider_code=code)
    if code in _LATER or status >= 500 or (status < 400 and not code):
        return CloudUnreachable(tried, hint="Try again later.", provider_code=code or str(status))
    return WishRefused(tried, hint="Look at the type, image, region and network that you named.", provider_code=code or str(status))


def is_passing(error: CloudError) -> bool:
    """Say whether the same call may go well if it is made again."""
    return isinstance(error, CloudUnreachable | CloudThrottled) and not isinstance(error, BeingDeleted)


def _innermost(error: Any) -> tuple[str, str]:
    """Return code and text of an error; where it only says that something inside failed, of that."""
    inner = error.error
    if inner is None:
        return "", _text(f"status {error.status_code}" if error.status_code else "the answer cannot be read")
    for _ in range(5):
        details = [one for one in inner.details or [] if getattr(one, "code", None)]
        if not details or (inner.code or "") not in _NESTED:
            break
        inner = details[0]
    return str(inner.code or ""), _text(inner.message or inner.code or "")


def _forbidden(tried: str, text: str, code: str) -> PermissionMissing:
    found = _ACTION.search(text)
    if code == "RequestDisallowedByPolicy":
        hint = "A policy of your organisation forbids it: ask who set it, or name a network and tags that it allows."
    else:
        hint = "Give the account the role 'Contributor' on the subscription."
    return PermissionMissing(tried, hint=hint, provider_code=code or "403", permission=found[1] if found else "")


def _quota(tried: str, text: str, code: str) -> QuotaExceeded:
    found = _FAMILY.search(text)
    quota = found[1] if found else code
    hint = f"Ask for more of '{quota}' under Subscriptions > Usage + quotas in the portal, or try another type or region."
    return QuotaExceeded(tried, hint=hint, provider_code=code, quota=quota)


def _text(message: Any) -> str:
    return " ".join(str(message).split())[:600].rstrip(".") + "."
