"""Alerting rules of a real Prometheus: the article's, one that fires, one that waits, one that cannot be evaluated."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from activities.metrics import source_for
from activities.metrics.prometheus import PrometheusConnection, PrometheusSource
from rollout.errors import MetricsUnavailable
from rollout.gates.alert import AlertGate
from rollout.judge.alert import chosen, firing_before, judged
from rollout.judge.threshold import Tick
from testbed.processes import LOOPBACK, wait_until
from testbed.programs import Shop
from testbed.prometheus import RULES, Prometheus

pytestmark = pytest.mark.server

PAGE = {"action": "page"}
MORE: dict[str, Any] = {
    "name": "more",
    "rules": [
        {"alert": "Up", "expr": 'up{job="shop"} == 1', "labels": {"service": "checkout"}, "annotations": PAGE},
        {"alert": "Waits", "expr": "sum(up) > 0", "for": "1h"},
        {"alert": "Clashes", "expr": 'label_replace(up, "instance", "same", "job", ".*")', "annotations": PAGE},
        {"record": "job:up:sum", "expr": "sum(up)"},
    ],
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    rules = folder / "more-rules.yml"
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rules.write_text(yaml.safe_dump({"groups": [*groups, MORE]}), encoding="utf-8")
    one, two = Shop(folder, version="stable"), Shop(folder, version="canary")
    server = Prometheus(folder, targets={"shop": [f"{LOOPBACK}:{shop.port}" for shop in (one, two)]}, rules=rules)
    with one, two, server:
        wait_until(
            lambda: bool(server.query('job:up:sum == 2 and on() count(ALERTS{alertname="Up"}) == 2')),
            within_s=20,
            what="rules about both shops",
            child=server.child,
        )
        yield server


@pytest.fixture
def source(prometheus: Prometheus) -> Iterator[PrometheusSource]:
    with ThreadPoolExecutor(2) as threads:
        source = source_for(PrometheusConnection(url=prometheus.url), threads)
        yield source
        source.close()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def asked(source: PrometheusSource, gate: AlertGate) -> Tick:
    return judged(gate, await source.alerts(), now_ms())


async def test_the_articles_rule_is_there_and_found_by_its_annotation(source: PrometheusSource) -> None:
    rules = await source.alerts()
    for gate in (AlertGate(name="CanaryHighErrorRate"), AlertGate(annotation={"action": "auto_rollback"})):
        [rule] = chosen(gate, rules)
        assert (rule.name, rule.group, rule.health) == ("CanaryHighErrorRate", "canary", "ok")
        assert (rule.labels, rule.annotations) == ({"severity": "critical"}, {"action": "auto_rollback"})
        assert judged(gate, rules, now_ms()) == Tick({"": 0.0}, said="CanaryHighErrorRate does not fire")
        assert firing_before(gate, rules, now_ms()) is None


async def test_what_fires_is_bad_and_blocks_a_start(source: PrometheusSource) -> None:
    tick = await asked(source, AlertGate(name="Up", labels={"service": "checkout"}))
    assert list(tick.vector.values()) == [1.0, 1.0]
    assert all('alertname="Up"' in labels and "instance=" in labels for labels in tick.vector)
    assert tick.excuses == {}
    assert tick.said.startswith("Up {instance=")
    said = firing_before(AlertGate(name="Up"), await source.alerts(), now_ms())
    assert said is not None
    assert "is already firing, active for " in said


async def test_the_time_since_is_the_server_s(source: PrometheusSource) -> None:
    [rule] = chosen(AlertGate(name="Up"), await source.alerts())
    assert all(0 <= now_ms() - alert.since_ms < 300_000 for alert in rule.alerts)


async def test_what_is_pending_is_undecided(source: PrometheusSource) -> None:
    tick = await asked(source, AlertGate(name="Waits"))
    assert list(tick.vector.values()) == [1.0]
    assert [excuse.decided for excuse in tick.excuses.values()] == [False]
    assert firing_before(AlertGate(name="Waits"), await source.alerts(), now_ms()) is None


async def test_a_rule_in_error_is_no_data_with_the_server_s_words(source: PrometheusSource) -> None:
    tick = await asked(source, AlertGate(name="Clashes"))
    assert tick.vector == {}
    assert tick.said.startswith("Clashes cannot be evaluated: ")
    assert "same labelset" in tick.said


async def test_a_rule_in_error_does_not_silence_what_fires_beside_it(source: PrometheusSource) -> None:
    assert (await asked(source, AlertGate(annotation=PAGE))).vector


async def test_a_recording_rule_is_no_alert_and_an_unknown_name_is_no_data(source: PrometheusSource) -> None:
    for name in ("job:up:sum", "CanaryHighErorRate"):
        tick = await asked(source, AlertGate(name=name))
        assert tick == Tick({}, said=f"the metrics server has no alerting rule that is named {name}")


async def test_who_asks_at_the_same_time_shares_the_answer(
    source: PrometheusSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, send = [], source._client.send

    def counted(*asked: Any) -> Any:
        sent.append(asked)
        return send(*asked)

    monkeypatch.setattr(source._client, "send", counted)
    one, two = await asyncio.gather(source.alerts(), source.alerts())
    assert one == two
    assert len(sent) == 1


async def test_a_frozen_server_is_no_data(prometheus: Prometheus) -> None:
    with ThreadPoolExecutor(1) as threads:
        source = source_for(PrometheusConnection(url=prometheus.url, timeout_s=0.3), threads)
        prometheus.pause()
        try:
            with pytest.raises(MetricsUnavailable, match=r"0\.3 s"):
                await source.alerts()
        finally:
            prometheus.resume()
        source.close()
