"""Hold, resume, advance: what people do to the bake clock."""

import pytest
from temporalio.client import WorkflowUpdateFailedError

from rollout import names
from rollout.happened import Phase
from tests.workflows.stories import story
from tests.workflows.test_approval import refused
from tests.workflows.trial import LASTING, Trials, ladder


@story
async def test_the_bake_clock_stops_while_held(trials: Trials) -> None:
    trial = await trials.trial(ladder(100, bake="8s")).start()
    await trial.until(lambda _: len(trial.metrics.asked) >= 3, "two ticks of the bake are seen")
    assert await trial.update(names.HOLD, {"by": "ana", "comment": "lunch"}) == "hold: held by ana: lunch"
    held = await trial.until_phase(Phase.HELD)
    assert held.reason == "held by ana: lunch"
    still = await trial.until_looked(4)
    assert still.baked == held.baked
    assert still.baked.total_seconds() >= 2
    await trial.update(names.RESUME)
    result = await trial.promoted()
    assert result.stages[0].arrived_at
    whole = (result.ended_at - result.stages[0].arrived_at).total_seconds()
    assert result.stages[0].baked.total_seconds() >= 8
    assert whole >= result.stages[0].baked.total_seconds() + 3


@story
async def test_a_hold_during_a_shift_counts_once_the_percent_is_proven(trials: Trials) -> None:
    trial = trials.trial(policy={"prove_within": "1h"})
    trial.router.proves = False
    await trial.start()
    await trial.until_written(5)
    await trial.update(names.HOLD)
    trial.router.proves = True
    held = await trial.until_phase(Phase.HELD)
    assert held.percent == 5
    await trial.update(names.RESUME)
    await trial.promoted()


@story
async def test_a_hold_calls_a_shift_off_that_is_not_proven_soon_and_a_resume_tries_again(trials: Trials) -> None:
    trial = await trials.trial(LASTING, policy={"prove_within": "1s"}).start()
    await trial.until_baking()
    trial.router.reachable = False
    await trial.update(names.ADVANCE)
    await trial.until_phase(Phase.SHIFTING)
    await trial.update(names.HOLD, {"by": "ana"})
    held = await trial.until_phase(Phase.HELD)
    assert "held by ana" in (held.reason or "")
    assert held.percent == 5
    trial.router.reachable = True
    await trial.update(names.RESUME)
    await trial.promoted()


@story
async def test_a_hold_before_the_plan_is_known_holds_before_the_first_write(trials: Trials) -> None:
    trial = trials.trial()
    trial.router.reachable = False
    await trial.start()
    await trial.until_phase(Phase.PREFLIGHT)
    await trial.update(names.HOLD)
    trial.router.reachable = True
    await trial.until_phase(Phase.HELD)
    assert trial.router.written == []
    await trial.update(names.RESUME)
    await trial.promoted()


@story
async def test_advance_ends_this_bake_and_no_other(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    await trial.update(names.ADVANCE, {"by": "ana", "stage": "5 %"})
    result = await trial.promoted()
    assert [record.ended_early_by for record in result.stages] == ["ana", None]
    assert result.stages[1].baked.total_seconds() >= 2


@story
async def test_hold_beats_advance(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    await trial.update(names.HOLD, {"by": "ana"})
    assert await refused(trial, names.ADVANCE) == "Refused: advance: it is held (held by ana); resume it first"
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_a_command_at_the_wrong_moment_is_refused_with_the_reason(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    assert await refused(trial, names.RESUME) == "Refused: resume: it is not held, it is Baking"
    assert (await refused(trial, names.APPROVE)).startswith("Refused: approve: there is nothing to approve")
    said = await refused(trial, names.ADVANCE, {"stage": "100 %"})
    assert said == "Refused: advance: it bakes at stage '5 %', not '100 %'"
    await trial.update(names.HOLD)
    assert await refused(trial, names.HOLD) == "Refused: hold: it is held already"
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_while_it_is_finished_only_a_stop_is_possible(trials: Trials) -> None:
    trial = trials.trial(ladder(100), policy={"drain": "1h"})
    trial.router.open_requests["stable"] = 1
    await trial.start()
    await trial.until_phase(Phase.FINALIZING)
    assert (await refused(trial, names.HOLD)).startswith("Refused: hold: the rollout is Finalizing; only abort")
    trial.router.open_requests.clear()
    await trial.promoted()


@story
async def test_an_update_that_does_not_exist_is_refused_with_those_that_do(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await trial.update("aprove")
    assert "aprove" in str(caught.value.cause)
    assert names.APPROVE in str(caught.value.cause)
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
