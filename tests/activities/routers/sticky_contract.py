"""What a router that keeps users on their version promises besides; joined as `contract` says."""

import math
from abc import abstractmethod
from urllib.parse import urlsplit

import pytest

from activities.ports import Router, Write
from rollout.routes import Sticky
from testbed.load import Connection
from testbed.visitors import Visitor
from tests.activities.routers.contract import HEADER, OWNER, StoppableStand, proven


class StickyStand(StoppableStand):
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
