"""A killed worker is noticed by its silence, so an activity that lives is never silent for long."""

import asyncio
import time
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities import watching
from activities.boundary import beating
from activities.watching import WatchingActivities
from rollout.messages import WatchHealth, Watching
from tests.fakes.connections import FakeConnections
from tests.fakes.router import FakeRouter
from tests.rollout.given import OWNER, spec

EVERY_S = 0.02
EVERY_5_S = WatchHealth(
    gates={},
    since_ms=1_000_000,
    bake=None,
    poll=timedelta(seconds=5),
    no_data_hold=timedelta(seconds=5),
    routes=(),
    percent=5,
    epoch=7,
    owner=OWNER,
)


class Heard:
    """What an activity has told the server, and when."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.at: list[float] = []
        self.env = ActivityEnvironment()
        self.env.on_heartbeat = self._hear

    async def times(self, count: int) -> None:
        """Wait until it has told something so many times."""
        while len(self.told) < count:  # noqa: ASYNC110 - what tells it is not ours
            await asyncio.sleep(EVERY_S / 10)

    def _hear(self, *details: object) -> None:
        self.told.append(details)
        self.at.append(time.monotonic())


async def test_it_beats_with_the_details_of_the_moment_until_it_ends() -> None:
    heard, moment = Heard(), ["first"]

    async def work() -> None:
        async with beating(EVERY_S, lambda: (moment[0],)):
            await heard.times(1)
            moment[0] = "second"
            await heard.times(2)
        await asyncio.sleep(3 * EVERY_S)

    await heard.env.run(work)
    assert heard.told == [("first",), ("second",)]


async def test_news_are_told_at_once_and_then_it_is_silent_for_as_long_as_ever() -> None:
    heard = Heard()

    async def work() -> None:
        async with beating(0.1, lambda: ("news",)) as beats:
            await asyncio.sleep(0.06)
            beats.now()
            await heard.times(2)

    await heard.env.run(work)
    assert heard.at[1] - heard.at[0] >= 0.1


async def test_a_watch_beats_between_its_polls_with_what_the_last_one_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_BEAT_S", EVERY_S)
    heard, router = Heard(), FakeRouter("edge", percent=5, epoch=7, owner=OWNER)
    poll = timedelta(seconds=0.2)
    order = WatchHealth(
        gates={},
        since_ms=time.time_ns() // 1_000_000,
        bake=poll,
        poll=poll,
        no_data_hold=timedelta(minutes=5),
        routes=spec().routes,
        percent=5,
        epoch=7,
        owner=OWNER,
    )
    connections = FakeConnections(routers={route.connection: router for route in order.routes})
    ended = await heard.env.run(WatchingActivities(connections).watch_health, order)
    assert ended.why == "baked"
    seen = [found.watermark_ms for (found,) in heard.told if isinstance(found, Watching)]
    assert seen == sorted(seen)
    assert seen[-1] == ended.watching.watermark_ms
    assert seen.count(seen[0]) >= 3, "it has beaten without anything new"


@pytest.mark.parametrize("early_ms", [0, 1, 7])
async def test_a_timer_that_fires_early_does_not_miss_the_tick(early_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000_250]

    async def sleep(seconds: float) -> None:
        clock[0] += max(1, round(seconds * 1000) - early_ms)

    monkeypatch.setattr(watching, "_now_ms", lambda: clock[0])
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await watching._next_poll(EVERY_5_S, soon=False)
    assert 1_005_000 <= clock[0] <= 1_005_010


async def test_a_clock_that_is_put_back_costs_no_more_than_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, slept = [1_000_250], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] -= 3_600_000

    monkeypatch.setattr(watching, "_now_ms", lambda: clock[0])
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await watching._next_poll(EVERY_5_S, soon=False)
    assert slept == [4.75]
