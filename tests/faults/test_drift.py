"""Somebody edits the weights by hand in the middle of a bake."""

import pytest

from rollout import names
from rollout.happened import Phase
from rollout.status import RolloutStatus
from tests.faults import route_log
from tests.faults.conftest import Begin
from tests.faults.house import POLL_S, House, Running, ladder

pytestmark = pytest.mark.server


async def test_a_hand_edit_holds_the_rollout_and_resume_puts_it_right(house: House, begin: Begin) -> None:
    run = await begin(ladder((25, "4s"), (100, "2s")))
    await held_by_a_hand_edit(house, run)
    assert house.percent() == 40, "nobody fights with whoever did it"
    await run.handle.execute_update(names.RESUME, {"by": "ana"})
    result = await run.promoted()
    assert list(result.percents_seen) == [25, 100], "a foreign value is never adopted"
    assert run.log.percents == [0, 25, 40, 25, 100]
    assert run.visitors().dropped_requests == 0


async def test_an_abort_after_a_hand_edit_records_what_it_overwrote(house: House, begin: Begin) -> None:
    run = await begin(ladder((25, "4s"), (100, "2s")))
    await held_by_a_hand_edit(house, run)
    await run.handle.signal(names.ABORT, {"by": "kim"})
    result = await run.went_back(Phase.ABORTED)
    assert result.overwrote == ("envoy edge/checkout was at 40 %, which is not ours",)
    assert run.log.percents == [0, 25, 40, 0]
    assert run.visitors().dropped_requests == 0


async def held_by_a_hand_edit(house: House, run: Running) -> RolloutStatus:
    """Edit the weights during the first bake and wait until that is noticed."""
    await run.observed(25, 1)
    edited_at = route_log.set_by_hand(house.bed.envoy.route_file, 40)
    held = await run.until("it is held", lambda status: status.phase is Phase.HELD)
    assert held.progress.held
    noticed_s = held.progress.held.since.timestamp() - edited_at
    print(f"noticed after {noticed_s:.2f} s: {held.reason}")
    assert held.reason == "drift: envoy edge/checkout is at 40 %, we left it at 25 %"
    assert held.percent == 25
    assert noticed_s < 3 * POLL_S
    return held
