"""An Envoy that dies: the weights are a file, so they outlive it, and nothing is believed until it is back."""

import time

import pytest

from rollout import names
from rollout.happened import Phase
from tests.faults.conftest import Begin
from tests.faults.house import House, eventually, ladder

pytestmark = pytest.mark.server

ROUTE = "envoy edge/checkout"


async def test_an_envoy_that_is_killed_in_a_bake_comes_back_with_its_weights(house: House, begin: Begin) -> None:
    run = await begin(ladder((25, "8s"), (100, "2s")))
    await run.observed(25, 1)
    house.bed.envoy.kill()
    seen = await run.blind_for(ROUTE)
    print(seen.unseen[ROUTE])
    house.bed.envoy.start()

    def shared() -> bool:
        return 0.1 < run.load.report().share("canary", seconds=2) < 0.45

    await eventually("a quarter of the visitors is on the candidate again", shared)
    assert list((await run.promoted()).percents_seen) == [25, 100]
    assert run.log.percents == [0, 25, 100]


async def test_a_rollback_without_an_envoy_is_stuck_until_it_is_back_and_then_proven(
    house: House, begin: Begin
) -> None:
    run = await begin(ladder((25, "30s"), (100, "2s"), policy={"alarm_after": "2s", "prove_within": "2s"}))
    await run.observed(25, 0)
    house.bed.envoy.kill()
    await run.handle.signal(names.ABORT)
    stuck = await run.until("it is stuck", lambda status: status.phase is Phase.STUCK)
    assert "0 % could not be proven" in stuck.details
    assert stuck.percent == 25, "what is not proven is not said"
    assert house.percent() == 0, "but it is written, for whenever Envoy reads it"
    house.bed.envoy.start()
    back_at = time.time()
    result = await run.went_back(Phase.ABORTED)
    print(f"proven and ended {result.ended_at.timestamp() - back_at:.1f} s after Envoy's return")
    assert list(result.percents_seen) == [25, 0]
    assert run.log.percents == [0, 25, 0]
