"""What every router adapter promises, run against the real router.

A backend joins by one class in `test_contract.py`: a `Stand` that starts its router in front of two shops, and a
fixture that gives it. Nothing in here knows any router.
"""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from urllib.parse import urlsplit

import httpx
import pytest

from activities.ports import Router, RouteState, Write
from rollout.errors import Misconfigured, RouteOwned, RouteRejected, RouterUnreachable, Superseded
from rollout.routes import ForcedHeader, Sticky
from testbed.load import Connection
from testbed.visitors import Visitor

OWNER = "rollout:prod/checkout"
HEADER = ForcedHeader()
PROVEN_WITHIN_S = 5.0


class Stand(ABC):
    """A running router in front of two shops.

    Attributes:
        url: where visitors come in.
    """

    url: str

    @abstractmethod
    def router(self, *, unknown_candidate: bool = False) -> Router:
        """The adapter for the route, with the forced header; or one whose candidate the router has never heard of."""

    @abstractmethod
    def written(self) -> object:
        """Something that is equal as long as nobody writes the configuration, not even the same again."""

    @abstractmethod
    async def spoil(self) -> None:
        """Change the operator's part of the configuration so that the router refuses it, whatever is written next."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the router."""

    @abstractmethod
    def start(self) -> None:
        """Start the same router again."""

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


async def canaries(url: str, visits: int, headers: dict[str, str] | None = None) -> int:
    """How many of so many visits the candidate answers; every one must be answered."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answers = [await http.get(url, headers=headers) for _ in range(visits)]
    assert {answer.status_code for answer in answers} == {200}
    return sum(answer.headers["X-Version"] == "canary" for answer in answers)


class RouterContract:
    """Subclass it, mark the subclass with `server`, and give it a fixture `stand`."""

    async def test_a_route_that_nobody_touched_has_no_candidate_and_no_owner(self, stand: Stand) -> None:
        state = await stand.router().read()
        assert (state.percent, state.in_force, state.epoch, state.owner, state.forced) == (0, 0, 0, None, False)
        assert state.healthy == {"candidate": 1, "stable": 1}
        assert state.problem is None

    async def test_every_percent_comes_into_force_with_proof(self, stand: Stand) -> None:
        router = stand.router()
        for epoch, percent in enumerate((0, 1, 5, 25, 50, 99, 100, 0.25, 0), start=1):
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
        assert abs(await canaries(stand.url, visits) - visits * share) <= 5 * sigma

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

    @pytest.mark.parametrize("percent", [0, 100])
    async def test_the_forced_header_beats_every_percent(self, stand: Stand, percent: float) -> None:
        router = stand.router()
        await router.write(Write(percent=percent, epoch=1, owner=OWNER))
        assert (await proven(router, percent)).forced
        assert await canaries(stand.url, 5, {HEADER.name: HEADER.candidate}) == 5
        assert await canaries(stand.url, 5, {HEADER.name: HEADER.stable}) == 0

    async def test_without_the_forced_rules_the_header_means_nothing(self, stand: Stand) -> None:
        router = stand.router()
        await router.write(Write(percent=0, epoch=1, owner=OWNER))
        await router.write(Write(percent=0, epoch=2, owner=OWNER, header=False))
        assert not (await proven(router, 0)).forced
        assert await canaries(stand.url, 5, {HEADER.name: HEADER.candidate}) == 0

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

    async def test_a_refused_configuration_is_undone(self, stand: Stand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await stand.spoil()
        with pytest.raises(RouteRejected, match="log"):
            await router.write(Write(percent=25, epoch=2, owner=OWNER))
        state = await router.read()
        assert (state.percent, state.epoch) == (5, 1)
        assert await canaries(stand.url, 5, {HEADER.name: HEADER.stable}) == 0

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

    async def test_a_router_that_is_away_takes_no_raise_but_the_way_back(self, stand: Stand) -> None:
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
        assert await canaries(stand.url, 20) == 0

    async def test_a_restart_of_the_router_keeps_the_percent(self, stand: Stand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        stand.stop()
        stand.start()
        await proven(router, 100)
        assert await canaries(stand.url, 20) == 20

    async def test_requests_in_flight_are_counted(self, stand: Stand) -> None:
        router = stand.router()
        assert await router.in_flight("stable") == 0
        async with stand.slow():
            visitors = [asyncio.ensure_future(canaries(stand.url, 1)) for _ in range(3)]

            async def all_are_waiting() -> bool:
                return await router.in_flight("stable") == 3

            await until(all_are_waiting)
            assert await router.in_flight("candidate") == 0
            await asyncio.gather(*visitors)
        assert await router.in_flight("stable") == 0


class StickyStand(Stand):
    """A running router that can keep users on their version."""

    @abstractmethod
    def sticky_router(self, sticky: Sticky) -> Router:
        """The adapter for the route, with the forced header and with sticky users."""


def users(count: int) -> list[Visitor]:
    """People who have never been here."""
    return [Visitor(f"u{number}") for number in range(count)]


async def seen_by(url: str, visitors: list[Visitor], *fields: str) -> list[str]:
    """The version that each visitor sees at one visit, in their order; every visit must be answered."""
    where = urlsplit(url)
    connection = await Connection.open(where.hostname or "", where.port or 80)
    seen = []
    try:
        for visitor in visitors:
            lines = (f"GET {where.path} HTTP/1.1", f"Host: {where.netloc}", *visitor.fields(), *fields)
            answer = await connection.exchange("".join(f"{line}\r\n" for line in (*lines, "")).encode())
            assert answer.status == 200
            visitor.was_told(answer.version, answer.cookies)
            seen.append(str(answer.version))
    finally:
        connection.close()
    return seen


class StickyContract:
    """What a router with sticky users promises besides; needs a fixture `stand` that gives a `StickyStand`."""

    @pytest.fixture(params=[Sticky(), Sticky(header="X-User")], ids=["cookie", "header"])
    def sticky(self, request: pytest.FixtureRequest) -> Sticky:
        return Sticky.model_validate(request.param)

    @pytest.fixture
    def router(self, stand: StickyStand, sticky: Sticky) -> Router:
        return stand.sticky_router(sticky)

    async def test_a_user_sees_one_version_and_only_ever_joins_the_candidate(
        self, stand: StickyStand, router: Router
    ) -> None:
        people, once = users(200), list[str]()
        for epoch, percent in enumerate((5, 25, 50), start=1):
            await router.write(Write(percent=percent, epoch=epoch, owner=OWNER))
            await proven(router, percent)
            once = await seen_by(stand.url, people)
            assert await seen_by(stand.url, people) == once
        assert {tuple(user.versions) for user in people} <= {("canary",), ("stable",), ("stable", "canary")}
        assert 50 < once.count("canary") < 150

    async def test_at_zero_nobody_is_on_the_candidate_whatever_they_carry(
        self, stand: StickyStand, router: Router
    ) -> None:
        people = users(50)
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        await proven(router, 100)
        assert set(await seen_by(stand.url, people)) == {"canary"}
        for epoch, release in ((2, False), (3, True)):
            await router.write(Write(percent=0, epoch=epoch, owner=OWNER, release=release))
            await proven(router, 0)
            assert set(await seen_by(stand.url, people)) == {"stable"}
        [newcomer] = users(1)
        await seen_by(stand.url, [newcomer])
        assert newcomer.fields() == users(1)[0].fields()  # no cookie is handed out any more

    async def test_the_share_of_users_is_the_percent(self, stand: StickyStand, router: Router) -> None:
        count, share = 2000, 0.25
        await router.write(Write(percent=100 * share, epoch=1, owner=OWNER))
        await proven(router, 100 * share)
        seen = await seen_by(stand.url, users(count))
        assert abs(seen.count("canary") - count * share) <= 5 * math.sqrt(count * share * (1 - share))

    async def test_the_forced_header_beats_the_users_own_version(self, stand: StickyStand, router: Router) -> None:
        people = users(40)
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        await proven(router, 50)
        own = await seen_by(stand.url, people)
        assert set(own) == {"canary", "stable"}
        assert set(await seen_by(stand.url, people, f"{HEADER.name}: {HEADER.candidate}")) == {"canary"}
        assert set(await seen_by(stand.url, people, f"{HEADER.name}: {HEADER.stable}")) == {"stable"}
        assert await seen_by(stand.url, people) == own

    async def test_users_stay_over_a_restart_of_the_router(self, stand: StickyStand, router: Router) -> None:
        people = users(60)
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        await proven(router, 50)
        before = await seen_by(stand.url, people)
        stand.stop()
        stand.start()
        await proven(router, 50)
        assert await seen_by(stand.url, people) == before

    async def test_the_same_sticky_write_again_writes_nothing(self, stand: StickyStand, router: Router) -> None:
        write = Write(percent=25, epoch=1, owner=OWNER)
        await router.write(write)
        before = stand.written()
        await router.write(write)
        assert stand.written() == before
