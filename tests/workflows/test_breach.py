"""What a bad candidate does."""

import math
import re

import pytest

from rollout import names
from rollout.happened import Phase
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trials, ladder, stage


@story
async def test_a_breach_sends_the_traffic_back_and_the_failure_carries_the_result(trials: Trials) -> None:
    trial = await trials.trial({"stages": [stage(5), stage(25, "1h"), stage(100)]}).start()
    await trial.until_written(25)
    trial.metrics.say(0.2)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert (result.gate, result.stage, result.by) == ("errors", "25 %", None)
    assert re.fullmatch(r"gate errors: 0\.2, beyond its limit for \ds \(limit: above 0\.05\)", result.reason)
    assert list(result.percents_seen) == [5, 25, 0]
    assert trial.router.percents == [5, 25, 0]
    assert result.stages[1].gates["errors"].startswith("breached: 0.2")


@story
async def test_the_message_of_the_end_says_what_where_and_that_it_is_proven(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_written(5)
    trial.metrics.say({'{path="/pay"}': 0.5, '{path="/"}': 0})
    failure = await trial.failed("RolledBack")
    assert failure.message.startswith(
        f"{trial.service} 2.0 in test: RolledBack at stage 5 %: gate errors: "
        '0.5 for {path="/pay"}, beyond its limit for '
    )
    assert failure.message.endswith("(limit: above 0.05); all traffic is on 1.0, proven")


@story
async def test_a_rule_with_for_waits_that_long(trials: Trials) -> None:
    trial = trials.trial(LASTING, gates={"errors": {"for": "2s"}})
    await trial.start()
    await trial.until_baking()
    trial.metrics.say(0.2)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert re.search(r"beyond its limit for [2-9]s", result.reason)


@story
async def test_a_bake_does_not_end_while_a_rule_makes_up_its_mind_and_goes_on_when_it_recovers(trials: Trials) -> None:
    trial = trials.trial(ladder(100), gates={"errors": {"for": "1h"}})
    trial.metrics.say(0.2)
    await trial.start()
    await trial.until_baking()
    assert (await trial.until_looked(4)).phase is Phase.BAKING
    trial.metrics.say(0)
    result = await trial.promoted()
    assert result.stages[0].baked.total_seconds() >= 4


@story
async def test_a_gate_that_a_stage_does_not_name_is_not_watched_there_unless_it_stands(trials: Trials) -> None:
    stages = [stage(5, gates=["errors"]), stage(100, "4s", gates=["other"])]
    trial = trials.trial({"stages": stages}, gates={"other": {"above": 2}})
    await trial.start()
    await trial.until_written(100)
    trial.metrics.say(1)
    await trial.promoted()
    standing = trials.trial({"stages": stages}, gates={"errors": {"standing": True}, "other": {"above": 2}})
    await standing.start()
    await standing.until_written(100)
    standing.metrics.say(1)
    assert (await standing.went_back(Phase.ROLLED_BACK)).gate == "errors"


@story
async def test_on_breach_hold_holds_and_a_resume_after_recovery_goes_on(trials: Trials) -> None:
    trial = trials.trial(LASTING, gates={"errors": {"on_breach": "hold"}})
    await trial.start()
    await trial.until_written(5)
    trial.metrics.say(0.2)
    held = await trial.until_phase(Phase.HELD)
    assert held.percent == 5
    assert held.reason is not None
    assert held.reason.startswith("gate errors: 0.2, beyond its limit")
    trial.metrics.say(0)
    await trial.until_looked()
    await trial.update(names.RESUME, {"by": "ana"})
    await trial.until_baking()
    await trial.update(names.ADVANCE)
    await trial.promoted()


@story
async def test_a_resume_without_recovery_is_not_held_again_but_only_a_person_ends_that_bake(trials: Trials) -> None:
    trial = trials.trial(gates={"errors": {"on_breach": "hold"}})
    trial.metrics.say(0.2)
    await trial.start()
    await trial.until_phase(Phase.HELD)
    await trial.update(names.RESUME)
    await trial.until_baking()
    await trial.until_looked()
    await trial.until_looked()
    assert (await trial.until_phase(Phase.BAKING)).percent == 5
    await trial.update(names.ADVANCE)
    held = await trial.until(lambda now: now.percent > 5 and now.phase is Phase.HELD, "held at the next percent")
    assert held.progress.tolerated == ()
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_a_candidate_without_a_living_member_goes_back_without_waiting_for_a_gate(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    trial.router.healthy["candidate"] = 0
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert "no member of the candidate pool is healthy" in result.reason
    assert result.gate is None


@story
async def test_another_gate_can_still_send_the_traffic_back_while_held(trials: Trials) -> None:
    trial = trials.trial(LASTING, gates={"errors": {"on_breach": "hold"}, "worse": {"above": 0.5}})
    await trial.start()
    await trial.until_written(5)
    trial.metrics.say(0.2)
    await trial.until_phase(Phase.HELD)
    trial.metrics.say(0.9)
    assert (await trial.went_back(Phase.ROLLED_BACK)).gate == "worse"


@story
@pytest.mark.parametrize("value", [0.05, math.nan, -math.inf])
async def test_a_value_at_the_limit_or_no_number_is_no_breach(trials: Trials, value: float) -> None:
    trial = trials.trial(ladder(100, bake="4s"), policy={"no_data": {"hold": "2s", "then": "rollback"}})
    await trial.start()
    await trial.until_written(100)
    trial.metrics.say({"good": value})
    if math.isfinite(value):
        await trial.promoted()
    else:
        assert (await trial.went_back(Phase.ROLLED_BACK)).reason.startswith("no data")
