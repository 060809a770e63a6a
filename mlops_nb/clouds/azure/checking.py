"""What the doctor looks at on Azure: credentials, limits and what has to be registered. It changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlops_nb.clouds.azure.arm import Arm
from mlops_nb.clouds.base import CloudError, Finding, NoCredentials
from mlops_nb.clouds.sizes import region_of

_PROVIDERS = {"Microsoft.Compute": True, "Microsoft.Network": True, "Microsoft.DevTestLab": False}
"""Which have to be registered; without the last, Azure itself does not end a machine at its hard stop."""


def check(arm: Arm) -> Sequence[Finding]:
    """Return how things are, in the order in which they would fail."""
    try:
        arm.ask("Looking at the subscription", lambda: next(iter(arm.resources.resource_groups.list(top=1)), None))
    except CloudError as error:
        what = "credentials" if isinstance(error, NoCredentials) else "subscription"
        return [Finding(what=what, ok=False, text=error.message, hint=error.hint or "")]
    found = [Finding(what="subscription", ok=True, text=f"{arm.subscription} answers")]
    for name, needed in _PROVIDERS.items():
        found.append(_registered(arm, name, needed))
    region = region_of("azure", "")
    try:
        usages: list[Any] = arm.ask(f"Reading the limits of {region}", lambda: list(arm.compute.usage.list(region)))
    except CloudError as error:
        return [*found, Finding(what="limits", ok=False, text=error.message, hint=error.hint or "")]
    for usage in usages:
        name = str(usage.name.value)
        if name in ("cores", "lowPriorityCores", "standardDSv5Family", "standardNCASv3_T4Family", "StandardNCADSA100v4Family"):
            full = usage.current_value >= usage.limit
            text = f"{usage.name.localized_value or name}: {usage.current_value} of {usage.limit} are used in {region}"
            hint = "Ask for more under Subscriptions > Usage + quotas, if you want such machines." if full else ""
            found.append(Finding(what="limits", ok=not full, text=text, hint=hint))
    return found


def _registered(arm: Arm, name: str, needed: bool) -> Finding:
    try:
        state = str(arm.ask(f"Looking at {name}", lambda: arm.resources.providers.get(name)).registration_state)
    except CloudError as error:
        return Finding(what="provider", ok=False, text=error.message, hint=error.hint or "")
    if state == "Registered":
        return Finding(what="provider", ok=True, text=f"{name} is registered")
    why = "machines cannot be made" if needed else "Azure itself will not end machines at their hard stop"
    return Finding(what="provider", ok=False, text=f"{name} is {state}: {why}", hint=f"Run: az provider register --namespace {name}")
