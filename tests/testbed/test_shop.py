import json
import os
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from testbed.feature import Feature
from testbed.processes import wait_until_async
from testbed.programs import Shop as ShopPart
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
    [
        {"error_ratio": 1.5},
        {"error_ratio": "x"},
        {"latency_ms": -1},
        {"status": 404},
        {"eror_ratio": 0.1},
        {"flagged_error_ratio": 2},
        [],
        True,
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused_and_changes_nothing(fields: object) -> None:
    async with _client() as client:
        async with client.post("/-/fault", json=fields) as answer:
            assert answer.status == 400
        async with client.get("/-/fault") as answer:
            assert await answer.json() == vars(Fault())


def _flag_file(folder: Path, targeting: object) -> Path:
    """Replace the file as an editor does, with a time of change that has moved on."""
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off", "targeting": targeting}
    file, fresh = folder / "flags.json", folder / "fresh.json"
    before = file.stat().st_mtime_ns if file.exists() else 0
    fresh.write_text(json.dumps({"flags": {"new-checkout": flag}}))
    os.utime(fresh, ns=(before, max(fresh.stat().st_mtime_ns, before + 10_000_000)))
    return fresh.replace(file)


def _flagged(file: Path) -> Client:
    feature = Feature(file, "new-checkout", str(file), seed=1)
    return TestClient(TestServer(Shop("checkout", "canary", 1, feature).application()))


def _percent(percent: int) -> dict[str, object]:
    return {"fractional": [["on", percent], ["off", 100 - percent]]}


async def _visits(client: Client, users: range) -> dict[str, tuple[int, str]]:
    """User → status, and the variation that the answer names."""
    answers = {}
    for user in users:
        async with client.get("/", headers={"X-User": f"u{user}"}) as answer:
            answers[f"u{user}"] = (answer.status, (await answer.json())["variation"])
    return answers


async def test_a_fault_of_the_feature_meets_only_those_who_see_it(tmp_path: Path) -> None:
    async with _flagged(_flag_file(tmp_path, _percent(30))) as client:
        await client.post("/-/fault", json={"flagged_error_ratio": 1, "status": 503})
        seen = await _visits(client, range(200))
        again = await _visits(client, range(200))
        metrics = await _metrics(client)
    assert seen == again
    assert set(seen.values()) == {(503, "on"), (200, "off")}
    on = sum(variation == "on" for _, variation in seen.values())
    assert 30 <= on <= 90
    names = 'flag="new-checkout",service="checkout"'
    for variation, status, count in (("on", 503, on), ("on", 200, 0), ("off", 200, 200 - on), ("off", 503, 0)):
        series = f'feature_requests_total{{{names},status="{status}",variation="{variation}",version="canary"}}'
        assert metrics[series] == 2 * count
    assert metrics['http_requests_total{service="checkout",status="503",version="canary"}'] == 2 * on


async def test_a_share_of_the_features_visits_can_fail(tmp_path: Path) -> None:
    async with _flagged(_flag_file(tmp_path, _percent(100))) as client:
        await client.post("/-/fault", json={"flagged_error_ratio": 0.25})
        seen = await _visits(client, range(400))
    assert 70 <= sum(status == 500 for status, _ in seen.values()) <= 130


async def test_every_series_of_the_feature_exists_at_zero_and_the_others_are_as_without_it(tmp_path: Path) -> None:
    async with _flagged(_flag_file(tmp_path, None)) as flagged, _client() as plain:
        with_flag, without = await _metrics(flagged), await _metrics(plain)
    fresh = {series: value for series, value in with_flag.items() if series.startswith("feature_requests_total")}
    assert len(fresh) == 3 * 3  # on, off and the default in the code, by status
    assert set(fresh.values()) == {0}
    assert with_flag.keys() - fresh.keys() == without.keys()


async def test_a_changed_file_changes_what_is_served_and_a_broken_one_does_not(tmp_path: Path) -> None:
    file = _flag_file(tmp_path, _percent(100))
    async with _flagged(file) as client:

        async def all_see(variation: str) -> bool:
            return {each for _, each in (await _visits(client, range(8))).values()} == {variation}

        assert await all_see("on")
        _flag_file(tmp_path, {"if": [False, _percent(100), "off"]})
        await wait_until_async(lambda: all_see("off"), within_s=5, what="the feature is off")
        file.write_text("{")
        assert await all_see("off")
        file.unlink()
        assert await all_see("off")
        _flag_file(tmp_path, _percent(100))
        await wait_until_async(lambda: all_see("on"), within_s=5, what="the feature is on again")


async def test_the_luck_of_the_shop_is_the_same_with_a_flag(tmp_path: Path) -> None:
    async with _flagged(_flag_file(tmp_path, _percent(50))) as flagged, _client() as plain:
        runs = []
        for client in (flagged, plain):
            await client.post("/-/fault", json={"error_ratio": 0.5})
            runs.append([(await client.get("/", headers={"X-User": "u"})).status for _ in range(40)])
    assert runs[0] == runs[1]


async def test_visitors_without_a_name_are_somebody_new_each_time(tmp_path: Path) -> None:
    async with _flagged(_flag_file(tmp_path, _percent(50))) as client:
        seen = [(await (await client.get("/")).json())["variation"] for _ in range(60)]
    assert 10 <= seen.count("on") <= 50


def test_a_flag_that_is_not_in_the_file_is_no_flag(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no flag 'ghost'; it has new-checkout"):
        Feature(_flag_file(tmp_path, None), "ghost", "shop", seed=1)


@pytest.mark.server
def test_the_program_asks_its_flag(tmp_path: Path) -> None:
    file = _flag_file(tmp_path, _percent(100))

    class FlaggedShop(ShopPart):
        def command(self) -> list[str | Path]:
            return [*super().command(), "--flag-file", file, "--flag", "new-checkout"]

    with FlaggedShop(tmp_path, version="canary") as shop:
        shop.fault(flagged_error_ratio=1)
        answer = httpx.get(shop.url, headers={"X-User": "ana"}, trust_env=False)
    assert (answer.status_code, answer.json()["variation"]) == (500, "on")
