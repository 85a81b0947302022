"""A Temporal server that dies and comes back on its database."""

import asyncio
import time

import pytest

from rollout.happened import Phase
from tests.faults.conftest import Begin
from tests.faults.house import ERRORS, LIMIT, House, bake_was_exact, eventually, ladder

pytestmark = pytest.mark.server

BAKE_S = 10.0
OUTAGE_S = 4.0
# The SDK's pollers wait ever longer for a server that is away, at most 10 s: so long the back-filled bake may be known
# to nobody.
POLLERS_PAUSE_S = 10.0


async def test_a_bake_goes_on_while_the_server_is_away(house: House, begin: Begin) -> None:
    run = await begin(ladder((25, f"{BAKE_S:g}s"), (100, "2s")))
    await run.observed(25, 3)
    house.server.kill()
    await asyncio.sleep(OUTAGE_S)  # the length of the outage, not a hope
    house.server.start()
    back_at = time.time()
    bake_was_exact(await run.promoted(), BAKE_S, back_at + POLLERS_PAUSE_S)
    assert run.log.percents == [0, 25, 100]
    assert run.visitors().dropped_requests == 0


async def test_a_breach_while_the_server_is_away_is_acted_on_when_it_is_back(house: House, begin: Begin) -> None:
    run = await begin(ladder((25, "30s"), (100, "2s")))
    await run.observed(25, 1)
    house.server.kill()
    house.bed.fault(0.5)
    lasting = f"min_over_time(({ERRORS})[3s:1s]) > {LIMIT}"
    await eventually("the errors have lasted long enough to be a breach", lambda: house.bed.prometheus.query(lasting))
    house.server.start()
    back_at = time.time()
    result = await run.went_back(Phase.ROLLED_BACK)
    assert result.gate == "errors"
    assert run.log.percents == [0, 25, 0]
    print(f"0 % was written {run.log.changes[-1][0] - back_at:.1f} s after the server's return")
    assert run.visitors().dropped_requests == 0
