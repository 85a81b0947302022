"""Counts under faults: whatever dies, every request is counted once, nobody is blamed and nothing passes unseen.

What was counted is compared with what Prometheus itself holds for the same time, read in another way.
"""

import httpx
import pytest

from rollout import names
from rollout.happened import Phase
from rollout.judge.verdict import GateState, Verdict
from tests.faults.conftest import Begin
from tests.faults.house import House, Running, ladder, seen

pytestmark = pytest.mark.server

ERRORS = {
    "kind": "error-ratio",
    "requests": 'http_requests_total{service="checkout"}',
    "errors": 'http_requests_total{service="checkout",status=~"5.."}',
}
PATIENT = {"no_data": {"hold": "1h", "then": "hold"}}
LONG = ((25, "1h"), (100, "2s"))


async def test_a_worker_that_is_killed_again_and_again_counts_every_request_once(house: House, begin: Begin) -> None:
    run = await begin(ladder(*LONG, gates={"errors": ERRORS}))
    await run.observed(25, 2)
    for _ in range(3):
        house.worker.kill()
        noticed = await run.waiting_for(names.WATCH_HEALTH, attempt=2)
        house.worker.start()
        again = await run.beats(after=noticed.beat_at)
        await run.beats(after=again.beat_at + 1)
    state = await _ended(run)
    assert _counted(state) == _held(house, state)


async def test_a_candidate_that_restarts_begins_its_counters_anew_and_no_count_is_lost_or_doubled(
    house: House, begin: Begin
) -> None:
    run = await begin(ladder(*LONG, gates={"errors": ERRORS}, policy=PATIENT))
    await run.observed(25, 3)
    before = _state(await run.glimpse())
    house.bed.candidate.stop()
    house.bed.candidate.start()
    after = await seen(
        "the candidate counts again",
        run.glimpse,
        lambda now: (
            now.watching is not None
            and (known := now.watching.states["errors"].evidence) is not None
            and before.evidence is not None
            and known.total.n_c > before.evidence.total.n_c + 50
        ),
    )
    assert after.phase == Phase.BAKING
    state = await _ended(run)
    n_c, x_c, n_b, x_b = _counted(state)
    served = run.visitors().versions
    assert n_c <= served["canary"]
    assert n_b <= served["stable"]
    assert 0 <= x_c <= n_c
    assert 0 <= x_b <= n_b


async def test_a_dead_prometheus_stops_the_bake_and_what_it_holds_afterwards_is_counted(
    house: House, begin: Begin
) -> None:
    run = await begin(ladder(*LONG, gates={"errors": ERRORS}, policy=PATIENT))
    await run.observed(25, 2)
    house.bed.prometheus.kill()
    await run.blind_for("gate errors")
    house.bed.prometheus.start()
    before = _state(await run.glimpse())
    await seen(
        "it counts again",
        run.glimpse,
        lambda now: now.watching is not None and not now.watching.unseen and _total(_state(now)) > _total(before),
    )
    state = await _ended(run)
    assert state.verdict is not Verdict.BREACHED
    assert _counted(state) == _held(house, state)


async def test_a_candidate_that_fails_is_caught_by_its_counts_while_workers_die(house: House, begin: Begin) -> None:
    run = await begin(ladder(*LONG, gates={"errors": ERRORS}))
    await run.observed(25, 2)
    house.bed.fault(0.5)
    house.worker.kill()
    await run.waiting_for(names.WATCH_HEALTH, attempt=2)
    house.worker.start()
    result = await run.went_back(Phase.ROLLED_BACK)
    assert result.gate == "errors"
    assert "stable" in result.reason
    assert run.visitors().dropped_requests == 0


def _state(glimpse: object) -> GateState:
    watching = getattr(glimpse, "watching", None)
    assert watching is not None
    state: GateState = watching.states["errors"]
    return state


def _total(state: GateState) -> int:
    return state.evidence.total.n_b if state.evidence else 0


async def _ended(run: Running) -> GateState:
    """Hold it, which folds what its watch knew, then abort it; hands that out."""
    await run.handle.signal(names.HOLD)
    held = await run.until(
        "it is held", lambda status: status.phase is Phase.HELD and "errors" in status.progress.gates
    )
    await run.handle.signal(names.ABORT)
    await run.went_back(Phase.ABORTED)
    return held.progress.gates["errors"]


def _counted(state: GateState) -> tuple[int, int, int, int]:
    """What the gate has counted, the unfinished batch included."""
    assert state.evidence
    assert state.counters
    n_c, x_c, n_b, x_b = (a + b for a, b in zip(state.evidence.total, state.counters.rest, strict=True))
    return n_c, x_c, n_b, x_b


def _held(house: House, state: GateState) -> tuple[int, int, int, int]:
    """What Prometheus holds: last value until the gate's time less last value at its start, without resets."""
    assert state.counters
    start, end = state.counters.since_ms / 1000, state.counters.at_ms / 1000
    found = []
    for version in ("canary", "stable"):
        for status in ("", ',status=~"5.."'):
            selector = f'http_requests_total{{version="{version}"{status}}}'
            found.append(round(_sum(house, selector, end) - _sum(house, selector, start)))
    return found[0], found[1], found[2], found[3]


def _sum(house: House, selector: str, at: float) -> float:
    answer = httpx.get(
        f"{house.bed.prometheus.url}/api/v1/query",
        params={"query": f"sum({selector})", "time": f"{at:.3f}"},
        trust_env=False,
    )
    return float(answer.json()["data"]["result"][0]["value"][1])
