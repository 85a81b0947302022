"""A flag's share of users as the ladder: the same stages and gates, and a way back to where it was."""

from rollout import names
from rollout.happened import Phase, RolloutResult
from tests.workflows.flagged import of_flag, the_flag
from tests.workflows.stories import story
from tests.workflows.trial import Trials, stage


@story
async def test_the_share_of_users_climbs_the_ladder(trials: Trials) -> None:
    trial = await of_flag(trials, stage(5), stage(25), stage(100)).start()
    result = await trial.promoted()
    assert list(result.percents_seen) == [5, 25, 100]
    assert the_flag(trial).on


@story
async def test_a_breach_brings_the_share_back_to_where_it_was(trials: Trials) -> None:
    trial = await of_flag(trials, stage(25, "1h"), stage(100), share=10).start()
    await trial.until_baking()
    trial.metrics.say(0.5)
    failure = await trial.failed("RolledBack")
    result = RolloutResult.model_validate(failure.details[0])
    assert (result.outcome, result.percent, list(result.percents_seen)) == (Phase.ROLLED_BACK, 10, [25, 10])
    assert "the flag is at 10 %, proven" in failure.message
    flag = the_flag(trial)
    assert (flag.on, flag.share, flag.owner) == (True, 10, None)


@story
async def test_the_kill_switch_turns_it_off_for_everybody(trials: Trials) -> None:
    trial = await of_flag(trials, stage(25, "1h"), stage(100), share=10, way_back="off").start()
    await trial.until_baking()
    await trial.signal(names.ABORT)
    result = await trial.went_back(Phase.ABORTED)
    assert result.percent == 0
    assert not the_flag(trial).on


@story
async def test_a_flag_that_somebody_switched_off_stays_off_and_the_way_back_ends(trials: Trials) -> None:
    trial = await of_flag(trials, stage(25), stage(50, "1h"), stage(100), share=10).start()
    await trial.until_baking("50 %")
    flag = the_flag(trial)
    await flag.turn_off("ana pulls the plug")
    await trial.until_phase(Phase.HELD)
    await trial.signal(names.ABORT)
    failure = await trial.failed("Aborted")
    result = RolloutResult.model_validate(failure.details[0])
    assert (flag.on, flag.share, flag.owner, result.percent) == (False, 10, None, 0)
    assert any("it is left off" in note for note in result.notes)


@story
async def test_a_resume_does_not_switch_on_what_somebody_switched_off(trials: Trials) -> None:
    trial = await of_flag(trials, stage(25, "1h"), stage(100)).start()
    await trial.until_baking()
    flag = the_flag(trial)
    await flag.turn_off("ana pulls the plug")
    await trial.until_phase(Phase.HELD)
    await trial.signal(names.RESUME)
    await trial.until(lambda now: now.phase is Phase.HELD and "stays off" in (now.reason or ""), "it is refused")
    assert not flag.on
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_stages_that_begin_below_the_share_are_refused(trials: Trials) -> None:
    trial = await of_flag(trials, stage(5), stage(100), share=10).start()
    failure = await trial.failed("Refused")
    assert "the flag is at 10 % already" in failure.message
    assert not the_flag(trial).written


@story
async def test_a_locked_flag_is_refused(trials: Trials) -> None:
    trial = of_flag(trials, stage(5), stage(100))
    the_flag(trial).locked = "an approval is required"
    await trial.start()
    assert "an approval is required" in (await trial.failed("Refused")).message


@story
async def test_an_experiment_keeps_its_split_and_waits_for_a_person(trials: Trials) -> None:
    trial = await of_flag(trials, stage(50, "2s"), experiment=True).start()
    status = await trial.until_phase(Phase.AWAITING_APPROVAL)
    assert (status.percent, status.stage) == (50, "ship")
    await trial.update(names.REJECT, {"by": "ana"})
    result = await trial.went_back(Phase.REJECTED)
    assert list(result.percents_seen) == [50, 0]


@story
async def test_an_experiment_ships_when_a_person_says_so(trials: Trials) -> None:
    trial = of_flag(trials, stage(50, "2s"), experiment=True)
    await trial.start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    await trial.update(names.APPROVE, {"by": "ana"})
    await trial.until(lambda now: now.percent == 100, "everybody has it")
    await trial.until_baking("ship")
    await trial.update(names.ADVANCE)
    await trial.promoted()
