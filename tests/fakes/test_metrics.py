"""The fake metrics server keeps the promises of the real one about raw samples."""

import pytest

from activities.ports import MetricSource
from activities.query_answer import Native
from rollout.errors import Misconfigured
from tests.activities.metrics.contract import SamplesContract, Stand
from tests.fakes.metrics import FakeMetrics

BEGAN_MS = 1_795_340_310_000


class FakeStand(Stand):
    """The fake with a clock that moves when somebody waits."""

    scrape_ms = 1000

    def __init__(self) -> None:
        self.fake = FakeMetrics()
        self._now = self._began = BEGAN_MS
        self._counted: dict[int, int] = {}
        self._failed: dict[int, int] = {}
        self._fails = False
        self.fake.count("visits_total", self._counted.get, version="canary", status="200")
        self.fake.count("visits_total", self._failed.get, version="canary", status="500")

    def source(self) -> MetricSource:
        return self.fake

    def now_ms(self) -> int:
        return self._now

    async def scraped(self, times: int) -> None:
        for _ in range(times):
            self._now += 1000
            self._counted[self._now] = (self._now - self._began) // 1000
            if self._fails:
                self._failed[self._now] = self._failed.get(self._now - 1000, 0) + 1

    def restart(self) -> None:
        self._began, self._fails = self._now, False

    def fail(self) -> None:
        self._fails = True

    def stop(self) -> None:
        self.fake.reachable = False

    def start(self) -> None:
        self.fake.reachable = True


class TestFakeMetrics(SamplesContract):
    @pytest.fixture
    def stand(self) -> Stand:
        return FakeStand()


async def test_samples_may_be_given_as_they_are() -> None:
    fake = FakeMetrics()
    fake.count("visits_total", [(1000, 1), (2500, 4), (9000, 2)], version="canary")
    [series] = await fake.samples("visits_total", 1000, 9000)
    assert series == ({"version": "canary"}, [(2500, 4), (9000, 2)])


async def test_scrapes_come_at_their_phase() -> None:
    fake = FakeMetrics()
    fake.count("visits_total", lambda at: at // 15_000, scrape_ms=15_000, phase_ms=4000)
    [series] = await fake.samples("visits_total", 4000, 34_000)
    assert series.points == [(19_000, 1), (34_000, 2)]


async def test_histograms_are_divided_at_the_limit() -> None:
    fake = FakeMetrics()
    fake.count("seconds", lambda at: Native(at / 1000, [(0.1, 0.3, at / 1000 - 1), (0.3, 0.9, 1)]), version="canary")
    counts, within = await fake.histograms("seconds", 0.5, 2000, 4000)
    assert (counts[0].points, within[0].points) == ([(3000, 3), (4000, 4)], [(3000, 3), (4000, 4)])
    _, within = await fake.histograms("seconds", 0.5, 2000, 4000, "beyond")
    assert within[0].points == [(3000, 2), (4000, 3)]
    with pytest.raises(Misconfigured, match="no counters"):
        await fake.samples("seconds", 0, 1000)
