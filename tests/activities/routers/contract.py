"""What every router adapter promises, run against the real router.

A backend joins by a file `test_contract_<backend>.py`: a `Stand` that starts its router in front of two shops, a
fixture that gives it, and a class that inherits `RouterContract` and those of the smaller contracts that the router can
keep. Nothing in here knows any router.
"""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from datetime import timedelta
from typing import ClassVar

import httpx
import pytest
from temporalio.testing import ActivityEnvironment

from activities.ports import Router, RouteState, Write
from activities.traffic import TrafficActivities
from rollout.errors import (
    Misconfigured,
    NotRestored,
    RouteOwned,
    RouteRejected,
    RouterUnreachable,
    SluiceError,
    Superseded,
)
from rollout.messages import RestoreTraffic
from rollout.routes import EnvoyRoute, ForcedHeader, Route
from tests.fakes.connections import FakeConnections

OWNER = "rollout:prod/checkout"
HEADER = ForcedHeader()
PROVEN_WITHIN_S = 5.0
PLACE = EnvoyRoute(connection="edge-1", service="checkout")  # for messages only: the stand has its own


class Stand(ABC):
    """A running router in front of two shops.

    Attributes:
        url: where visitors come in.
        percents: what is asked for, in order; every one is proven.
        troubles: what can be wrong with the way to the router, and the error that must be raised then.
        header: with which a visitor chooses a version, if the router can split by one.
    """

    url: str
    header: ForcedHeader = HEADER
    percents: tuple[float, ...] = (0, 1, 5, 25, 50, 99, 100, 0.25, 0)
    troubles: ClassVar[Mapping[str, type[SluiceError]]]

    @abstractmethod
    def router(self, *, unknown_candidate: bool = False) -> Router:
        """The adapter for the route, with the forced header; or one whose candidate the router has never heard of."""

    @abstractmethod
    def other_router(self) -> Router:
        """The adapter for another service of the same router, with pools of its own or the same ones."""

    @abstractmethod
    def written(self) -> object:
        """Something that is equal as long as nobody writes the configuration, not even the same again."""

    @abstractmethod
    async def drift(self, percent: float) -> None:
        """Somebody else changes the split by hand, as people do with this router, and it takes effect."""

    @abstractmethod
    def trouble(self, name: str) -> AbstractAsyncContextManager[None]:
        """One of `troubles` lasts."""

    async def visit(self, visits: int, headers: dict[str, str] | None = None) -> list[str]:
        """The version that answers each of so many visits; every one must be answered."""
        async with httpx.AsyncClient(trust_env=False) as http:
            answers = [await http.get(self.url, headers=headers) for _ in range(visits)]
        assert {answer.status_code for answer in answers} == {200}
        return [answer.headers["X-Version"] for answer in answers]


class RefusingStand(Stand):
    """A router that checks a configuration before it uses it."""

    @abstractmethod
    async def spoil(self) -> None:
        """Change the operator's part of the configuration so that the router refuses it, whatever is written next."""


class StoppableStand(Stand):
    """A router that is a program of ours, and can be away."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the router."""

    @abstractmethod
    def start(self) -> None:
        """Start the same router again."""


class CountingStand(Stand):
    """A router that counts requests in flight."""

    @abstractmethod
    def slow(self) -> AbstractAsyncContextManager[None]:
        """Stable takes 0.6 s for every answer while this lasts."""


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again, for a few seconds."""
    async with asyncio.timeout(PROVEN_WITHIN_S):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


async def proven(router: Router, percent: float) -> RouteState:
    """Read until the router proves the percent."""
    seen: list[RouteState] = []

    async def shows_it() -> bool:
        seen.append(await router.read())
        return seen[-1].in_force == percent

    try:
        await until(shows_it)
    except TimeoutError:
        pytest.fail(f"{percent} % never came into force: {seen[-1]!r}")
    return seen[-1]


class Only(FakeConnections):
    """Connections whose every route is that of a stand."""

    def __init__(self, stand: Stand) -> None:
        super().__init__()
        self._stand = stand

    def router(self, route: Route) -> Router:
        assert route == PLACE
        return self._stand.router()


async def canaries(stand: Stand, visits: int, headers: dict[str, str] | None = None) -> int:
    """How many of so many visits the candidate answers."""
    return (await stand.visit(visits, headers)).count("canary")


class RouterContract:
    """Subclass it, mark the subclass with `server`, and give it a fixture `stand`."""

    async def test_a_route_that_nobody_touched_has_no_candidate_and_no_owner(self, stand: Stand) -> None:
        state = await proven(stand.router(), 0)  # it was put up a moment ago
        assert (state.percent, state.in_force, state.epoch, state.owner, state.forced) == (0, 0, 0, None, False)
        assert state.healthy == {"candidate": 1, "stable": 1}
        assert state.problem is None

    async def test_every_percent_comes_into_force_with_proof(self, stand: Stand) -> None:
        router = stand.router()
        for epoch, percent in enumerate(stand.percents, start=1):
            await router.write(Write(percent=percent, epoch=epoch, owner=OWNER))
            state = await proven(router, percent)
            assert (state.percent, state.epoch, state.owner) == (percent, epoch, OWNER)
            assert str(epoch) in state.proof

    @pytest.mark.parametrize("percent", [0, 25, 100])
    async def test_the_visitors_go_where_the_percent_says(self, stand: Stand, percent: float) -> None:
        router, visits, share = stand.router(), 400, percent / 100
        await router.write(Write(percent=percent, epoch=1, owner=OWNER))
        await proven(router, percent)
        sigma = math.sqrt(visits * share * (1 - share))
        assert abs(await canaries(stand, visits) - visits * share) <= 5 * sigma

    async def test_the_same_write_again_writes_nothing(self, stand: Stand) -> None:
        router, write = stand.router(), Write(percent=25, epoch=1, owner=OWNER)
        await router.write(write)
        before = stand.written()
        await router.write(write)
        await stand.router().write(write)
        assert stand.written() == before

    async def test_writes_at_the_same_time_leave_the_newest(self, stand: Stand) -> None:
        writes = [Write(percent=epoch, epoch=epoch, owner=OWNER) for epoch in range(1, 9)]
        done = await asyncio.gather(*(stand.router().write(each) for each in writes), return_exceptions=True)
        assert {type(each) for each in done} <= {type(None), Superseded}
        assert (await proven(stand.router(), 8)).epoch == 8

    async def test_a_late_write_is_fenced_off(self, stand: Stand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=7, owner=OWNER))
        before = stand.written()
        with pytest.raises(Superseded):
            await router.write(Write(percent=50, epoch=6, owner=OWNER))
        assert stand.written() == before

    async def test_a_route_that_another_owner_holds_is_left_alone(self, stand: Stand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        before = stand.written()
        with pytest.raises(RouteOwned, match=OWNER):
            await router.write(Write(percent=0, epoch=2, owner="rollout:prod/other"))
        assert stand.written() == before
        await router.write(Write(percent=0, epoch=2, owner=OWNER))
        await proven(router, 0)

    async def test_release_takes_mark_and_rules_off_and_keeps_percent_and_fence(self, stand: Stand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=3, owner=OWNER))
        await router.write(Write(percent=100, epoch=4, owner=OWNER, release=True))
        state = await proven(router, 100)
        assert (state.owner, state.forced, state.epoch) == (None, False, 4)
        with pytest.raises(Superseded):
            await router.write(Write(percent=5, epoch=3, owner=OWNER))
        await router.write(Write(percent=5, epoch=5, owner="rollout:prod/next"))
        assert (await proven(router, 5)).owner == "rollout:prod/next"

    async def test_a_pool_that_the_router_does_not_know_gets_nothing(self, stand: Stand) -> None:
        router, before = stand.router(unknown_candidate=True), stand.written()
        assert "candidate" not in (await router.read()).healthy
        with pytest.raises(Misconfigured, match="ghost"):
            await router.write(Write(percent=5, epoch=1, owner=OWNER))
        assert stand.written() == before

    async def test_the_way_back_works_although_the_candidate_is_gone(self, stand: Stand) -> None:
        router = stand.router(unknown_candidate=True)
        await router.write(Write(percent=0, epoch=1, owner=OWNER, release=True))
        await proven(router, 0)

    async def test_a_change_by_hand_is_noticed_and_put_right_by_the_next_write(self, stand: Stand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await proven(router, 5)
        await stand.drift(40)

        async def noticed() -> bool:
            state = await router.read()
            return state.percent == 40 or (state.percent == 5 and state.in_force is None and state.problem is not None)

        await until(noticed)
        await router.write(Write(percent=5, epoch=2, owner=OWNER))
        assert (await proven(router, 5)).epoch == 2

    @pytest.mark.parametrize("percent", [0, 1, 50, 100])
    async def test_every_state_can_be_brought_back_to_stable(self, stand: Stand, percent: float) -> None:
        router = stand.router()
        await router.write(Write(percent=percent, epoch=1, owner=OWNER))
        await proven(router, percent)
        await stand.drift(60)
        await router.write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        state = await proven(router, 0)
        assert (state.owner, state.forced, state.epoch) == (None, False, 2)
        assert await canaries(stand, 40) == 0

    async def test_two_services_move_at_once_and_leave_each_other_alone(self, stand: Stand) -> None:
        routers = (stand.router(), stand.other_router())
        for epoch, percents in enumerate(((5, 50), (25, 0), (50, 100), (0, 0)), start=1):
            writes = [Write(percent=each, epoch=epoch, owner=f"{OWNER}-{n}") for n, each in enumerate(percents)]
            await asyncio.gather(*(router.write(each) for router, each in zip(routers, writes, strict=True)))
            for router, each in zip(routers, writes, strict=True):
                assert (await proven(router, each.percent)).owner == each.owner

    async def test_what_is_wrong_with_the_way_there_has_the_right_name(self, stand: Stand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await proven(router, 5)
        for name, error in stand.troubles.items():
            before = stand.written()
            async with stand.trouble(name):
                with pytest.raises(error):
                    await router.write(Write(percent=75, epoch=2, owner=OWNER))
            assert stand.written() == before, name
        assert (await proven(router, 5)).epoch == 1

    async def test_a_way_back_that_met_trouble_ends_when_the_trouble_is_over(self, stand: Stand) -> None:
        hands = TrafficActivities(Only(stand))
        for epoch, name in enumerate(stand.troubles):
            await stand.router().write(Write(percent=50, epoch=3 * epoch + 1, owner=OWNER))
            await proven(stand.router(), 50)
            order = RestoreTraffic(
                routes=(PLACE,), epoch=3 * epoch + 2, owner=OWNER, prove_within=timedelta(seconds=PROVEN_WITHIN_S)
            )
            hasty = order.model_copy(update={"prove_within": timedelta(seconds=0.5)})
            async with stand.trouble(name):
                with suppress(NotRestored):  # some troubles do not keep the way back
                    await ActivityEnvironment().run(hands.restore_traffic, hasty)
            with suppress(NotRestored):  # what was in the way may be remembered for a moment
                await ActivityEnvironment().run(hands.restore_traffic, hasty)
            await ActivityEnvironment().run(hands.restore_traffic, order)
            assert await canaries(stand, 20) == 0, name


class ForcedHeaderContract:
    """A router that can split by header; needs a fixture `stand`."""

    @pytest.mark.parametrize("percent", [0, 100])
    async def test_the_forced_header_beats_every_percent(self, stand: Stand, percent: float) -> None:
        router = stand.router()
        await router.write(Write(percent=percent, epoch=1, owner=OWNER))
        assert (await proven(router, percent)).forced
        assert await canaries(stand, 5, {stand.header.name: stand.header.candidate}) == 5
        assert await canaries(stand, 5, {stand.header.name: stand.header.stable}) == 0

    async def test_without_the_forced_rules_the_header_means_nothing(self, stand: Stand) -> None:
        router = stand.router()
        await router.write(Write(percent=0, epoch=1, owner=OWNER))
        await router.write(Write(percent=0, epoch=2, owner=OWNER, header=False))
        assert not (await proven(router, 0)).forced
        assert await canaries(stand, 5, {stand.header.name: stand.header.candidate}) == 0


class RefusalContract:
    """A router that checks before it uses; needs a fixture `stand` that gives a `RefusingStand`."""

    async def test_a_refused_configuration_is_undone(self, stand: RefusingStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await stand.spoil()
        with pytest.raises(RouteRejected):
            await router.write(Write(percent=25, epoch=2, owner=OWNER))
        state = await router.read()
        assert (state.percent, state.epoch) == (5, 1)
        assert await canaries(stand, 5, {HEADER.name: HEADER.stable}) == 0


class RestartContract:
    """A router that can be away and come back; needs a fixture `stand` that gives a `StoppableStand`."""

    async def test_a_router_that_is_away_takes_no_raise_but_the_way_back(self, stand: StoppableStand) -> None:
        router = stand.router()
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        before = stand.written()
        stand.stop()
        try:
            with pytest.raises(RouterUnreachable):
                await router.read()
            with pytest.raises(RouterUnreachable):
                await router.in_flight("stable")
            with pytest.raises(RouterUnreachable):
                await router.write(Write(percent=75, epoch=2, owner=OWNER))
            assert stand.written() == before
            await router.write(Write(percent=0, epoch=2, owner=OWNER))
        finally:
            stand.start()
        assert (await proven(router, 0)).epoch == 2
        assert await canaries(stand, 20) == 0

    async def test_a_restart_of_the_router_keeps_the_percent(self, stand: StoppableStand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        stand.stop()
        stand.start()
        await proven(router, 100)
        assert await canaries(stand, 20) == 20


class InFlightContract:
    """A router that counts requests in flight; needs a fixture `stand` that gives a `CountingStand`."""

    async def test_requests_in_flight_are_counted(self, stand: CountingStand) -> None:
        router = stand.router()
        assert await router.in_flight("stable") == 0
        async with stand.slow():
            visitors = [asyncio.ensure_future(canaries(stand, 1)) for _ in range(3)]

            async def all_are_waiting() -> bool:
                return await router.in_flight("stable") == 3

            await until(all_are_waiting)
            assert await router.in_flight("candidate") == 0
            await asyncio.gather(*visitors)
        assert await router.in_flight("stable") == 0
