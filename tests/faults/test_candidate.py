"""A candidate that dies: nobody counts its errors any more, and silence is not health.

The worst is a gate that looks back far: for as long as its window it goes on answering what was true before. What tells
the truth is the router, which counts the healthy members of each pool.
"""

import pytest

from rollout.happened import Phase
from tests.faults.conftest import Begin
from tests.faults.house import ERRORS, WINDOW_S, House, ladder

pytestmark = pytest.mark.server

PATIENT = {"no_data": {"hold": "1h", "then": "hold"}}  # it is the death that sends it back, not the silence
DEAD = "no member of the candidate pool is healthy"


async def test_a_candidate_that_dies_is_taken_out_of_the_traffic(house: House, begin: Begin) -> None:
    run = await begin(ladder((25, "30s"), (100, "2s"), policy=PATIENT))
    await run.observed(25, 1)
    house.bed.candidate.kill()
    result = await run.went_back(Phase.ROLLED_BACK)
    print(result.reason, run.visitors().dropped)
    assert DEAD in result.reason
    assert run.log.percents == [0, 25, 0]


async def test_a_candidate_that_dies_at_the_end_is_not_promoted_on_the_memory_of_its_gate(
    house: House, begin: Begin
) -> None:
    article = ERRORS.replace(f"[{WINDOW_S}s]", "[5m]")  # as it stands in the article: blind for minutes
    run = await begin(ladder((25, "2s"), (100, "6s"), query=article, policy=PATIENT))
    await run.observed(100, 1)
    house.bed.candidate.kill()
    result = await run.went_back(Phase.ROLLED_BACK)
    print(result.stages[1].gates, run.visitors().dropped)
    assert DEAD in result.reason
    assert run.log.percents == [0, 25, 100, 0]
