"""Stop means stop: from every state, nothing is raised afterwards, and each route is written once on the way back."""

import asyncio

from temporalio.client import WorkflowUpdateFailedError

from rollout import names
from rollout.happened import Phase, RolloutResult
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trial, Trials, eventually, ladder, stage

ANA = {"by": "ana", "comment": "checkout is slow"}


async def aborted(trial: Trial) -> RolloutResult:
    """Abort; whatever the router is told from then on is 0 %, once."""
    moment = await trial.signal(names.ABORT, ANA)
    result = await trial.went_back(Phase.ABORTED)
    assert (result.by, result.reason) == ("ana", "aborted by ana: checkout is slow")
    for router in trial.routers:
        assert [each.write.percent for each in router.since(moment)] == [0]
        assert router.since(moment)[0].write.release
    return result


@story
async def test_an_abort_during_preflight_ends_without_a_write(trials: Trials) -> None:
    trial = trials.trial()
    trial.router.reachable = False
    await trial.start()
    await trial.until_phase(Phase.PREFLIGHT)
    await trial.signal(names.ABORT, ANA)
    failure = await trial.failed("Aborted")
    assert failure.message.endswith("aborted by ana: checkout is slow; no traffic was moved")
    assert trial.router.written == []


@story
async def test_an_abort_that_arrives_with_the_start_ends_without_a_write(trials: Trials) -> None:
    trial = trials.trial()
    await trial.start(start_signal=names.ABORT, start_signal_args=[ANA])
    result = await trial.went_back(Phase.ABORTED)
    assert (result.stage, list(result.percents_seen), result.by) == (None, [], "ana")
    assert trial.router.written == []


@story
async def test_an_abort_during_a_shift_does_not_wait_for_its_proof(trials: Trials) -> None:
    trial = trials.trial(policy={"prove_within": "40s"})
    trial.router.proof_takes_s = 40
    await trial.start()
    await trial.until_written(5)
    trial.router.proof_takes_s = 0
    trial.router.proves = False
    aborting = asyncio.create_task(aborted(trial))
    await trial.until_written(0)
    trial.router.proves = True
    result = await aborting
    assert list(result.percents_seen) == [0]


@story
async def test_a_write_that_comes_too_late_is_refused_by_the_fence(trials: Trials) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        begun.set()
        await go_on.wait()

    trial = trials.trial()
    trial.router.before_write = slowly
    await trial.start()
    await begun.wait()
    trial.router.before_write = None
    await aborted(trial)
    go_on.set()
    await eventually(lambda: trial.router.refused, "the late write has come")
    assert [write.percent for write in trial.router.refused] == [5]
    assert trial.router.percent == 0


@story
async def test_an_abort_during_a_bake(trials: Trials) -> None:
    trial = await trials.trial({"stages": [stage(5), stage(50, "1h"), stage(100)]}).start()
    await trial.until_baking("50 %")
    result = await aborted(trial)
    assert list(result.percents_seen) == [5, 50, 0]


@story
async def test_an_abort_brings_every_route_back_at_once(trials: Trials) -> None:
    trial = await trials.trial(LASTING, routes=3).start()
    await trial.until_baking()
    together = asyncio.Barrier(3)
    for router in trial.routers:
        router.before_write = together.wait  # one after the other would wait for ever
    await aborted(trial)


@story
async def test_an_abort_while_people_are_asked(trials: Trials) -> None:
    trial = await trials.trial({"stages": [stage(5, approval={}), stage(100)]}).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    await aborted(trial)


@story
async def test_an_abort_while_held(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    await trial.update(names.HOLD)
    await trial.until_phase(Phase.HELD)
    await aborted(trial)


@story
async def test_an_abort_during_the_last_drain_goes_back_from_100_percent(trials: Trials) -> None:
    trial = trials.trial(ladder(100), policy={"drain": "1h"})
    trial.router.open_requests["stable"] = 1
    await trial.start()
    await trial.until_phase(Phase.FINALIZING)
    await trial.until(lambda _: len(trial.router.written) == 2, "our mark is off")
    result = await aborted(trial)
    assert list(result.percents_seen) == [100, 0]


@story
async def test_after_the_first_stop_nothing_counts(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    trial.router.proves = False
    await trial.signal(names.ABORT, ANA)
    await trial.until_phase(Phase.ROLLING_BACK)
    for name in names.COMMANDS:
        try:
            said = await trial.update(name, {"by": "eve"})
        except WorkflowUpdateFailedError as error:
            said = str(error.cause)
        assert said == (
            f"Refused: {name}: the rollout is already on its way back (aborted by ana: checkout is slow); "
            "nothing more can be asked of it"
        )
        await trial.signal(name, {"by": "eve"})
    trial.router.proves = True
    result = await trial.went_back(Phase.ABORTED)
    assert result.by == "ana"
    assert len(result.notes) == len(names.COMMANDS)


@story
async def test_a_reject_goes_back_as_an_abort_does(trials: Trials) -> None:
    trial = await trials.trial({"stages": [stage(5, approval={}), stage(100)]}).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    assert await trial.update(names.REJECT, {"by": "ana"}) == "reject: rejected by ana"
    result = await trial.went_back(Phase.REJECTED)
    assert (result.by, list(result.percents_seen)) == ("ana", [5, 0])


@story
async def test_a_cancel_goes_back_and_then_ends_canceled(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    await trial.handle.cancel()
    await trial.cancelled()
    assert trial.router.percents == [5, 0]


@story
async def test_a_cancel_during_preflight_ends_without_a_write(trials: Trials) -> None:
    trial = trials.trial()
    trial.router.reachable = False
    await trial.start()
    await trial.until_phase(Phase.PREFLIGHT)
    await trial.handle.cancel()
    await trial.cancelled()
    assert trial.router.written == []


@story
async def test_a_cancel_during_a_shift_goes_back(trials: Trials) -> None:
    trial = trials.trial(policy={"prove_within": "40s"})
    trial.router.proves = False
    await trial.start()
    await trial.until_written(5)
    await trial.handle.cancel()
    await trial.until_written(0)
    trial.router.proves = True
    await trial.cancelled()


@story
async def test_a_cancel_calls_off_a_raise_that_is_still_tried(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    trial.router.writable = False
    await trial.update(names.ADVANCE)
    await trial.until_phase(Phase.SHIFTING)
    await trial.handle.cancel()
    await trial.until_phase(Phase.ROLLING_BACK)
    await trial.until_pending(names.RESTORE_TRAFFIC)
    trial.router.writable = True
    await trial.cancelled()
    assert trial.router.percents == [5, 0]


@story
async def test_a_cancel_during_the_last_drain_goes_back(trials: Trials) -> None:
    trial = trials.trial(ladder(100), policy={"drain": "1h"})
    trial.router.open_requests["stable"] = 1
    await trial.start()
    await trial.until(lambda _: len(trial.router.written) == 2, "our mark is off")
    await trial.handle.cancel()
    await trial.cancelled()
    assert trial.router.percents == [100, 100, 0]


@story
async def test_a_cancel_does_not_stop_the_way_back(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    trial.router.writable = False
    await trial.signal(names.ABORT, ANA)
    await trial.until_phase(Phase.ROLLING_BACK)
    await trial.handle.cancel()
    await trial.until(lambda now: now.phase is Phase.ROLLING_BACK, "it still answers")
    assert trial.router.percent == 5
    trial.router.writable = True
    await trial.cancelled()
    assert trial.router.percents == [5, 0]
