"""A breach that belongs to one feature: the flag goes off first, and the release only if that was not it."""

import time

from rollout import names
from rollout.happened import Phase
from tests.workflows.counted import counting
from tests.workflows.flagged import with_flags
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trials, eventually, stage

STAYS = {"stages": [stage(25, "1h"), stage(100)]}


@story
async def test_a_breach_turns_the_feature_off_and_the_release_stays_and_waits_for_a_person(trials: Trials) -> None:
    trial = trials.trial(STAYS)
    (flag,) = with_flags(trial, "new-checkout")
    await trial.start()
    await trial.until_baking()
    trial.metrics.say(0.5)
    await eventually(lambda: not flag.on, "the flag is off")
    trial.metrics.say(0)
    status = await trial.until_phase(Phase.HELD)
    assert trial.router.percents == [25]
    assert status.reason is not None
    assert "flag flagd" in status.reason
    assert "has recovered" in status.reason
    (done,) = status.progress.mitigated
    assert (done.gate, done.outcome, done.off_at is None) == ("errors", "recovered", False)
    assert len(flag.turned_off) == 1
    assert trial.id in flag.turned_off[0]
    await trial.update(names.RESUME)
    await trial.until_baking()
    assert not flag.on
    await trial.update(names.ADVANCE)
    await trial.promoted()
    assert not flag.on


@story
async def test_a_flag_that_was_not_it_is_followed_by_the_way_back_and_stays_off(trials: Trials) -> None:
    trial = trials.trial(STAYS)
    (flag,) = with_flags(trial, "new-checkout", then_watch="2s")
    await trial.start()
    await trial.until_baking()
    trial.metrics.say(0.5)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert not flag.on
    assert (result.gate, result.stage) == ("errors", "25 %")
    assert "also with flagd" in result.reason
    assert [each.outcome.startswith("did not help") for each in result.mitigated] == [True]


@story
async def test_several_flags_are_tried_in_order_until_one_helps(trials: Trials) -> None:
    trial = trials.trial(STAYS)
    first, second, third = with_flags(trial, "one", "two", "three", then_watch="2s")
    await trial.start()
    await trial.until_baking()
    trial.metrics.say(0.5)
    await eventually(lambda: not second.on, "the second flag is off")
    trial.metrics.say(0)
    status = await trial.until_phase(Phase.HELD)
    assert (first.on, second.on, third.on) == (False, False, True)
    outcomes = [each.outcome for each in status.progress.mitigated]
    assert outcomes[0].startswith("did not help")
    assert outcomes[1:] == ["recovered"]


@story
async def test_a_flag_that_cannot_be_proven_off_costs_no_more_than_its_time(trials: Trials) -> None:
    trial = trials.trial(STAYS)
    (flag,) = with_flags(trial, "new-checkout")
    flag.lies = True
    await trial.start()
    await trial.until_baking()
    trial.metrics.say(0.5)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert not flag.on
    assert any("still on where it is evaluated" in note for note in result.notes)


@story
async def test_a_flag_service_that_is_away_or_refuses_leads_to_the_way_back(trials: Trials) -> None:
    for fault in ("away", "locked"):
        trial = trials.trial(STAYS)
        (flag,) = with_flags(trial, "new-checkout")
        await trial.start()
        await trial.until_baking()
        flag.reachable, flag.locked = fault != "away", "an approval is required" if fault == "locked" else None
        trial.metrics.say(0.5)
        result = await trial.went_back(Phase.ROLLED_BACK)
        assert flag.on
        assert any("was of no use" in note for note in result.notes), fault


@story
async def test_a_flag_that_was_off_all_along_is_not_what_is_wrong(trials: Trials) -> None:
    trial = trials.trial(STAYS)
    (flag,) = with_flags(trial, "new-checkout")
    flag.on, flag.percent = False, 0
    await trial.start()
    status = await trial.until_baking()
    assert any("is off already" in note for note in (await trial.handle.query(names.PLAN))["notes"])
    assert status.percent == 25
    trial.metrics.say(0.5)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert any("it was off already" in note for note in result.notes)
    assert not flag.turned_off


@story
async def test_a_flag_that_another_rollout_turned_off_a_moment_ago_is_given_its_chance(trials: Trials) -> None:
    one, other = trials.trial(STAYS), trials.trial(STAYS)
    (flag,) = with_flags(one, "shared", then_watch="10s")
    with_flags(other, "shared", then_watch="10s")
    trials.connections.flags[f"{other.service}/shared"] = flag
    for trial in (one, other):
        await trial.start()
    for trial in (one, other):
        await trial.until_baking()
        trial.metrics.say(0.5)
    await eventually(lambda: not flag.on, "the flag is off")
    for trial in (one, other):
        await trial.until_phase(Phase.MITIGATING)
        await trial.until(lambda now: now.progress.breach is not None and now.progress.breach.off, "off is proven")
        trial.metrics.say(0)
    for trial in (one, other):
        status = await trial.until_phase(Phase.HELD)
        assert [each.outcome for each in status.progress.mitigated] == ["recovered"]


@story
async def test_an_abort_while_the_flag_is_being_watched_goes_back_at_once(trials: Trials) -> None:
    trial = trials.trial(STAYS)
    (flag,) = with_flags(trial, "new-checkout", then_watch="1h")
    await trial.start()
    await trial.until_baking()
    trial.metrics.say(0.5)
    await trial.until_phase(Phase.MITIGATING)
    await eventually(lambda: not flag.on, "the flag is off")
    moment = await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    assert trial.router.since(moment)
    assert not flag.on


@story
async def test_another_gate_that_breaches_meanwhile_does_not_wait_for_the_flag(trials: Trials) -> None:
    trial = trials.trial(STAYS, gates={"other": {"above": 0.4}})
    with_flags(trial, "new-checkout", then_watch="1h")
    await trial.start()
    await trial.until_baking()
    trial.metrics.say(0.2)
    await trial.until_phase(Phase.MITIGATING)
    trial.metrics.say(0.9)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.gate == "other"


@story
async def test_a_gate_without_a_flag_goes_back_as_ever(trials: Trials) -> None:
    trial = trials.trial(STAYS, gates={"other": {"above": 0.4}})
    (flag,) = with_flags(trial, "new-checkout", when=("other",))
    await trial.start()
    await trial.until_baking()
    trial.metrics.say(0.2)
    await trial.went_back(Phase.ROLLED_BACK)
    assert flag.on


@story
async def test_a_hold_during_the_watch_is_kept_and_the_flag_goes_off_all_the_same(trials: Trials) -> None:
    trial = trials.trial(STAYS)
    (flag,) = with_flags(trial, "new-checkout", then_watch="3s")
    await trial.start()
    await trial.until_baking()
    await trial.update(names.HOLD, {"by": "ana"})
    await trial.until_phase(Phase.HELD)
    trial.metrics.say(0.5)
    await eventually(lambda: not flag.on, "the flag is off")
    trial.metrics.say(0)
    status = await trial.until(lambda now: now.phase is Phase.HELD and now.progress.mitigated, "it is held again")
    assert status.reason is not None
    assert "held by ana" in status.reason
    assert "has recovered" in status.reason


@story
async def test_data_that_stay_away_are_no_recovery(trials: Trials) -> None:
    trial = trials.trial(STAYS, policy={"no_data": {"hold": "3s", "then": "rollback"}})
    with_flags(trial, "new-checkout", then_watch="1h")
    await trial.start()
    await trial.until_baking()
    trial.metrics.say(0.5)
    await trial.until(lambda now: now.progress.breach is not None and now.progress.breach.off, "off is proven")
    trial.metrics.say({})
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.reason.startswith("no data")


@story
async def test_a_locked_flag_refuses_the_start_with_the_reason(trials: Trials) -> None:
    trial = trials.trial(LASTING)
    (flag,) = with_flags(trial, "new-checkout")
    flag.locked = "an approval is required in production"
    await trial.start()
    failure = await trial.failed("Refused")
    assert "an approval is required in production" in failure.message


@story
async def test_a_feature_that_breaches_again_after_a_resume_is_not_switched_a_second_time(trials: Trials) -> None:
    trial = trials.trial(STAYS)
    (flag,) = with_flags(trial, "new-checkout", then_watch="2s")
    await trial.start()
    await trial.until_baking()
    trial.metrics.say(0.5)
    await eventually(lambda: not flag.on, "the flag is off")
    trial.metrics.say(0)
    await trial.until_phase(Phase.HELD)
    flag.on = True  # a person turned it on again
    await trial.update(names.RESUME)
    await trial.until_baking()
    trial.metrics.say(0.5)
    await trial.went_back(Phase.ROLLED_BACK)
    assert flag.on
    assert len(flag.turned_off) == 1


@story
async def test_the_watch_is_as_long_as_it_says(trials: Trials) -> None:
    trial = trials.trial(STAYS)
    (flag,) = with_flags(trial, "new-checkout", then_watch="4s")
    await trial.start()
    await trial.until_baking()
    trial.metrics.say(0.5)
    await eventually(lambda: not flag.on, "the flag is off")
    began = time.monotonic()
    trial.metrics.say(0)
    status = await trial.until_phase(Phase.HELD)
    assert time.monotonic() - began >= 4
    assert status.baked.total_seconds() < 60  # the watch with the flag off is no part of the bake


@story
async def test_counts_begin_again_when_the_flag_is_off_and_show_that_it_was_the_feature(trials: Trials) -> None:
    trial, shop = counting(trials, STAYS)
    (flag,) = with_flags(trial, "new-checkout", then_watch="4s")
    await trial.start()
    await trial.until_baking()
    shop.fails("canary", 0.2)
    await eventually(lambda: not flag.on, "the flag is off")
    shop.fails("canary", 0.005)
    status = await trial.until_phase(Phase.HELD)
    assert status.reason is not None
    assert "has recovered" in status.reason
    assert trial.router.percents == [25]
    evidence = status.progress.gates["errors"].evidence
    assert evidence is not None
    assert 0 < evidence.total.x_c < evidence.total.n_c * 0.02, "what was before the flag was off is not held against it"


@story
async def test_counts_that_stay_bad_do_not_wait_for_the_end_of_the_watch(trials: Trials) -> None:
    trial, shop = counting(trials, STAYS)
    (flag,) = with_flags(trial, "new-checkout", then_watch="1h")
    await trial.start()
    await trial.until_baking()
    shop.fails("canary", 0.2)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert not flag.on
    assert result.gate == "errors"
    assert "also with flagd" in result.reason
