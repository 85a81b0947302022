"""Blue-green: a preview without traffic, one switch, and the old colour kept warm."""

from typing import Any

from rollout import names
from rollout.happened import Phase
from tests.acceptance.playing import acceptance
from tests.acceptance.sites import STABLE
from tests.acceptance.trial import ClusterTrials


def colours(**more: Any) -> dict[str, Any]:
    """The strategy, quick unless it is told otherwise."""
    return {"kind": "blue-green", "preview": "2s", "bake": "2s", **more}


@acceptance
async def test_the_preview_has_one_pod_and_the_switch_waits_for_all_of_them(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=colours(preview="1h"), pods=4, deployment={"ready_after": "1s"})
    await trial.until_baking("preview")
    assert await trial.do(trial.site.replicas) == 1
    assert (await trial.do(trial.site.percent), await trial.do(trial.site.forced)) == (0, True)
    await trial.update(names.ADVANCE)
    await trial.until_percent(100)
    assert await trial.do(trial.site.available) == 4
    result = await trial.promoted()
    assert result.percents_seen == (0, 100)


@acceptance
async def test_the_old_colour_keeps_its_pods_as_long_as_it_may_be_needed(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=colours(bake="1h"))
    await trial.until_baking("switched")
    assert await trial.do(trial.site.available, STABLE) == 2
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    assert await trial.do(trial.site.available, STABLE) == 2
    assert await trial.do(trial.site.replicas) == 0
    assert len([each for each in trial.wrote_split() if each.at > trial.wrote_split()[1].at]) == 1


@acceptance
async def test_nobody_is_switched_to_pods_that_exceed_their_deadline_and_an_abort_takes_them_away(
    trials: ClusterTrials,
) -> None:
    trial = await trials.of(strategy=colours(), deployment={"progress_deadline_s": 1})
    await trial.deliver("shop:2.2", ready="never", replicas=1)
    await trial.begun()
    await trial.until_there(trial.site.has_timed_out, "the deadline is exceeded")
    await trial.until_there(lambda: trial.wrote, "its pods are counted")
    assert await trial.do(trial.site.percent) == 0
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    assert await trial.do(trial.site.replicas) == 0
    assert await trial.do(trial.site.available, STABLE) == 2


@acceptance
async def test_a_gate_that_fails_in_the_preview_switches_nobody(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=colours(preview="1h", preview_gates=["errors"]))
    await trial.until_baking("preview")
    trial.metrics.say(0.5)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert (result.gate, result.stage) == ("errors", "preview")
    assert 100 not in result.percents_seen


@acceptance
async def test_a_gate_that_fails_after_the_switch_flips_everybody_back(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=colours(bake="1h"))
    await trial.until_baking("switched")
    trial.metrics.say(0.5)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert (result.gate, result.stage, result.percents_seen) == ("errors", "switched", (0, 100, 0))


@acceptance
async def test_gates_that_pass_before_and_after_the_switch_promote(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=colours(preview_gates=["errors"]))
    result = await trial.promoted()
    assert all("errors" in each.gates for each in result.stages)
