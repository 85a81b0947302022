"""All traffic in one step: a look at 0 %, the switch, and the way back while the old colour is warm."""

from rollout import names
from rollout.happened import Phase
from rollout.plan import Plan
from tests.workflows.stories import story
from tests.workflows.trial import Trials

COLOURS = {"kind": "blue-green", "preview": "2s", "bake": "2s"}


@story
async def test_the_candidate_is_looked_at_without_traffic_then_gets_all_of_it(trials: Trials) -> None:
    trial = await trials.trial(COLOURS | {"approval": {}}).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    assert (trial.router.percents, trial.router.forced, trial.router.owner) == ([0], True, trial.id)
    await trial.update(names.APPROVE, {"by": "ana"})
    result = await trial.promoted()
    assert trial.router.percents == [0, 100, 100]
    assert list(result.percents_seen) == [0, 100]
    assert [record.title for record in result.stages] == ["preview", "switched"]
    assert all(record.baked.total_seconds() >= 2 for record in result.stages)
    assert [sorted(record.gates) for record in result.stages] == [[], ["errors"]]


@story
async def test_nobody_is_switched_while_nobody_has_approved(trials: Trials) -> None:
    trial = await trials.trial(COLOURS | {"approval": {"within": "3s"}}).start()
    result = await trial.went_back(Phase.EXPIRED)
    assert trial.router.percents == [0, 0]
    assert (trial.router.owner, trial.router.forced) == (None, False)
    assert result.percent == 0


@story
async def test_one_command_flips_back_at_once_while_both_colours_are_warm(trials: Trials) -> None:
    trial = await trials.trial(COLOURS | {"bake": "1h"}).start()
    await trial.until_written(100)
    await trial.until_phase(Phase.BAKING)
    await trial.signal(names.ABORT, {"by": "kim"})
    await trial.went_back(Phase.ABORTED)
    assert trial.router.percents == [0, 100, 0]


@story
async def test_a_candidate_that_fails_after_the_switch_is_flipped_back(trials: Trials) -> None:
    trial = await trials.trial(COLOURS | {"bake": "1h"}).start()
    await trial.until_written(100)
    trial.metrics.say(0.5)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert (result.gate, trial.router.percents) == ("errors", [0, 100, 0])


@story
async def test_nobody_is_switched_to_a_dead_candidate_until_it_lives(trials: Trials) -> None:
    trial = await trials.trial(COLOURS | {"preview": "1h"}).start()
    await trial.until_phase(Phase.BAKING)
    trial.router.healthy["candidate"] = 0
    await trial.update(names.ADVANCE)
    reads = trial.router.reads
    await trial.until(lambda _: trial.router.reads >= reads + 2, "it has been refused and tried again")
    assert trial.router.percents == [0]
    trial.router.healthy["candidate"] = 1
    await trial.promoted()


@story
async def test_a_drain_that_is_shorter_than_the_router_can_tell_is_said_beforehand(trials: Trials) -> None:
    trial = trials.trial(COLOURS)
    trial.router.drains_after_s = 300
    await trial.start()
    await trial.promoted()
    plan: Plan = await trial.handle.query(names.PLAN, result_type=Plan)
    said = "whether a pool has drained is known after 5m, policy.drain is 1s: it will not be waited for"
    assert any(said in note for note in plan.notes)
