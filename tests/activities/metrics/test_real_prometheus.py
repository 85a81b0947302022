"""The adapter against a real Prometheus that scrapes a real shop."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from activities.metrics import source_for
from activities.metrics.prometheus import PrometheusConnection, PrometheusSource
from rollout.errors import MetricsUnavailable, Misconfigured
from testbed.processes import LOOPBACK, wait_until
from testbed.programs import Shop
from testbed.prometheus import Prometheus

pytestmark = pytest.mark.server

VISITS = 20


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    shop = Shop(folder, version="stable")
    server = Prometheus(folder, targets={"shop": [f"{LOOPBACK}:{shop.port}"]})
    with shop, server:
        wait_until(lambda: bool(server.query("http_requests_total")), within_s=15, what="a scrape", child=server.child)
        for _ in range(VISITS):
            httpx.get(shop.url, trust_env=False)
        counted = f'sum(http_requests_total{{status="200"}}) >= {VISITS}'
        wait_until(lambda: bool(server.query(counted)), within_s=15, what="the visits", child=server.child)
        yield server


@pytest.fixture
def source(prometheus: Prometheus) -> Iterator[PrometheusSource]:
    with ThreadPoolExecutor(2) as threads:
        source = source_for(PrometheusConnection(url=prometheus.url), threads)
        yield source
        source.close()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_counters_of_a_real_shop_are_read(source: PrometheusSource) -> None:
    at = now_ms()
    found = await source.evaluate('sum by (version, status) (http_requests_total{status="200"})', at, at, 15_000)
    assert found == {at: {'{status="200", version="stable"}': VISITS}}


@pytest.mark.parametrize("step", [250, 1001, 15_000])
async def test_every_tick_answers_at_its_millisecond(source: PrometheusSource, step: int) -> None:
    start = now_ms() - 40 * step
    found = await source.evaluate("time()", start, start + 40 * step, step)
    assert list(found) == list(range(start, start + 40 * step + 1, step))
    assert all(vector[""] == pytest.approx(at / 1000, abs=5e-4) for at, vector in found.items())


async def test_ticks_before_the_first_scrape_are_empty(source: PrometheusSource) -> None:
    end = now_ms()
    found = await source.evaluate("http_requests_total", end - 3_600_000, end, 600_000)
    assert len(found) == 7
    assert found[end - 3_600_000] == {}
    assert found[end]


async def test_an_idle_ratio_is_not_a_number_and_an_unknown_series_nothing(source: PrometheusSource) -> None:
    at = now_ms()
    found = await source.evaluate("vector(0) / 0", at, at, 1000)
    assert str(found[at][""]) == "nan"
    assert await source.evaluate("no_such_series_total", at, at, 1000) == {at: {}}


async def test_more_points_than_the_server_gives_at_once(source: PrometheusSource) -> None:
    end = now_ms()
    found = await source.evaluate("vector(1)", end - 12_000_000, end, 1000)
    assert len(found) == 12_001
    assert all(vector == {"": 1.0} for vector in found.values())


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sum(", "parse error"),
        ("up[5m]", "invalid expression type"),
        ('label_replace(up, "x", "y", "z", "(")', "invalid regular expression"),
        ('"text"', "invalid expression type"),
    ],
)
async def test_the_servers_own_words_are_passed_on(source: PrometheusSource, query: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        await source.evaluate(query, now_ms(), now_ms(), 1000)


async def test_only_names_that_nobody_counts_are_missing(source: PrometheusSource) -> None:
    assert await source.missing(("http_requests_total", "htpp_requests_total", "up")) == ("htpp_requests_total",)


async def test_a_frozen_server_is_no_data_until_it_is_back(prometheus: Prometheus) -> None:
    with ThreadPoolExecutor(1) as threads:
        source = source_for(PrometheusConnection(url=prometheus.url, timeout_s=0.3), threads)
        at = now_ms()
        prometheus.pause()
        try:
            with pytest.raises(MetricsUnavailable, match=r"0\.3 s"):
                await source.evaluate("up", at, at, 1000)
        finally:
            prometheus.resume()
        async with asyncio.timeout(5):
            assert (await source.evaluate("vector(1)", at, at, 1000))[at] == {"": 1.0}
        source.close()
