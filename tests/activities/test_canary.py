"""A `kayenta` gate, from its PromQL to the verdict, on a metrics server in memory and a clock of our own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import nan
from typing import Any

import pytest

from activities import asking
from activities.canary import _AT_ONCE
from activities.preflight import PreflightActivities
from rollout import watch
from rollout.errors import MetricsUnavailable, Misconfigured, Refused
from rollout.gates import KayentaGate
from rollout.judge.threshold import Vector
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import PlanRollout, Watched, WatchHealth, Watching
from rollout.plan import Plan
from tests.fakes.connections import FakeConnections
from tests.fakes.metrics import FakeMetrics
from tests.fakes.router import FakeRouter
from tests.rollout.given import MINUTE, NOW_MS, OWNER, ladder, spec
from tests.rollout.watches import POLL_MS, order

NOISE = (3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0)
CANDIDATE, STABLE = 'p99{version="canary"}', 'p99{version="stable"}'
METRIC = {"name": "latency", "candidate": CANDIDATE, "stable": STABLE, "direction": "increase"}


@dataclass
class Store(FakeMetrics):
    """A metrics server whose answer depends on the query.

    Attributes:
        series: query → value at a minute since the stage began; without one it answers nothing.
        queries: every query, with its evaluation times in minutes since then.
    """

    series: dict[str, Callable[[int], float | Vector]] = field(default_factory=dict)
    queries: list[tuple[str, range]] = field(default_factory=list)

    async def evaluate(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> dict[int, Vector]:
        """See `ports.MetricSource.evaluate`."""
        times = await super().evaluate(query, start_ms, end_ms, step_ms)
        self.queries.append((query, range((start_ms - NOW_MS) // 60_000, (end_ms - NOW_MS) // 60_000 + 1)))
        said = {at: self.series[query]((at - NOW_MS) // 60_000) if query in self.series else {} for at in times}
        return {at: value if isinstance(value, dict) else {"": value} for at, value in said.items()}


def around(level: float, shift: int = 0) -> Callable[[int], float]:
    return lambda minute: level + NOISE[(minute + shift) % len(NOISE)]


def store(candidate: float = 0, stable: float = 0) -> Store:
    return Store(series={CANDIDATE: around(candidate), STABLE: around(stable, 3)})


def gate(**changes: Any) -> KayentaGate:
    return KayentaGate.model_validate({"metrics": [METRIC]} | changes)


def watched(asked: KayentaGate, **changes: Any) -> WatchHealth:
    return order(gates={"canary": asked}, bake=60 * MINUTE, arrived_ms=NOW_MS, routes=spec().routes, **changes)


async def poll(server: Store, wanted: WatchHealth, state: GateState, minute: float) -> GateState:
    connections = FakeConnections(sources={"prometheus": server})
    return await asking.asked(connections, wanted, "canary", state, NOW_MS + round(minute * 60_000))


async def play(server: Store, wanted: WatchHealth, minutes: float) -> tuple[Watched | None, float]:
    """Poll regularly until the watch ends: why it ended, and at which minute."""
    state = watch.begin(wanted).states["canary"]
    for number in range(1, round(minutes * 60_000 / POLL_MS) + 1):
        minute = number * POLL_MS / 60_000
        state = await poll(server, wanted, state, minute)
        now_ms = NOW_MS + number * POLL_MS
        watching = Watching(states={"canary": state}, watermark_ms=now_ms)
        watching = watching.model_copy(update={"unseen": watch.unseen(wanted, watching, {}, now_ms)})
        if (ended := watch.conclude(wanted, watching, None, now_ms)) is not None:
            return ended, minute
    return None, minutes


# ── Watching ────────────────────────────────────────────────────────────────────────────────────


async def test_a_bad_candidate_is_sent_back_at_the_first_judgement() -> None:
    ended, minute = await play(store(candidate=20), watched(gate()), 70)
    assert ended is not None
    assert (ended.why, ended.gate, minute) == ("breached", "canary", 20)
    assert ended.reason.startswith("score 0 in judgement 1 of 3, 20m into the stage: latency (high: shift ")


async def test_a_good_one_passes_only_at_the_end() -> None:
    server = store()
    ended, minute = await play(server, watched(gate()), 70)
    assert ended is not None
    assert (ended.why, minute) == ("baked", 60)
    assert server.queries == [(each, range(end)) for end in (20, 40, 60) for each in (CANDIDATE, STABLE)]


async def test_a_warm_up_keeps_the_stage_until_its_last_judgement() -> None:
    ended, minute = await play(store(), watched(gate(warm_up="5m")), 70)
    assert ended is not None
    assert (ended.why, minute) == ("baked", 65)


async def test_no_data_stops_the_clock_and_then_it_is_policy_s_turn() -> None:
    ended, minute = await play(Store(), watched(gate(), announced_blind=None), 70)
    assert ended is not None
    assert (ended.why, minute) == ("no-data", 25)
    assert ended.watching.states["canary"].observed_ms < 20 * 60_000


async def test_nan_is_no_data_too() -> None:
    server = Store(series={CANDIDATE: lambda _: nan, STABLE: lambda _: nan})
    assert (await poll(server, watched(gate()), GateState(watermark_ms=NOW_MS), 20)).verdict is Verdict.NO_DATA


async def test_a_worker_that_was_away_makes_its_judgements_in_order_from_the_stored_series() -> None:
    wanted = watched(gate())
    regular, away = (GateState(watermark_ms=NOW_MS) for _ in range(2))
    for minute in range(1, 61):
        regular = await poll(store(), wanted, regular, minute)
    away = await poll(store(), wanted, away, 60)
    assert (away.canary, away.verdict, away.sentence) == (regular.canary, Verdict.HEALTHY, regular.sentence)
    assert (watch.conclude(wanted, Watching(states={"canary": away}, watermark_ms=away.watermark_ms), None, 0)) is None


async def test_a_worker_that_was_away_stops_at_the_judgement_that_would_have_stopped_it() -> None:
    server = store(candidate=20)
    state = await poll(server, watched(gate()), GateState(watermark_ms=NOW_MS), 60)
    assert state.verdict is Verdict.BREACHED
    assert len(server.queries) == 2


async def test_while_held_nothing_is_asked() -> None:
    wanted = watched(gate())
    healthy = await poll(store(), wanted, GateState(watermark_ms=NOW_MS), 60)
    server = store(candidate=20)
    after = await poll(server, wanted.model_copy(update={"bake": None}), healthy, 90)
    assert (after.verdict, server.queries) == (Verdict.HEALTHY, [])


async def test_a_server_that_does_not_answer_costs_no_judgement() -> None:
    wanted, server = watched(gate()), store()
    before = await poll(server, wanted, GateState(watermark_ms=NOW_MS), 19)
    server.reachable = False
    with pytest.raises(MetricsUnavailable):
        await poll(server, wanted, before, 20)
    server.reachable = True
    after = await poll(server, wanted, before, 21)
    assert after.canary is not None
    assert after.canary.done == 1


async def test_several_series_are_refused_with_the_way_out() -> None:
    pods: Vector = {'{pod="a"}': 1.0, '{pod="b"}': 2.0}
    server = Store(series={CANDIDATE: lambda _: pods, STABLE: around(0)})
    with pytest.raises(Misconfigured) as refused:
        await poll(server, watched(gate()), GateState(watermark_ms=NOW_MS), 20)
    assert str(refused.value) == (
        'metric latency: the query about the candidate answers 2 series, such as {pod="a"}; '
        "aggregate in the query: sum(…), avg(…)"
    )


async def test_one_series_may_have_labels_and_holes() -> None:
    def holes(minute: int) -> Vector:
        return {'{version="canary"}': around(20)(minute)} if minute % 2 else {}

    server = Store(series={CANDIDATE: holes, STABLE: around(0)})
    assert (await poll(server, watched(gate()), GateState(watermark_ms=NOW_MS), 20)).verdict is Verdict.BREACHED


async def test_many_metrics_are_not_asked_all_at_once() -> None:
    @dataclass
    class Busy(Store):
        now: int = 0
        most: int = 0

        async def evaluate(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> dict[int, Vector]:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0)
            self.now -= 1
            return await super().evaluate(query, start_ms, end_ms, step_ms)

    server = Busy(series=store().series)
    many = gate(metrics=[METRIC | {"name": f"m{number}"} for number in range(50)])
    state = await poll(server, watched(many), GateState(watermark_ms=NOW_MS), 20)
    assert state.canary is not None
    assert (len(state.canary.labels), server.most) == (50, 2 * _AT_ONCE)


# ── Preflight ───────────────────────────────────────────────────────────────────────────────────


async def looked(server: Store, asked: KayentaGate, bake: str = "1h") -> Plan:
    wanted = spec(
        gates={"canary": asked.model_dump(mode="json", by_alias=True)},
        strategy=ladder({"name": "half", "percent": 50, "bake": bake}, {"percent": 100, "bake": "1m"}),
        requested_by="cleo",
    )
    connections = FakeConnections(
        routers={"edge-1": FakeRouter("edge-1")},
        sources={"prometheus": server},
        groups={"qa": ("ana",)},
    )
    return await PreflightActivities(connections).plan_rollout(PlanRollout(spec=wanted, owner=OWNER))


async def refusal(server: Store, asked: KayentaGate, bake: str = "1h") -> str:
    with pytest.raises(Refused) as refused:
        await looked(server, asked, bake)
    return str(refused.value)


async def test_preflight_finds_nothing_wrong_with_what_answers() -> None:
    only_stable = Store(series={STABLE: around(0)})  # the candidate has no traffic yet
    for server in (store(), only_stable):
        assert (await looked(server, gate(step="15s"))).notes == ()


async def test_preflight_remarks_what_will_not_be_judged_or_does_not_answer() -> None:
    notes = (await looked(Store(series={CANDIDATE: around(0)}), gate(), "50m")).notes
    assert notes == (
        "gate canary: stage half: its first judgement has 20 points a side; Kayenta asks for 50",
        "gate canary: stage half: the last 10m of a bake of 50m are never judged",
        "gate canary: answers nothing for stable yet: latency",
    )


async def test_preflight_refuses_what_could_never_be_judged() -> None:
    misspelt = store()
    misspelt.unknown = ("p99",)
    assert "gate canary: no series is named p99; a misspelt metric" in await refusal(misspelt, gate())
    wrong = store()
    wrong.broken = "unknown function ratee()"
    assert "unknown function ratee()" in await refusal(wrong, gate())
    pods: Vector = {'{pod="a"}': 1.0, '{pod="b"}': 2.0}
    several = Store(series={STABLE: lambda _: pods})
    assert "the query about stable answers 2 series" in await refusal(several, gate())
    assert "stage half: step 1s makes 18000 points a side" in await refusal(store(), gate(step="1s"), "5h")
