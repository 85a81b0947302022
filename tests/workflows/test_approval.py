"""Where people decide."""

import re

import pytest
from temporalio.client import WorkflowUpdateFailedError

from rollout import names
from rollout.happened import Phase
from tests.workflows.stories import story
from tests.workflows.trial import Trial, Trials, stage


def asking(trials: Trials, **approval: object) -> Trial:
    """A rollout that asks after its first stage; qa are ana and bob."""
    trials.connections.groups["qa"] = ("ana", "bob")
    stages = [stage(5, name="internal", approval=approval), stage(100, name="everyone")]
    return trials.trial({"stages": stages}, approvals={"people": ["qa"]})


async def refused(trial: Trial, name: str, *arguments: object) -> str:
    """What the caller of a refused update is told; the history keeps no trace of it."""
    before = await updates(trial)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await trial.update(name, *arguments)
    assert await updates(trial) == before
    return str(caught.value.cause)


async def updates(trial: Trial) -> int:
    """How many events of the history are about updates."""
    return sum(count for name, count in (await trial.event_types()).items() if "UPDATE" in name)


@story
async def test_nothing_moves_until_somebody_approves(trials: Trials) -> None:
    trial = await asking(trials).start()
    waiting = await trial.until_phase(Phase.AWAITING_APPROVAL)
    assert trial.router.percents == [5]
    assert "waiting for approval of stage internal by anybody until" in waiting.details
    await trial.signal(names.APPROVE)
    result = await trial.promoted()
    assert list(result.percents_seen) == [5, 100]


@story
async def test_an_approval_by_update_answers_and_is_shown(trials: Trials) -> None:
    trial = await asking(trials, **{"from": ["qa"]}).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    assert await trial.update(names.APPROVE, {"by": "bob"}) == "approve: accepted, AwaitingApproval at 5 %"
    await trial.promoted()
    assert re.search(r"internal: done, baked \S+, approved by bob", (await trial.status()).details)


@story
async def test_nobody_answers_in_time_and_the_traffic_goes_back(trials: Trials) -> None:
    trial = await asking(trials, within="1s").start()
    result = await trial.went_back(Phase.EXPIRED)
    assert (result.reason, list(result.percents_seen)) == ("nobody approved internal in time", [5, 0])


@story
async def test_nobody_answers_in_time_and_policy_holds_until_a_resume_asks_again(trials: Trials) -> None:
    trial = await asking(trials, within="1s", then="hold").start()
    held = await trial.until_phase(Phase.HELD)
    assert held.reason == "nobody approved internal in time"
    await trial.update(names.RESUME)
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    await trial.update(names.APPROVE)
    await trial.promoted()


@story
async def test_an_approval_sent_early_for_a_later_stage_is_kept(trials: Trials) -> None:
    stages = [stage(5, "1h"), stage(50, name="half", approval={}), stage(100)]
    trial = await trials.trial({"stages": stages}).start()
    await trial.until_baking("5 %")
    await trial.update(names.APPROVE, {"by": "ana", "stage": "half"})
    await trial.update(names.ADVANCE)
    await trial.promoted()
    assert re.search(r"half: done, baked \S+, approved by ana", (await trial.status()).details)


@story
async def test_an_approval_for_a_stage_that_does_not_ask_is_refused(trials: Trials) -> None:
    trial = await asking(trials).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    said = await refused(trial, names.APPROVE, {"stage": "everyone"})
    assert said.startswith("Refused: approve: there is nothing to approve at stage 'everyone'")
    assert said.endswith(": internal")


@story
async def test_only_those_who_are_asked_may_approve(trials: Trials) -> None:
    trial = await asking(trials, **{"from": ["qa"]}).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    assert (await refused(trial, names.APPROVE, {"by": "eve"})).startswith("Refused: approve: eve may not approve it")
    said = await refused(trial, names.APPROVE)
    assert said.startswith("Refused: approve: somebody without a name may not approve it")
    assert said.endswith('send {"by": …} as one of ana, bob')
    await trial.signal(names.APPROVE)
    noted = await trial.until(lambda now: now.notes, "the signal is noted")
    assert noted.phase is Phase.AWAITING_APPROVAL
    assert noted.notes[0].startswith("ignored: approve: somebody without a name may not approve it")
    assert noted.notes[0] in await trial.details()
    await trial.signal(names.APPROVE, {"by": "ana"})
    await trial.promoted()


@story
async def test_four_eyes_whoever_started_it_cannot_approve_it(trials: Trials) -> None:
    trial = asking(trials)
    trial.spec["approvals"]["four_eyes"] = True
    await trial.start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    sentence = "Refused: approve: four eyes: starter started it, so somebody else must approve, by name"
    assert await refused(trial, names.APPROVE, {"by": "starter"}) == sentence
    assert await refused(trial, names.APPROVE) == sentence
    await trial.update(names.APPROVE, {"by": "ana"})
    await trial.promoted()


@story
async def test_an_approval_before_the_stage_is_asked_for_before_the_traffic_moves(trials: Trials) -> None:
    stages = [stage(5), stage(100, approval={"before": True})]
    trial = await trials.trial({"stages": stages}).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    assert trial.router.percents == [5]
    await trial.update(names.APPROVE)
    await trial.promoted()


@story
async def test_an_approval_before_the_first_stage_is_asked_for_before_anything_is_written(trials: Trials) -> None:
    trial = await trials.trial({"stages": [stage(100, approval={"before": True})]}).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    assert trial.router.written == []
    await trial.signal(names.REJECT)
    failure = await trial.failed("Rejected")
    assert failure.message.endswith("rejected by somebody; no traffic was moved")
    assert trial.router.written == []


@story
async def test_health_is_watched_while_people_are_asked(trials: Trials) -> None:
    trial = await asking(trials).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    trial.metrics.say(0.3)
    assert (await trial.went_back(Phase.ROLLED_BACK)).gate == "errors"


@story
async def test_a_hold_beats_an_approval(trials: Trials) -> None:
    trial = await asking(trials).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    await trial.update(names.HOLD, {"by": "ana"})
    await trial.until_phase(Phase.HELD)
    await trial.update(names.APPROVE, {"by": "bob"})
    still = await trial.until_looked()
    assert (still.phase, still.percent) == (Phase.HELD, 5)
    await trial.update(names.RESUME)
    await trial.promoted()


@story
async def test_time_that_is_held_does_not_count_against_the_answer(trials: Trials) -> None:
    trial = await asking(trials).start()
    before = (await trial.until_phase(Phase.AWAITING_APPROVAL)).progress.waiting_since
    await trial.update(names.HOLD)
    await trial.until_looked(3)
    await trial.update(names.RESUME)
    after = (await trial.until_phase(Phase.AWAITING_APPROVAL)).progress.waiting_since
    assert before
    assert after
    assert (after - before).total_seconds() >= 2
    await trial.update(names.APPROVE)
    await trial.promoted()
