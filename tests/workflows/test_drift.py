"""A route that somebody else changed."""

from rollout import names
from rollout.happened import Phase
from rollout.progress import MOST_REASSERTIONS
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trial, Trials, eventually, stage


async def until_put_right(trial: Trial, times: int) -> None:
    """Wait until 5 % was written so many times."""
    await eventually(lambda: trial.router.percents.count(5) >= times, f"5 % is written {times} times")


@story
async def test_drift_holds_adopts_nothing_and_a_resume_puts_it_right(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    trial.router.edit(42)
    held = await trial.until_phase(Phase.HELD)
    assert held.reason is not None
    assert "is at 42 %, we left it at 5 %" in held.reason
    assert (held.percent, trial.router.percent) == (5, 42)
    await trial.update(names.RESUME, {"by": "ana"})
    await until_put_right(trial, 2)
    await trial.until_baking()
    await trial.update(names.ADVANCE)
    await trial.promoted()
    assert trial.router.percents == [5, 5, 100, 100]


@story
async def test_policy_reassert_puts_it_right_three_times_and_then_holds(trials: Trials) -> None:
    trial = trials.trial(LASTING, policy={"drift": "reassert"})
    await trial.start()
    await trial.until_baking()
    for time in range(1, MOST_REASSERTIONS + 1):
        trial.router.edit(40 + time)
        await until_put_right(trial, 1 + time)
        await trial.until_baking()
    trial.router.edit(49)
    held = await trial.until_phase(Phase.HELD)
    assert trial.router.percents == [5] * 4
    assert [note for note in held.notes if "of 3" in note and "drift put right" in note] == list(held.notes)
    assert len(held.notes) == MOST_REASSERTIONS
    await trial.signal(names.ABORT)
    result = await trial.went_back(Phase.ABORTED)
    assert [found for found in result.overwrote if "was at 49 %" in found]


@story
async def test_time_baked_before_the_drift_counts(trials: Trials) -> None:
    trial = await trials.trial({"stages": [stage(100, "1h")]}).start()
    await trial.until(lambda _: len(trial.metrics.asked) >= 3, "two ticks of the bake are seen")
    trial.router.edit(50)
    held = await trial.until_phase(Phase.HELD)
    assert held.baked.total_seconds() >= 2
    await trial.update(names.RESUME)
    assert (await trial.until_baking()).baked >= held.baked
    await trial.update(names.ADVANCE)
    await trial.promoted()


@story
async def test_the_way_back_overrides_drift_and_records_what_it_overwrote(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    trial.router.edit(77)
    trial.metrics.say(0.5)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert [found for found in result.overwrote if "was at 77 %, which is not ours" in found]


@story
async def test_a_route_that_is_lowered_by_hand_is_not_raised_without_a_person(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    trial.router.edit(0)
    await trial.until_phase(Phase.HELD)
    await trial.until_looked()
    assert (trial.router.percent, trial.router.percents) == (0, [5])
    await trial.update(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_a_route_that_somebody_takes_is_not_fought_for(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    trial.router.owner = "rollout:test/another"
    held = await trial.until_phase(Phase.HELD)
    assert held.reason is not None
    assert "rollout:test/another" in held.reason
    await trial.update(names.RESUME)
    again = await trial.until(lambda now: now.phase is Phase.HELD and "is held by" in (now.reason or ""), "held again")
    assert trial.router.percents == [5]
    assert again.percent == 5
    trial.router.owner = trial.id
    await trial.update(names.RESUME)
    await trial.until_baking()
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_drift_while_held_by_a_person_is_put_right_by_the_resume(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    await trial.update(names.HOLD, {"by": "ana"})
    await trial.until_phase(Phase.HELD)
    trial.router.edit(90)
    held = await trial.until(lambda now: "90 %" in (now.reason or ""), "the drift is seen")
    assert held.reason is not None
    assert held.reason.startswith("held by ana; drift: ")
    await trial.update(names.RESUME)
    await until_put_right(trial, 2)
    await trial.until_baking()
    assert trial.router.percents == [5, 5]
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
