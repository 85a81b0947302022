import json
import math
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from testbed.bed import Bed
from testbed.processes import wait_until
from testbed.programs import Load
from tests.testbed.routes import replace_routes

pytestmark = pytest.mark.server

RATE = 100.0


@pytest.fixture
def load(bed: Bed) -> Iterator[Load]:
    replace_routes(bed.envoy, percent=0)
    running = bed.load(rate=RATE)
    yield running
    running.stop()
    replace_routes(bed.envoy, percent=0)


def _await_requests(load: Load, count: int) -> None:
    goal = load.report().requests + count
    wait_until(lambda: load.report().requests >= goal, within_s=60, what=f"{count} more requests", child=load.child)


def test_ten_changes_of_weight_drop_nothing_and_end_where_they_should(bed: Bed, load: Load) -> None:
    for percent in (5, 25, 50, 100, 0, 100, 0, 50, 100, 0):
        replace_routes(bed.envoy, percent=percent)
        _await_requests(load, 30)
    replace_routes(bed.envoy, percent=100)
    _await_requests(load, 60)
    before = load.report().versions
    _await_requests(load, 60)
    report = load.finish()
    assert report.dropped == {}
    assert report.skipped_requests == 0
    assert report.versions["stable"] == before["stable"]
    assert report.versions["canary"] > before["canary"]


def test_traffic_splits_by_weight(bed: Bed, load: Load) -> None:
    replace_routes(bed.envoy, percent=25)
    _await_requests(load, 50)  # what was under way
    before = load.report().versions
    _await_requests(load, 600)
    after = load.finish().versions
    canary, stable = (after[version] - before[version] for version in ("canary", "stable"))
    share = canary / (canary + stable)
    assert abs(share - 0.25) < 5 * math.sqrt(0.25 * 0.75 / (canary + stable))


def test_a_dead_pool_is_seen_as_drops(bed: Bed, load: Load) -> None:
    replace_routes(bed.envoy, percent=50)
    _await_requests(load, 50)
    bed.candidate.kill()
    try:
        _await_requests(load, 100)
    finally:
        bed.candidate.start()
    report = load.finish()
    assert report.dropped_requests > 20
    assert {kind.partition(":")[2] for kind in report.dropped} == {"proxy-503"}


def test_faults_are_bad_answers_of_the_candidate_and_no_drops(bed: Bed, load: Load) -> None:
    bed.fault(0.5)
    try:
        replace_routes(bed.envoy, percent=50)
        began = time.time()
        _await_requests(load, 100)
    finally:
        bed.fault(0)
    report = load.finish()
    assert report.dropped == {}
    assert 10 <= report.bad_responses <= 60
    assert report.first_bad_at is not None
    assert report.last_candidate_at is not None
    assert began <= report.first_bad_at <= report.last_candidate_at


def test_prometheus_counts_what_the_load_saw(bed: Bed, load: Load) -> None:
    query = 'sum(http_requests_total{service="checkout",version="stable",status="200"})'
    (_, before), *_ = bed.prometheus.query(query)
    _await_requests(load, 50)
    wait_until(
        lambda: bed.prometheus.query(query)[0][1] >= before + 50, within_s=10, what="Prometheus has counted 50 more"
    )
    up = {series["instance"] for series, value in bed.prometheus.query("up") if value == 1}
    assert len(up) == 3  # two shops and Envoy


def test_the_articles_rule_is_loaded(bed: Bed) -> None:
    def loaded() -> Any:
        answer = httpx.get(f"{bed.prometheus.url}/api/v1/rules", trust_env=False).raise_for_status().json()
        ((rule,),) = [group["rules"] for group in answer["data"]["groups"]]
        return rule

    wait_until(lambda: loaded()["health"] != "unknown", within_s=10, what="the rule has been evaluated")
    rule = loaded()
    assert (rule["name"], rule["duration"], rule["health"]) == ("CanaryHighErrorRate", 120, "ok")
    assert rule["annotations"] == {"action": "auto_rollback"}


def test_a_killed_envoy_comes_back_with_its_port_and_its_weights(bed: Bed) -> None:
    replace_routes(bed.envoy, percent=100)
    bed.envoy.kill()
    with pytest.raises(httpx.ConnectError):
        httpx.get(bed.url, trust_env=False)
    bed.envoy.start()
    assert httpx.get(bed.url, trust_env=False).headers["X-Version"] == "canary"
    replace_routes(bed.envoy, percent=0)


def test_a_frozen_prometheus_answers_nothing_until_resumed(bed: Bed) -> None:
    bed.prometheus.pause()
    try:
        assert not bed.prometheus.ready()
    finally:
        bed.prometheus.resume()
    wait_until(bed.prometheus.ready, within_s=5, what="Prometheus goes on")


def test_a_restarted_prometheus_keeps_its_data(bed: Bed) -> None:
    samples = "sum(count_over_time(up[1h]))"
    wait_until(lambda: bed.prometheus.query(samples)[0][1] >= 6, within_s=10, what="there are samples to lose")
    before = bed.prometheus.query(samples)[0][1]
    bed.prometheus.kill()
    bed.prometheus.start()
    assert bed.prometheus.query(samples)[0][1] >= before


def test_the_settings_name_the_running_parts(bed: Bed) -> None:
    settings = tomllib.loads(bed.settings.read_text())
    assert settings["people"] == {"qa": ["ana", "bo"], "sre": ["kim"]}
    edge, prometheus = settings["connections"]["edge"], settings["connections"]["prometheus"]
    assert (edge["kind"], prometheus["kind"]) == ("envoy", "prometheus")
    assert httpx.get(f"{edge['admin']}/ready", trust_env=False).text.strip() == "LIVE"
    assert edge["routes"] == str(bed.envoy.routes)
    assert prometheus["url"] == bed.prometheus.url


def _answers(url: str, count: int = 40) -> list[tuple[int, str]]:
    """Status and variation of so many visits of different users."""
    with httpx.Client(trust_env=False) as client:
        visits = [client.get(url, headers={"X-User": f"u{number}"}) for number in range(count)]
    return [(visit.status_code, visit.json()["variation"]) for visit in visits]


def test_a_flag_is_on_for_everybody_and_what_it_turns_on_fails_in_the_candidate_only(tmp_path: Path) -> None:
    with Bed(tmp_path, flag="new-checkout") as bed:
        settings = tomllib.loads(bed.settings.read_text())["connections"]["flags"]
        assert settings == {
            "kind": "flagd",
            "folder": str(bed.flag_file.parent),
            "applications_look_every_s": 0.2,
        }
        assert bed.variations() == {"stable": "on", "canary": "on"}
        bed.fault_of_feature(1.0)
        assert set(_answers(bed.stable.url)) == {(200, "on")}
        assert set(_answers(bed.candidate.url)) == {(500, "on")}
        written = bed.flag_file.read_text(encoding="utf-8")
        off = bed.flag_file.with_name("off.json")
        off.write_text(json.dumps(_switched_off(json.loads(written))), encoding="utf-8")
        off.replace(bed.flag_file)
        both_off = {"stable": "off", "canary": "off"}
        wait_until(lambda: bed.variations() == both_off, within_s=5, what="both shops have seen that the flag is off")
        assert set(_answers(bed.candidate.url)) == {(200, "off")}
        bed.turn_flag_on()
        both_on = {"stable": "on", "canary": "on"}
        wait_until(lambda: bed.variations() == both_on, within_s=5, what="both shops have seen that it is on again")


def _switched_off(document: dict[str, Any]) -> dict[str, Any]:
    flag = document["flags"]["new-checkout"]
    return {"flags": {"new-checkout": {**flag, "targeting": {"if": [False, flag["targeting"], "off"]}}}}


def test_a_bed_without_a_flag_has_none(bed: Bed) -> None:
    assert bed.flag is None
    assert "flags" not in tomllib.loads(bed.settings.read_text())["connections"]
    assert not bed.flag_file.exists()
    with pytest.raises(ValueError, match="this bed has no flag"):
        bed.turn_flag_on()
