import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from testbed.shop import Fault, Shop

Client = TestClient[web.Request, web.Application]


def _client(seed: int = 1) -> Client:
    return TestClient(TestServer(Shop("checkout", "canary", seed).application()))


async def _metrics(client: Client) -> dict[str, float]:
    text = await (await client.get("/metrics")).text()
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {series: float(value) for series, _, value in lines}


async def test_every_status_exists_at_zero_before_the_first_request() -> None:
    async with _client() as client:
        metrics = await _metrics(client)
    for status in ("200", "500", "503"):
        assert metrics[f'http_requests_total{{service="checkout",status="{status}",version="canary"}}'] == 0
    for name in ("sessions_total", "conversions_total", "bounces_total", "http_request_duration_seconds_count"):
        assert metrics[f'{name}{{service="checkout",version="canary"}}'] == 0
    assert not [series for series in metrics if "_created" in series]


async def test_latency_has_a_boundary_where_the_examples_gate_asks() -> None:
    async with _client() as client:
        metrics = await _metrics(client)
    assert 'http_request_duration_seconds_bucket{le="0.3",service="checkout",version="canary"}' in metrics


async def test_every_answer_names_its_version() -> None:
    async with _client() as client:
        await client.post("/-/fault", json={"error_ratio": 1})
        for path, status in (("/", 500), ("/ready", 200)):
            async with client.get(path) as answer:
                assert (answer.status, answer.headers["X-Version"]) == (status, "canary")


async def test_errors_come_at_their_ratio_and_are_counted_by_status() -> None:
    async with _client() as client:
        await client.post("/-/fault", json={"error_ratio": 0.25, "status": 503})
        seen = [(await client.get("/")).status for _ in range(400)]
        metrics = await _metrics(client)
    assert 70 <= seen.count(503) <= 130
    assert metrics['http_requests_total{service="checkout",status="503",version="canary"}'] == seen.count(503)
    assert metrics['sessions_total{service="checkout",version="canary"}'] == 400


async def test_the_same_seed_fails_the_same_requests() -> None:
    runs = []
    for seed in (7, 7, 8):
        async with _client(seed) as client:
            await client.post("/-/fault", json={"error_ratio": 0.5})
            runs.append([(await client.get("/")).status for _ in range(40)])
    assert runs[0] == runs[1] != runs[2]


async def test_slow_answers_are_seen_as_slow() -> None:
    async with _client() as client:
        await client.post("/-/fault", json={"latency_ms": 30})
        await client.get("/")
        metrics = await _metrics(client)
    assert metrics['http_request_duration_seconds_bucket{le="0.025",service="checkout",version="canary"}'] == 0
    assert metrics['http_request_duration_seconds_sum{service="checkout",version="canary"}'] >= 0.03


@pytest.mark.parametrize(
    "fields",
    [{"error_ratio": 1.5}, {"error_ratio": "x"}, {"latency_ms": -1}, {"status": 404}, {"eror_ratio": 0.1}, [], True],
)
async def test_a_fault_that_makes_no_sense_is_refused_and_changes_nothing(fields: object) -> None:
    async with _client() as client:
        async with client.post("/-/fault", json=fields) as answer:
            assert answer.status == 400
        async with client.get("/-/fault") as answer:
            assert await answer.json() == vars(Fault())
