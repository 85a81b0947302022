"""What raw samples are, whoever is asked: the same promises of the real server and of the fake."""

from abc import ABC, abstractmethod
from itertools import pairwise

import pytest

from activities.ports import MetricSource
from rollout.errors import MetricsUnavailable, Misconfigured
from rollout.gates import Versions
from rollout.judge.counters import Series, begin, fold, wanted_after

NAME = "visits_total"
LOOK_MS = 120_000


class Stand(ABC):
    """A metrics server that scrapes two counters, each of which counts its own scrapes from 1.

    `visits_total{version="canary", status="200"}` is there from the beginning, `status="500"` once it has failed.

    Attributes:
        scrape_ms: distance of scrapes, milliseconds.
    """

    scrape_ms: int

    @abstractmethod
    def source(self) -> MetricSource:
        """Who is asked."""

    @abstractmethod
    def now_ms(self) -> int:
        """The server's clock, Unix milliseconds."""

    @abstractmethod
    async def scraped(self, times: int) -> None:
        """Wait until so many more scrapes can be asked for."""

    @abstractmethod
    def restart(self) -> None:
        """Restart what is scraped: its counter begins anew, its failures are forgotten."""

    @abstractmethod
    def fail(self) -> None:
        """Let `status="500"` appear."""

    @abstractmethod
    def stop(self) -> None:
        """Take the server away."""

    @abstractmethod
    def start(self) -> None:
        """Bring it back."""


async def asked(stand: Stand, selector: str = NAME + '{status="200"}') -> Series:
    """The one series that a selector selects."""
    now = stand.now_ms()
    [series] = await stand.source().samples(selector, now - LOOK_MS, now)
    return series


class SamplesContract:
    """Subclass it and give it a fixture `stand`."""

    async def test_samples_come_back_exactly_as_they_were_scraped(self, stand: Stand) -> None:
        stand.restart()
        await stand.scraped(4)
        points = (await asked(stand)).points
        values = [value for _, value in points]
        begun = len(values) - values[::-1].index(1) - 1
        assert values[begun:] == list(range(1, len(values) - begun + 1))
        assert len(values) - begun >= 4
        assert all(0 < later - earlier < 3 * stand.scrape_ms for (earlier, _), (later, _) in pairwise(points))
        assert stand.now_ms() - LOOK_MS < points[0][0] <= points[-1][0] <= stand.now_ms()

    async def test_labels_come_without_the_name(self, stand: Stand) -> None:
        await stand.scraped(1)
        labels = (await asked(stand)).labels
        assert (labels["version"], labels["status"], "__name__" in labels) == ("canary", "200", False)

    async def test_the_range_has_its_end_and_not_its_beginning(self, stand: Stand) -> None:
        await stand.scraped(4)
        points = list((await asked(stand)).points)
        first, last = points[-4], points[-1]
        for after, until, expected in (
            (first[0], last[0], points[-3:]),
            (first[0] - 1, last[0], points[-4:]),
            (first[0] - 1, last[0] - 1, points[-4:-1]),
            (last[0] - 1, last[0], points[-1:]),
        ):
            [series] = await stand.source().samples(NAME + '{status="200"}', after, until)
            assert list(series.points) == expected

    async def test_a_series_without_samples_in_the_range_is_not_there(self, stand: Stand) -> None:
        await stand.scraped(1)
        last = (await asked(stand)).points[-1][0]
        assert await stand.source().samples(NAME + '{status="200"}', last, last + 1) == ()

    async def test_a_restart_is_a_value_that_falls(self, stand: Stand) -> None:
        await stand.scraped(3)
        stand.restart()
        await stand.scraped(2)
        values = [value for _, value in (await asked(stand)).points]
        assert sum(later < earlier for earlier, later in pairwise(values)) >= 1

    async def test_matchers_select(self, stand: Stand) -> None:
        stand.fail()
        await stand.scraped(2)
        now = stand.now_ms()
        for matchers, statuses in (
            ("", {"200", "500"}),
            ('{status=~"5.."}', {"500"}),
            ('{status!~"5..", version="canary"}', {"200"}),
            ('{status!="200"}', {"500"}),
            ('{version="stable"}', set()),
        ):
            found = await stand.source().samples(NAME + matchers, now - LOOK_MS, now)
            assert {series.labels["status"] for series in found} == statuses

    async def test_samples_fold_into_what_was_counted(self, stand: Stand) -> None:
        stand.restart()
        await stand.scraped(2)
        since = (await asked(stand)).points[-1][0]
        stand.fail()
        await stand.scraped(3)
        counters, now = begin(since), stand.now_ms()
        everything, failures = [
            await stand.source().samples(NAME + matchers, wanted_after(counters), now)
            for matchers in ("", '{status="500"}')
        ]
        _, batches = fold(counters, Versions(), everything, failures, good=False, until_ms=now)
        assert len(batches) >= 3
        assert sum(batch.n_c for batch in batches) == 2 * len(batches)  # both counters grow by one a scrape
        assert sum(batch.x_c for batch in batches) == len(batches)

    async def test_a_misspelt_name_selects_nothing(self, stand: Stand) -> None:
        now = stand.now_ms()
        assert await stand.source().samples("vists_total", now - LOOK_MS, now) == ()
        assert await stand.source().histograms("vists_total", 0.5, now - LOOK_MS, now) == ((), ())

    @pytest.mark.parametrize(
        "written", ['visits_total{status="200"', "sum(visits_total)", "visits_total[5m]", "visits_total offset 1m"]
    )
    async def test_what_is_no_selector_is_misconfigured(self, stand: Stand, written: str) -> None:
        now = stand.now_ms()
        with pytest.raises(Misconfigured):
            await stand.source().samples(written, now - LOOK_MS, now)

    async def test_counters_are_no_native_histograms(self, stand: Stand) -> None:
        await stand.scraped(1)
        now = stand.now_ms()
        with pytest.raises(Misconfigured, match="no native histograms"):
            await stand.source().histograms(NAME, 0.5, now - LOOK_MS, now)

    async def test_a_server_that_is_away_is_no_data(self, stand: Stand) -> None:
        await stand.scraped(1)
        now = stand.now_ms()
        stand.stop()
        try:
            with pytest.raises(MetricsUnavailable):
                await stand.source().samples(NAME, now - LOOK_MS, now)
        finally:
            stand.start()
        assert await stand.source().samples(NAME, now - LOOK_MS, now)
