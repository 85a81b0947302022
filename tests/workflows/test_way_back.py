"""The way back is one path, never gives up, and says when it is stuck."""

from datetime import timedelta

from rollout import names
from rollout.happened import Phase
from tests.workflows.skipping import skipping
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trials, eventually, stage


@story
async def test_a_way_back_that_cannot_be_proven_is_stuck_and_ends_once_it_is(trials: Trials) -> None:
    trial = trials.trial(LASTING, policy={"alarm_after": "1s", "prove_within": "500ms"})
    await trial.start()
    await trial.until_baking()
    trial.router.proves = False
    await trial.signal(names.ABORT, {"by": "ana"})
    stuck = await trial.until_phase(Phase.STUCK)
    assert stuck.percent == 5
    assert "**0 % could not be proven.**" in stuck.details
    await trial.until_attributes(**{names.PHASE: "Stuck", names.PERCENT: 5})
    trial.router.proves = True
    result = await trial.went_back(Phase.ABORTED)
    assert list(result.percents_seen) == [5, 0]
    assert trial.router.percents == [5, 0]


@story
async def test_a_router_that_cannot_be_written_is_written_as_soon_as_it_can(trials: Trials) -> None:
    trial = trials.trial(LASTING, policy={"alarm_after": "1s"})
    await trial.start()
    await trial.until_baking()
    trial.router.writable = False
    trial.metrics.say(0.5)
    await trial.until_phase(Phase.STUCK)
    assert trial.router.percents == [5]
    trial.router.writable = True
    await trial.went_back(Phase.ROLLED_BACK)
    assert trial.router.percents == [5, 0]


@story
async def test_a_router_that_cannot_be_looked_at_is_written_blind_and_proven_later(trials: Trials) -> None:
    trial = trials.trial(LASTING, policy={"alarm_after": "1s"})
    await trial.start()
    await trial.until_baking()
    trial.router.reachable = False
    await trial.signal(names.ABORT)
    await trial.until_phase(Phase.STUCK)
    assert trial.router.percents == [5, 0]
    trial.router.reachable = True
    await trial.went_back(Phase.ABORTED)
    assert trial.router.percents == [5, 0]


@story
async def test_the_alarm_comes_after_a_minute_by_default(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    trial.router.writable = False
    await trial.signal(names.ABORT)
    await trial.until_phase(Phase.ROLLING_BACK)
    async with skipping(trial, timedelta(seconds=61)):
        await trial.until_phase(Phase.STUCK)
        trial.router.writable = True
        await trial.went_back(Phase.ABORTED)


@story
async def test_one_route_that_is_away_does_not_keep_the_others(trials: Trials) -> None:
    trial = await trials.trial(LASTING, routes=2).start()
    await trial.until_baking()
    trial.routers[0].writable = False
    await trial.signal(names.ABORT)
    await eventually(lambda: trial.routers[1].percent == 0, "the other is back")
    assert trial.routers[0].percent == 5
    trial.routers[0].writable = True
    await trial.went_back(Phase.ABORTED)
    assert [router.percents for router in trial.routers] == [[5, 0], [5, 0]]


@story
async def test_an_error_that_nobody_thought_of_does_not_end_the_way_back(trials: Trials) -> None:
    trial = trials.trial(LASTING, policy={"alarm_after": "1s"})
    await trial.start()
    await trial.until_baking()
    trial.router.breaks_with = ZeroDivisionError("a bug in an adapter")
    await trial.signal(names.ABORT)
    await trial.until_phase(Phase.STUCK)
    trial.router.breaks_with = None
    await trial.went_back(Phase.ABORTED)


@story
async def test_a_route_that_belongs_to_somebody_else_by_now_is_not_written_and_keeps_it_stuck(trials: Trials) -> None:
    trial = trials.trial(LASTING, policy={"alarm_after": "1s"})
    await trial.start()
    await trial.until_baking()
    trial.router.owner = "rollout:test/another"
    await trial.signal(names.ABORT)
    await trial.until_phase(Phase.STUCK)
    assert trial.router.percents == [5]
    trial.router.owner = None
    await trial.went_back(Phase.ABORTED)


@story
async def test_a_rollout_that_takes_longer_than_max_duration_goes_back(trials: Trials) -> None:
    trial = trials.trial({"stages": [stage(5, approval={}), stage(100)]}, policy={"max_duration": "6s"})
    await trial.start()
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.reason == "max_duration of 6s is over"
    assert (result.ended_at - result.started_at).total_seconds() >= 6


@story
async def test_max_duration_also_ends_a_hold(trials: Trials) -> None:
    trial = trials.trial({"stages": [stage(5, approval={}), stage(100)]}, policy={"max_duration": "6s"})
    await trial.start()
    await trial.until_baking()
    await trial.update(names.HOLD)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.reason == "max_duration of 6s is over"


@story
async def test_requests_still_open_in_the_candidate_pool_are_noted(trials: Trials) -> None:
    trial = await trials.trial({"stages": [stage(100, "1h")]}).start()
    await trial.until_baking()
    trial.router.open_requests["candidate"] = 7
    await trial.signal(names.ABORT)
    result = await trial.went_back(Phase.ABORTED)
    assert result.notes == ("7 requests were still open in the candidate pool after the drain timeout",)
