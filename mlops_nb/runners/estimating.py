"""What a launch would be and cost, before anything is asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mlops_nb.core.records import Record
from mlops_nb.core.runners import CloudName, MachineWish, Offer, RunnerRequest, check_runner_name
from mlops_nb.errors import InvalidInput, MlopsError, NotFound
from mlops_nb.runners.base import Plan
from mlops_nb.runners.context import Context


class Estimate(Record, frozen=True, kw_only=True):
    """What machines there are for a wish. `offers`: the cheapest first, those of unknown price last; `unseen` as in `Found`."""

    offers: Sequence[Offer] = ()
    unseen: Mapping[str, str] = {}


def plan(ctx: Context, request: RunnerRequest) -> Plan:
    """Return what a launch would do.

    Raises:
        InvalidInput: If the request contradicts itself, or none of the offers' cost can be limited.
        NotFound: If the cloud has nothing that fits.
        CloudError: If it does not answer, or refuses.
    """
    check_runner_name(request.name)
    if request.cloud == "ssh" and not request.host:
        raise InvalidInput("No host is named.", hint="Name it: --cloud ssh:HOST")
    offers = _limited(request, ctx.cloud(request.cloud).offers(request.machine))
    seconds = request.guards.seconds(offers[0].hourly)
    costs = [None if offer.hourly is None else offer.hourly * request.guards.seconds(offer.hourly) / 3600 for offer in offers]
    known = [cost for cost in costs if cost is not None]
    return Plan(
        request=request,
        offers=offers,
        seconds=seconds,
        hard_stop=ctx.clock.now() + seconds,
        most=max(known) if len(known) == len(costs) else None,
    )


def estimate(ctx: Context, wish: MachineWish, clouds: Collection[CloudName]) -> Estimate:
    """Return what the clouds have for a wish; a cloud that does not answer is named, and hides nothing of the others."""
    offers: list[Offer] = []
    unseen: dict[str, str] = {}
    for name in clouds:
        try:
            offers += ctx.cloud(name).offers(wish)
        except MlopsError as error:
            unseen[name] = str(error)
    return Estimate(offers=sorted(offers, key=lambda offer: (offer.hourly is None, offer.hourly or 0.0)), unseen=unseen)


def _limited(request: RunnerRequest, offers: Sequence[Offer]) -> Sequence[Offer]:
    """Return the offers whose cost can be limited as wished."""
    usable: list[Offer] = []
    refusal: InvalidInput | None = None
    for offer in offers:
        try:
            request.guards.seconds(offer.hourly)
        except InvalidInput as error:
            refusal = error
        else:
            usable.append(offer)
    if usable:
        return usable
    raise refusal or NotFound(f"{request.cloud} has no machine that fits.", hint="Ask for less, or another region: --cloud-region")
