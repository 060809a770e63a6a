"""What every rented cloud must do, whatever fails: one contract, inherited by the tests of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import pytest

from mlops_nb.clouds.base import Cloud, CloudError, MachineOrder, NoCapacity, QuotaExceeded, WishRefused
from mlops_nb.core.runners import TAG_EXPIRES, TAG_INSTALLATION, TAG_NAME, TAG_RUNNER, MachineWish, Offer, Resource
from tests.clouds.loopback import FAULTS, Call, Fault, FaultKind

INSTALLATION = "0a" * 16
TOKEN = "0123456789abcdef0123456789abcdef"
SECRET_WORD = "one-time-ticket-of-the-user-data"


class World(Protocol):
    """What the contract looks at and arranges in a loopback cloud."""

    calls: list[Call]
    faults: list[Fault]
    problems: list[str]
    page: int

    def machines(self) -> Iterator[dict[str, Any]]: ...
    def count(self) -> int: ...
    def add_foreign(self, number: int, labels: Mapping[str, str] | None = None) -> None: ...
    def changing(self) -> Iterator[Call]: ...
    def run_out(self, offer: Offer) -> None: ...
    def exceed_quota(self, offer: Offer) -> None: ...
    def hide(self) -> None: ...
    def snapshot_of_foreign(self) -> object: ...


def an_order(token: str = TOKEN, installation: str = INSTALLATION, **more: Any) -> MachineOrder:
    """Return an order as the life of runners gives one."""
    tags = {TAG_RUNNER: token, TAG_INSTALLATION: installation, TAG_EXPIRES: "1800000000", TAG_NAME: "gpu-1", **more.pop("tags", {})}
    given = {"user_data": f"#!/bin/sh\necho {SECRET_WORD}\n", "max_seconds": 7200.0, **more}
    return MachineOrder(token=token, name="gpu-1", tags=tags, **given)


class Notes:
    """Writes down what a create says, and dies at the wish of a test."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.resources: list[Resource] = []
        self._dies_at = dies_at

    def __call__(self, resource: Resource) -> None:
        if self._dies_at == len(self.resources):
            raise KeyboardInterrupt
        self.resources.append(resource)


def rid_of(cloud: Cloud, resources: Sequence[Resource]) -> Sequence[Resource]:
    """Destroy resources as the life of runners does: again, until nothing is left."""
    for _ in range(10):
        resources = cloud.destroy(resources, INSTALLATION)
        if not resources:
            break
    return resources


class FaultContract:
    """What fails at any call, once or for long: `stride` says at each how manieth (all kinds of faults begin at another)."""

    stride = 1

    @pytest.mark.parametrize("kind", FAULTS)
    def test_whatever_fails_while_creating_one_machine_is_there_or_none(self, world: World, cloud: Cloud, kind: FaultKind) -> None:
        offer = cloud.offers(MachineWish())[0]
        start = len(world.calls)
        notes = Notes()
        cloud.create(an_order(), offer, notes)
        steps = len(world.calls) - start
        rid_of(cloud, notes.resources)
        injected = 0
        for step in range(FAULTS.index(kind) % self.stride, steps, self.stride):
            for times in (1, 60):
                begin = len(world.calls)
                world.faults[:] = [Fault(kind, lambda call, at=begin + step: call.index >= at, times)]  # type: ignore[misc]
                notes = Notes()
                try:
                    cloud.create(an_order(), offer, notes)
                    assert len(list(world.machines())) == 1
                except CloudError as error:
                    assert times > 1, f"{kind} at step {step} once: {error}"
                    assert SECRET_WORD not in str(error)
                injected += world.faults[0].met
                assert len(list(world.machines())) <= 1
                world.faults.clear()
                assert rid_of(cloud, [*notes.resources, *cloud.find(INSTALLATION).resources]) == []
                assert world.count() == 0, f"{kind} × {times} at step {step}"
        print(f"{type(self).__name__}: {kind}: {injected} faults on the way of {steps} calls")
        assert injected >= steps // self.stride
        assert world.problems == []

    @pytest.mark.parametrize("kind", FAULTS)
    def test_whatever_fails_while_destroying_another_pass_ends_it(self, world: World, cloud: Cloud, kind: FaultKind) -> None:
        offer = cloud.offers(MachineWish())[0]
        notes = Notes()
        cloud.create(an_order(), offer, notes)
        begin = len(world.calls)
        rid_of(cloud, notes.resources)
        steps = len(world.calls) - begin
        for step in range(FAULTS.index(kind) % self.stride, steps, self.stride):
            for times in (1, 60):
                notes = Notes()
                cloud.create(an_order(), offer, notes)
                begin = len(world.calls)
                world.faults[:] = [Fault(kind, lambda call, at=begin + step: call.index >= at, times)]  # type: ignore[misc]
                try:
                    left = cloud.destroy(notes.resources, INSTALLATION)
                    assert left or world.count() == 0
                except CloudError:
                    assert times > 1, f"{kind} at step {step} once"
                world.faults.clear()
                assert rid_of(cloud, notes.resources) == []
                assert world.count() == 0


class RentingContract(FaultContract):
    """Inherited by the tests of a cloud, which bring `world` and `cloud`."""

    def test_a_machine_comes_up_is_found_and_goes_with_all_that_it_had(self, world: World, cloud: Cloud) -> None:
        notes = Notes()
        offer = cloud.offers(MachineWish())[0]
        machine = cloud.create(an_order(), offer, notes)
        assert machine.phase in ("starting", "running")
        assert cloud.describe(machine.resource).phase == "running"
        assert machine.resource.tags[TAG_RUNNER] == TOKEN
        assert machine.resource.id in [one.id for one in notes.resources]
        found = cloud.find(INSTALLATION)
        assert machine.resource.id in [one.id for one in found.resources] and not found.unseen
        assert all(one.runner_id == TOKEN and one.expires == 1800000000 for one in found.resources)
        assert cloud.find("ff" * 16).resources == []
        assert rid_of(cloud, found.resources) == []
        assert world.count() == 0 and cloud.describe(machine.resource).phase == "gone"
        assert cloud.find(INSTALLATION).resources == []
        assert world.problems == []

    def test_the_same_token_never_makes_two_machines(self, world: World, cloud: Cloud) -> None:
        offers = cloud.offers(MachineWish())
        first = cloud.create(an_order(), offers[0], Notes())
        second = cloud.create(an_order(), offers[-1], Notes())
        assert first.resource.id == second.resource.id
        assert len(list(world.machines())) == 1

    def test_what_a_create_may_have_made_was_noted_before_the_call_that_makes_it(self, world: World, cloud: Cloud) -> None:
        offer = cloud.offers(MachineWish())[0]
        known: list[int] = []
        cloud.create(an_order(), offer, lambda resource: known.append(len(list(world.changing()))))
        assert known[0] == 0, "a call that makes something came before the first note"
        noted_first = set(known)
        made = [number for number, call in enumerate(world.changing()) if call.method in ("POST", "PUT")]
        assert set(made) <= noted_first, f"calls {made} made something, notes came before {sorted(noted_first)}"

    def test_where_a_note_cannot_be_written_nothing_more_is_made(self, world: World, cloud: Cloud) -> None:
        offer = cloud.offers(MachineWish())[0]
        notes = Notes()
        cloud.create(an_order(), offer, notes)
        rid_of(cloud, notes.resources)
        for dies_at in range(len(notes.resources)):
            cut = Notes(dies_at=dies_at)
            with pytest.raises(KeyboardInterrupt):
                cloud.create(an_order(), offer, cut)
            assert world.count() <= len({one.id for one in cut.resources}) + 1  # a machine brings its disk
            rid_of(cloud, cut.resources)
            assert world.count() == 0, f"cut off at note {dies_at}"

    def test_nothing_foreign_is_touched_among_a_thousand(self, world: World, cloud: Cloud) -> None:
        world.page = 120
        world.add_foreign(1000)
        before = world.snapshot_of_foreign()
        notes = Notes()
        cloud.create(an_order(), cloud.offers(MachineWish())[0], notes)
        found = cloud.find(INSTALLATION).resources
        assert found and all(one.runner_id == TOKEN for one in found)
        assert rid_of(cloud, [*found, *notes.resources]) == []
        assert world.snapshot_of_foreign() == before

    def test_what_belongs_to_another_installation_stays_even_where_it_is_named(self, world: World, cloud: Cloud) -> None:
        offer = cloud.offers(MachineWish())[0]
        notes = Notes()
        cloud.create(an_order(installation="ee" * 16), offer, notes)
        before = world.count()
        assert cloud.destroy(notes.resources, INSTALLATION) == []
        assert world.count() == before

    def test_where_there_is_no_room_it_is_said_and_nothing_is_left(self, world: World, cloud: Cloud) -> None:
        offer = cloud.offers(MachineWish())[0]
        world.run_out(offer)
        with pytest.raises(NoCapacity) as caught:
            cloud.create(an_order(), offer, Notes())
        assert caught.value.provider_code and "--zones" in str(caught.value)
        assert world.count() == 0

    def test_a_limit_that_is_used_up_is_named(self, world: World, cloud: Cloud) -> None:
        offer = cloud.offers(MachineWish())[0]
        world.exceed_quota(offer)
        with pytest.raises(QuotaExceeded) as caught:
            cloud.create(an_order(), offer, Notes())
        assert caught.value.quota and caught.value.quota in str(caught.value)
        assert world.count() == 0

    def test_after_one_offer_has_failed_the_next_one_works_with_the_same_token(self, world: World, cloud: Cloud) -> None:
        first, *others = cloud.offers(MachineWish())
        world.run_out(first)
        other = next(offer for offer in others if (offer.zone, offer.type) != (first.zone, first.type))
        with pytest.raises(NoCapacity):
            cloud.create(an_order(), first, Notes())
        assert cloud.create(an_order(), other, Notes()).phase in ("starting", "running")
        assert len(list(world.machines())) == 1

    def test_what_could_not_be_looked_at_is_said(self, world: World, cloud: Cloud) -> None:
        cloud.create(an_order(), cloud.offers(MachineWish())[0], Notes())
        world.hide()
        assert cloud.find(INSTALLATION).unseen

    def test_an_unknown_type_or_region_is_refused_before_anything_is_made(self, world: World, cloud: Cloud) -> None:
        for wish in (MachineWish(types=["no-such-type"]), MachineWish(region="mars-1"), MachineWish(types=["m+k80"])):
            with pytest.raises(WishRefused) as caught:
                cloud.offers(wish)
            assert caught.value.hint
        assert list(world.changing()) == []
