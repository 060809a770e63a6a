"""The write path of our own clients: events, signs of life, leases."""

from __future__ import annotations

from mlops_nb.api.operation import AgentScope, Context, Permission, operation
from mlops_nb.core.wire import Done, EventsAnswer, EventsRequest, LeasesRequest, RunIds
from mlops_nb.store.base import LEASE_SECONDS


@operation("runs.ingest", "POST", "/api/v1/runs/{run_id}/events", permission=Permission.WRITE, agent=AgentScope.RUN)
def ingest(context: Context, request: EventsRequest) -> EventsAnswer:
    """Apply events of one source in order, each exactly once however often it is sent."""
    return EventsAnswer(applied=context.store.ingest(request.run_id, request.source, request.events))


@operation("runs.heartbeat", "POST", "/api/v1/heartbeats", permission=Permission.WRITE, agent=AgentScope.RUNS)
def heartbeat(context: Context, request: RunIds) -> Done:
    """Renew the leases of runs; ids that are not there are ignored."""
    context.store.heartbeat(request.run_ids)
    return Done()


@operation("runs.expireLeases", "POST", "/api/v1/leases/expire", permission=Permission.WRITE)
def expire_leases(context: Context, request: LeasesRequest) -> RunIds:
    """Mark the running runs whose lease was not renewed as LOST and return their ids."""
    seconds = LEASE_SECONDS if request.older_than_seconds is None else request.older_than_seconds
    return RunIds(run_ids=context.store.expire_leases(older_than_seconds=seconds))


OPERATIONS = (ingest, heartbeat, expire_leases)
