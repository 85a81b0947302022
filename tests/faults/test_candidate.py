"""A candidate that dies: then nobody counts its errors any more, and silence is not health."""

import pytest

from rollout.progress import Phase
from tests.faults.conftest import Begin
from tests.faults.house import House, ladder

pytestmark = pytest.mark.server


async def test_a_candidate_that_dies_is_never_promoted(house: House, begin: Begin) -> None:
    run = await begin(ladder((25, "30s"), (100, "2s"), policy={"no_data": {"hold": "2s", "then": "rollback"}}))
    await run.observed(25, 1)
    house.bed.candidate.kill()
    result = await run.went_back(Phase.ROLLED_BACK)
    print(result.reason)
    assert result.percents_seen == (25, 0)
    print(run.visitors().dropped)
