"""The recorded answers in `envoy/` are what adapters are tested with, so they are checked against the real Envoy."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from testbed.bed import Bed
from testbed.processes import wait_until
from tests.testbed.routes import replace_routes

pytestmark = pytest.mark.server

SAMPLES = Path(__file__).with_name("envoy")
RDS = r"http\.ingress\.rds\.checkout\."


def _sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def _ask(bed: Bed, path: str) -> Any:
    return httpx.get(bed.envoy.admin_url + path, trust_env=False).raise_for_status().json()


def _dump(bed: Bed) -> Any:
    return _ask(bed, "/config_dump?resource=dynamic_route_configs")["configs"][0]


def _stats(answer: Any) -> dict[str, Any]:
    return {entry["name"].rpartition(".")[2]: entry["value"] for entry in answer["stats"] if "value" in entry}


def _live_stats(bed: Bed) -> dict[str, Any]:
    return _stats(_ask(bed, f"/stats?format=json&filter={RDS}"))


@pytest.fixture(autouse=True)
def _back_to_stable(bed: Bed) -> Iterator[None]:
    yield
    replace_routes(bed.envoy, percent=0)


@pytest.mark.parametrize(
    "name", ["seed", "weighted_headers_metadata", "weight_zero", "weight_hundred", "unknown_cluster"]
)
def test_a_recorded_dump_comes_back_word_for_word_when_its_routes_are_loaded(bed: Bed, name: str) -> None:
    (recorded,) = _sample(f"config_dump_{name}")["configs"]
    version = f"again-{name}"
    # Metadata makes it a new resource, whatever was loaded before: see the next test.
    replace_routes(bed.envoy, percent=33)
    wait_until(lambda: "weighted_clusters" in str(_dump(bed)), within_s=5, what="other routes are in force")
    replace_routes(bed.envoy, configuration=recorded["route_config"], version=version)
    wait_until(lambda: _dump(bed).get("version_info") == version, within_s=5, what="the routes are in force")
    live = _dump(bed)
    assert live["route_config"] == recorded["route_config"]
    assert live.keys() == recorded.keys()


def test_the_same_routes_with_a_new_version_change_the_version_text_only(bed: Bed) -> None:
    replace_routes(bed.envoy, percent=10, version="first")
    wait_until(lambda: _dump(bed).get("version_info") == "first", within_s=5, what="the routes are in force")
    replace_routes(bed.envoy, percent=10, version="second")
    wait_until(lambda: _live_stats(bed)["version_text"] == "second", within_s=5, what="the file is read")
    assert _dump(bed)["version_info"] == "first"
    replace_routes(bed.envoy, percent=10, version="third", metadata={"sluice": {"epoch": 3}})
    wait_until(lambda: _dump(bed).get("version_info") == "third", within_s=5, what="new metadata is a new resource")


@pytest.mark.parametrize(("name", "text"), [("cut", '{"version_info": '), ("empty", "")])
def test_a_broken_file_is_counted_and_changes_nothing(bed: Bed, name: str, text: str) -> None:
    replace_routes(bed.envoy, percent=20, version=name, metadata={"test": {"name": name}})
    wait_until(lambda: _dump(bed).get("version_info") == name, within_s=5, what="the routes are in force")
    before, routes = _live_stats(bed), _dump(bed)
    replace_routes(bed.envoy, text=text)
    failures = before["update_failure"] + 1
    wait_until(lambda: _live_stats(bed)["update_failure"] == failures, within_s=5, what="the file is refused")
    assert _dump(bed) == routes
    assert _live_stats(bed)["version_text"] == name
    assert _live_stats(bed).keys() == _stats(_sample("stats_rds_failed")).keys()


def test_all_zero_weights_are_rejected(bed: Bed) -> None:
    before = _live_stats(bed)
    clusters = [{"name": f"checkout-{pool}", "weight": 0} for pool in ("stable", "candidate")]
    replace_routes(bed.envoy, route={"weighted_clusters": {"clusters": clusters}})
    wait_until(
        lambda: _live_stats(bed)["update_rejected"] == before["update_rejected"] + 1, within_s=5, what="it is rejected"
    )
    assert _live_stats(bed).keys() == _stats(_sample("stats_rds_rejected")).keys()


def _health(answer: Any) -> dict[str, Any]:
    return {
        cluster["name"]: [host["health_status"] for host in cluster["host_statuses"]]
        for cluster in answer["cluster_statuses"]
    }


def test_health_looks_as_recorded_with_both_shops_and_without_the_candidate(bed: Bed) -> None:
    clusters = "/clusters?format=json"
    wait_until(
        lambda: _health(_ask(bed, clusters)) == _health(_sample("clusters_healthy")), within_s=5, what="all is well"
    )
    live, recorded = (answer["cluster_statuses"][0] for answer in (_ask(bed, clusters), _sample("clusters_healthy")))
    assert live.keys() == recorded.keys()
    assert live["host_statuses"][0].keys() == recorded["host_statuses"][0].keys()
    bed.candidate.kill()
    try:
        wait_until(
            lambda: _health(_ask(bed, clusters)) == _health(_sample("clusters_candidate_down")),
            within_s=5,
            what="Envoy has noticed the candidate's death",
        )
    finally:
        bed.candidate.start()
