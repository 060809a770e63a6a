"""Finds what is ours on Compute Engine, and removes it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from mlops_nb.clouds.base import CloudError, Found, NoCredentials
from mlops_nb.clouds.gcp.bodies import PREFIX, described_tags, name_of
from mlops_nb.clouds.gcp.errors import NotThere
from mlops_nb.clouds.gcp.machines import disk_of, machine_of, path_of, rule_of
from mlops_nb.clouds.gcp.rest import Compute, last
from mlops_nb.core.runners import TAG_INSTALLATION, Resource

_log = logging.getLogger(__name__)
DESTROY_SECONDS = 180.0
"""How long one call waits for what it removes."""
_ORDER = ("machine", "disk", "group")
_COLLECTIONS = {"machine": "instances", "disk": "disks", "group": "firewalls"}


def find(compute: Compute, installation: str, regions: Collection[str]) -> Found:
    """Return all that carries an installation's tag, and what could not be looked at."""
    found: list[Resource] = []
    unseen: dict[str, str] = {}
    readers: Mapping[str, Callable[[str, Mapping[str, Any]], Resource]] = {
        "instances": lambda project, listed: machine_of(project, listed).resource,
        "disks": disk_of,
    }
    wish = f'labels.{TAG_INSTALLATION} = "{installation}"'
    for collection, reader in readers.items():
        what = f"Listing the {collection} of {compute.project}"
        try:
            for page in compute.pages(f"aggregated/{collection}", what, filter=wish):
                for place, why in _not_seen(page):
                    if _is_within(place, regions):
                        unseen[f"{place} ({collection})"] = why
                for scope in (page.get("items") or {}).values():
                    found += [reader(compute.project, listed) for listed in scope.get(collection) or []]
        except NoCredentials:
            raise
        except CloudError as error:  # the rest shall be looked at all the same, and this not be taken for empty
            unseen[f"{compute.project} ({collection})"] = str(error)
    try:
        rules = _rules(compute)
        found += [rule_of(compute.project, listed) for listed in rules]
    except NoCredentials:
        raise
    except CloudError as error:
        unseen[f"{compute.project} (firewalls)"] = str(error)
    ours = [one for one in found if one.installation == installation and _is_within(one.region, regions)]
    return Found(resources=ours, unseen=unseen, clock=compute.clock)


def destroy(compute: Compute, resources: Sequence[Resource], installation: str, *, seconds: float = DESTROY_SECONDS) -> Sequence[Resource]:
    """Remove what is ours of these, machines first, and return what is still there."""
    until = time.monotonic() + seconds
    errors: list[CloudError] = []
    going: list[tuple[Resource, dict[str, Any]]] = []
    left: list[Resource] = []
    for kind in _ORDER:
        if kind == "group" and any(one.kind == "machine" for one, _ in going):
            left_machines = _wait(compute, going, until)
            left, going = left + left_machines, []
        for one in _whole([one for one in resources if one.kind == kind], compute.project):
            if left and kind == "group":  # its machine is still there, and would be open without it
                left.append(one)
                continue
            try:
                if operation := _remove(compute, one, installation):
                    going.append((one, operation))
            except NoCredentials:
                raise
            except CloudError as error:  # one that cannot be removed shall not keep the others
                _log.warning("'%s' is still there: %s", last(one.id), error)
                errors.append(error)
                left.append(one)
    left += _wait(compute, going, until)
    if errors and len(errors) == len(resources):
        raise errors[0]
    return left


def _whole(resources: Iterable[Resource], project: str) -> list[Resource]:
    """Return resources with the path that they are asked for by: what was only noted as possible may have its name alone."""
    whole = []
    for one in resources:
        name = one.id or name_of(one.runner_id)
        path = name if name.startswith("projects/") else path_of(project, one.region or "global", _COLLECTIONS[one.kind], name)
        whole.append(Resource(kind=one.kind, id=path, region=one.region, tags=one.tags, created=one.created, state=one.state))
    return whole


def _remove(compute: Compute, one: Resource, installation: str) -> dict[str, Any] | None:
    """Begin to remove a resource; None: it is gone, or not ours."""
    what = f"Removing '{last(one.id)}'"
    try:
        listed = compute.call("GET", one.id, what)
        if one.kind == "group":
            tags: Mapping[str, str] = described_tags(listed.get("description"))
        else:
            tags = listed.get("labels") or {}
        if tags.get(TAG_INSTALLATION) != installation:
            return None
        return compute.call("DELETE", one.id, what)
    except NotThere:
        return None


def _wait(compute: Compute, going: Sequence[tuple[Resource, dict[str, Any]]], until: float) -> list[Resource]:
    """Wait for removals, and return what was not removed in time, or refused to go."""
    left = []
    for one, operation in going:
        try:
            if not compute.finish(operation, f"Removing '{last(one.id)}'", seconds=max(0.0, until - time.monotonic())):
                left.append(one)
        except NotThere:
            continue
        except NoCredentials:
            raise
        except CloudError as error:  # such as a disk that a machine still holds: the next call has it
            _log.info("'%s' is still there: %s", last(one.id), error)
            left.append(one)
    return left


def _rules(compute: Compute) -> list[dict[str, Any]]:
    what = f"Listing the firewall rules of {compute.project}"
    pages = compute.pages("global/firewalls", what)  # rules have no labels to ask for
    return [rule for page in pages for rule in page.get("items") or [] if str(rule.get("name", "")).startswith(PREFIX)]


def _not_seen(page: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return places that a page of an aggregated list says nothing of, and why."""
    unseen = [(last(place), "it did not answer") for place in page.get("unreachables") or []]
    for place, scope in (page.get("items") or {}).items():
        warning = scope.get("warning") or {}
        if warning.get("code") not in (None, "NO_RESULTS_ON_PAGE"):
            unseen.append((last(place), str(warning.get("message") or warning["code"])))
    return unseen


def _is_within(place: str, regions: Collection[str]) -> bool:
    return not regions or place in ("global", "") or any(place == region or place.startswith(f"{region}-") for region in regions)
