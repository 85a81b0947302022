"""A Prometheus that hangs, dies and comes back: silence is not health, and no reason to blame anybody either."""

import time

import pytest

from rollout.happened import Phase
from tests.faults.conftest import Begin
from tests.faults.house import POLL_S, WINDOW_S, House, bake_took_s, ladder

pytestmark = pytest.mark.server

BAKE_S = 8.0


async def test_a_healthy_candidate_is_not_blamed_for_a_prometheus_that_hangs_and_dies(
    house: House, begin: Begin
) -> None:
    run = await begin(ladder((25, f"{BAKE_S:g}s"), (50, "4s"), (100, "2s")))
    seen = await run.observed(25, 2)
    house.bed.prometheus.pause()
    paused_at = time.time()
    blind = await run.until("it is said that health cannot be seen", lambda status: status.progress.blind)
    assert blind.phase is Phase.BAKING
    assert "bake clock stopped, health cannot be seen: gate errors: " in blind.details
    assert (await run.blind_for("gate errors")).observed_s <= seen.observed_s + 2 * POLL_S, "the clock stands still"
    house.bed.prometheus.resume()
    gone_s = time.time() - paused_at
    await run.until("it is seen again", lambda status: status.progress.blind is None)

    await run.observed(50, 1)
    house.bed.prometheus.kill()
    await run.blind_for("gate errors")
    house.bed.prometheus.start()
    result = await run.promoted()
    stage = result.stages[0]
    print(f"away for {gone_s:.1f} s; a bake of {BAKE_S:g} s took {bake_took_s(stage):.1f} s, observed {stage.baked}")
    assert abs(stage.baked.total_seconds() - BAKE_S) <= POLL_S
    assert bake_took_s(stage) >= BAKE_S + gone_s - WINDOW_S - 2 * POLL_S, "what nobody measured is no bake"
    assert list(result.percents_seen) == [25, 50, 100]
    assert run.visitors().dropped_requests == 0


async def test_a_prometheus_that_stays_away_sends_the_traffic_back_and_names_the_gate(
    house: House, begin: Begin
) -> None:
    run = await begin(ladder((25, "30s"), (100, "2s"), policy={"no_data": {"hold": "3s", "then": "rollback"}}))
    await run.observed(25, 1)
    house.bed.prometheus.kill()
    result = await run.went_back(Phase.ROLLED_BACK)
    print(result.reason)
    assert result.reason.startswith("no data: gate errors, for ")
    assert "refused" in result.reason
    assert run.log.percents == [0, 25, 0]
    assert run.visitors().dropped_requests == 0
