"""Workers that die, at the worst moments."""

import asyncio

import pytest

from rollout import names
from rollout.happened import Phase, RolloutResult
from tests.faults.conftest import Begin
from tests.faults.house import House, Running, bake_was_exact, eventually, ladder

pytestmark = pytest.mark.server

BAKE_S = 10.0


async def test_a_worker_killed_in_a_bake_costs_neither_time_nor_a_request(house: House, begin: Begin) -> None:
    run = await begin(ladder((25, f"{BAKE_S:g}s"), (100, "2s")))
    await run.observed(25, 3)
    house.worker.kill()
    noticed = await run.waiting_for(names.WATCH_HEALTH, attempt=2)
    house.worker.start()
    again = await run.beats(after=noticed.beat_at)
    print(f"blind for {again.beat_at - noticed.beat_at:.1f} s")
    bake_was_exact(await run.promoted(), BAKE_S, again.beat_at)
    assert run.log.percents == [0, 25, 100]
    assert run.visitors().dropped_requests == 0


async def test_a_worker_that_is_started_again_takes_its_work_back_before_the_server_misses_it(
    house: House, begin: Begin
) -> None:
    run = await begin(ladder((25, "1h"), (100, "10s"), policy={"poll": "5s"}))  # missed after 8 s of silence
    for attempt in (2, 3, 4):  # on a machine so busy that a worker takes longer than that to start, try again
        if await taken_back(house, run, attempt):
            break
    else:
        pytest.fail("the server has noticed every time before the worker was there again")
    await run.handle.signal(names.ADVANCE)
    await run.promoted()
    assert run.visitors().dropped_requests == 0


async def taken_back(house: House, run: Running, attempt: int) -> bool:
    """Kill the worker and start it again: whether it was that one which has told the server."""
    before = await run.beats(after=0)
    house.worker.kill()
    house.worker.start()
    again = await run.waiting_for(names.WATCH_HEALTH, attempt)
    assert again.observed_s >= before.observed_s, "it goes on from the last beat"
    return again.pending[names.WATCH_HEALTH].last_failure.application_failure_info.type == "WorkerKilled"


async def test_a_worker_that_is_stopped_hands_its_bake_to_another_without_a_gap(house: House, begin: Begin) -> None:
    with house.new_worker("worker-2") as second:
        run = await begin(ladder((25, f"{BAKE_S:g}s"), (100, "2s")))
        seen = await run.observed(25, 2)
        first_has_it = seen.pending[names.WATCH_HEALTH].last_worker_identity.startswith(f"{house.worker.pid}@")
        leaving, staying = (house.worker, second) if first_has_it else (second, house.worker)
        stopping = asyncio.create_task(asyncio.to_thread(leaving.stop))
        handed_over = await run.waiting_for(names.WATCH_HEALTH, attempt=2)
        again = await run.beats(after=handed_over.beat_at)
        await stopping
        assert leaving.child.exit_code == 0
        why = handed_over.pending[names.WATCH_HEALTH].last_failure
        assert not why.HasField("timeout_failure_info"), "it was handed over, nobody had to find out"
        assert again.pending[names.WATCH_HEALTH].last_worker_identity.startswith(f"{staying.pid}@")
        assert again.observed_s >= handed_over.observed_s, "the next one goes on from the last beat"
        print(f"blind for {again.beat_at - handed_over.beat_at:.1f} s")
        bake_was_exact(await run.promoted(), BAKE_S, again.beat_at)
        assert run.visitors().dropped_requests == 0


@pytest.mark.parametrize("when", ["before it is written", "after it is written"])
async def test_a_worker_killed_in_a_shift_is_followed_by_one_that_ends_it(
    house: House, begin: Begin, when: str
) -> None:
    spec = ladder((25, "2s"), (100, "2s"))
    spec["strategy"]["stages"][1]["approval"] = {"before": True, "within": "1h"}
    run = await begin(spec)
    await run.until("it asks", lambda status: status.phase is Phase.AWAITING_APPROVAL)
    house.admin.freeze(lambda: when.startswith("before") or house.percent() == 100)
    await run.handle.signal(names.APPROVE)
    await run.waiting_for(names.SHIFT_TRAFFIC)
    await eventually("the shift waits for Envoy's admin", lambda: house.admin.holding)
    assert house.percent() == (25 if when.startswith("before") else 100)
    house.worker.kill()
    house.admin.thaw()
    house.worker.start()
    result = await run.promoted()
    assert list(result.percents_seen) == [25, 100]
    assert run.log.percents == [0, 25, 100]
    assert run.visitors().dropped_requests == 0


async def test_a_worker_killed_in_a_rollback_whose_write_is_not_proven_is_followed_by_one_that_proves_it(
    house: House, begin: Begin
) -> None:
    run = await begin(ladder((25, "30s"), (100, "2s")))
    await run.observed(25, 1)
    house.admin.freeze(lambda: house.percent() == 0)
    await run.handle.signal(names.ABORT, {"by": "kim"})
    await eventually("0 % is written and unproven", lambda: house.percent() == 0 and house.admin.holding)
    house.worker.kill()
    house.admin.thaw()
    house.worker.start()
    await is_back(house, run, Phase.ABORTED)
    assert run.visitors().dropped_requests == 0


async def test_a_breach_takes_the_traffic_away_even_while_envoys_admin_answers_nothing_and_workers_die(
    house: House, begin: Begin
) -> None:
    run = await begin(ladder((25, "30s"), (100, "2s")))
    await run.observed(25, 1)
    house.admin.freeze()
    house.bed.fault(0.5)
    await run.waiting_for(names.RESTORE_TRAFFIC)
    await eventually("0 % is written blind", lambda: house.percent() == 0 and house.admin.holding)
    house.worker.kill()
    await eventually("visitors are back on stable", lambda: run.load.report().share("canary", seconds=2) == 0)
    house.worker.start()
    house.admin.thaw()
    result = await is_back(house, run, Phase.ROLLED_BACK)
    assert result.gate == "errors"
    assert run.visitors().dropped_requests == 0


async def is_back(house: House, run: Running, outcome: Phase) -> RolloutResult:
    """It ended in this outcome; 0 % is proven and released, and nothing was raised on the way."""
    result = await run.went_back(outcome)
    assert run.log.percents == [0, 25, 0]
    assert house.mark().keys() == {"epoch", "percent"}, "nobody holds the route any more"
    ended = result.ended_at.timestamp()
    await eventually("more visitors came", lambda: run.load.report().written_at > ended + 1)
    assert (run.load.report().last_candidate_at or 0) < ended
    return result
