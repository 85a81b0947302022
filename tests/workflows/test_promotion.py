"""A healthy release goes all the way, and its history stays small."""

import asyncio

from rollout import names
from rollout.happened import Phase
from rollout.plan import Plan
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trials, ladder, stage

MOST_EVENTS = 120


@story
async def test_a_healthy_release_is_promoted_through_every_stage(trials: Trials) -> None:
    trial = await trials.trial(ladder(5, 25, 50, 100)).start()
    result = await trial.promoted()
    assert trial.router.percents == [5, 25, 50, 100, 100]
    assert list(result.percents_seen) == [5, 25, 50, 100]
    assert [record.percent for record in result.stages] == [5, 25, 50, 100]
    assert all(record.baked.total_seconds() >= 2 for record in result.stages)
    assert all(record.gates == {"errors": "healthy: 0, limit above 0.05"} for record in result.stages)
    assert all(record.arrived_at and record.left_at for record in result.stages)


@story
async def test_the_last_write_takes_our_mark_and_the_forced_header_off(trials: Trials) -> None:
    trial = await trials.trial().start()
    await trial.until_written(5)
    assert (trial.router.owner, trial.router.forced) == (trial.id, True)
    await trial.promoted()
    assert [each.write.release for each in trial.router.written] == [False, False, True]
    epochs = [each.write.epoch for each in trial.router.written]
    assert sorted(set(epochs)) == epochs


@story
async def test_a_canary_with_an_approval_fits_in_120_events_however_long_it_bakes(trials: Trials) -> None:
    asks: dict[str, object] = {"approval": {}}
    trial_and_longer = [
        trials.trial({"stages": [stage(5, bake, **asks), stage(25, bake), stage(50, bake), stage(100, bake)]})
        for bake in ("2s", "4s")
    ]
    for trial in trial_and_longer:
        await trial.start()
    for trial in trial_and_longer:
        await trial.until_phase(Phase.AWAITING_APPROVAL)
        await trial.signal(names.APPROVE, {"by": "ana"})
    await asyncio.gather(*(trial.promoted() for trial in trial_and_longer))
    sizes = [len(await trial.events()) for trial in trial_and_longer]
    print(f"events of a 5/25/50/100 canary with one approval, bakes of 2 s and of 4 s: {sizes}")
    assert max(sizes) <= MOST_EVENTS
    short, longer = [await trial.event_types() for trial in trial_and_longer]
    assert short == longer


@story
async def test_several_routes_move_in_order_and_each_is_proven_before_the_next(trials: Trials) -> None:
    trial = trials.trial(ladder(50, 100), routes=3, policy={"prove_within": "1h"})
    for router in trial.routers:
        router.proof_takes_s = 0.2
    await trial.start()
    await trial.promoted()
    assert [router.percents for router in trial.routers] == [[50, 100, 100]] * 3
    for number in range(3):
        moments = [router.written[number].at for router in trial.routers]
        assert moments[0] + 0.2 <= moments[1]
        assert moments[1] + 0.2 <= moments[2]


@story
async def test_a_stage_without_gates_bakes_by_the_clock_and_one_without_a_bake_does_not_wait(trials: Trials) -> None:
    trial = trials.trial({"stages": [stage(5, "0s", gates=[]), stage(25, "1s", gates=[]), stage(100)]})
    result = await (await trial.start()).promoted()
    assert [record.baked.total_seconds() >= wanted for record, wanted in zip(result.stages, (0, 1, 2), strict=True)]
    assert result.stages[0].baked.total_seconds() == 0


@story
async def test_requests_still_open_in_the_stable_pool_are_noted_and_do_not_stop_the_end(trials: Trials) -> None:
    trial = trials.trial(ladder(100))
    trial.router.open_requests["stable"] = 3
    result = await (await trial.start()).promoted()
    assert result.notes == ("3 requests were still open in the stable pool after the drain timeout",)


@story
async def test_the_plan_can_be_asked_for(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    plan = await trial.handle.query(names.PLAN, result_type=Plan)
    assert [planned.percent for planned in plan.stages] == [5, 100]
    assert plan.started_by == "starter"
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
