"""`plan --prometheus`: what each bake can see, asked of the metrics servers before anything is started."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from starter import asking
from tests.fakes.connections import FakeConnections
from tests.fakes.metrics import FakeMetrics
from tests.starter.typing_it import typed

SPEC: dict[str, Any] = {
    "service": "checkout",
    "environment": "prod",
    "release": {"candidate": "2", "stable": "1"},
    "strategy": {"stages": [{"percent": 5, "bake": "1h"}, {"percent": 50, "bake": "1h"}, {"percent": 100}]},
    "routes": [{"kind": "envoy", "connection": "edge-1", "service": "checkout"}],
    "gates": {
        "errors": {"kind": "error-ratio", "requests": "requests_total", "errors": "errors_total"},
        "rule": {"query": 'a{b="c"}', "above": 1},
    },
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeMetrics:
    """Two pods of stable have counted 350 requests a minute together for six hours, 0.5 % of them errors."""
    found, began_ms = FakeMetrics(), time.time_ns() // 1_000_000 - 6 * 3_600_000

    def grow(a_minute: float, at_ms: int) -> float:
        return float(round(max(0, at_ms - began_ms) / 60_000 * a_minute))

    for pod in ("a", "b"):
        for name, a_minute in (("requests_total", 175), ("errors_total", 0.875)):
            found.count(name, partial(grow, a_minute), scrape_ms=15_000, version="stable", instance=pod, job="shop")

    @asynccontextmanager
    async def connected(_settings: object) -> AsyncIterator[FakeConnections]:
        yield FakeConnections(sources={"prometheus": found})

    monkeypatch.setattr(asking, "connected", connected)
    return found


def planned(folder: Path, *words: str, **gate: Any) -> Any:
    gates = {**SPEC["gates"], "errors": {**SPEC["gates"]["errors"], **gate}}
    (folder / "spec.json").write_text(json.dumps({**SPEC, "gates": gates}), encoding="utf-8")
    return typed("plan", folder / "spec.json", *words)


def test_each_stage_says_what_its_bake_sees_and_how_bursty_stable_is(tmp_path: Path, server: FakeMetrics) -> None:
    answer = planned(tmp_path, "--prometheus", "--json")
    assert answer.code == 0, answer.err
    judged = json.loads(answer.out)["judged"]["errors"]
    assert [each["stage"] for each in judged["sees"]] == ["5 %", "50 %"], "at 100 % there is nothing to compare with"
    assert judged["sees"][0]["ratio"] > judged["sees"][1]["ratio"] > 1.25
    assert judged["sees"][0]["per_second"] == pytest.approx(350 / 60, rel=0.01)
    assert judged["sees"][0]["usual"] == pytest.approx(0.005, rel=0.02)
    assert "of 2 pods" in judged["dispersion"]
    assert judged["problem"] is None


def test_a_person_reads_it_beside_the_stages(tmp_path: Path, server: FakeMetrics) -> None:
    answer = planned(tmp_path, "--prometheus", dispersion=1)
    assert answer.code == 0, answer.err
    assert "350 requests/min, 0.5 %" in " ".join(answer.out.split())
    assert "dispersion 1, given in the spec" in answer.out


def test_a_gate_that_could_not_see_anything_is_told_and_the_command_fails(tmp_path: Path, server: FakeMetrics) -> None:
    answer = planned(tmp_path, "--prometheus", versions={"stable": "live"})
    assert answer.code == 1
    assert 'has version="live"; its values are stable' in " ".join(answer.out.split())


def test_without_being_told_no_server_is_asked(tmp_path: Path, server: FakeMetrics) -> None:
    assert "judged" not in json.loads(planned(tmp_path, "--json").out)
    assert server.asked == []


def test_a_server_that_does_not_answer_is_a_sentence(tmp_path: Path, server: FakeMetrics) -> None:
    server.reachable = False
    answer = planned(tmp_path, "--prometheus")
    assert (answer.code, answer.out) == (1, "")
    assert "does not answer" in answer.err
