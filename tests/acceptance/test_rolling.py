"""A Deployment's own rolling update, watched, paused and taken back."""

from typing import Any

from rollout import names
from rollout.happened import Phase
from tests.acceptance.playing import acceptance
from tests.acceptance.sites import STABLE, RollingSite
from tests.acceptance.trial import ClusterTrial, ClusterTrials

ROLLING = {"kind": "rolling", "bake": "2s", "takes": "5s"}
SLOW: dict[str, Any] = {"ready_after": "2s", "max_surge": 1, "max_unavailable": 0}


def site(trial: ClusterTrial) -> RollingSite:
    """The site, which is of that kind."""
    assert isinstance(trial.site, RollingSite)
    return trial.site


@acceptance
async def test_a_deployment_that_is_scaled_while_its_pods_are_replaced_has_only_new_ones_at_the_end(
    trials: ClusterTrials,
) -> None:
    trial = await trials.begun(RollingSite, ROLLING, pods=3, deployment=SLOW)
    await trial.until_there(lambda: "shop:2.0" in site(trial).images(), "a new pod is there")
    await trial.do(trial.site.scale, STABLE, 5)
    await trial.promoted()
    assert await trial.do(site(trial).images) == {"shop:2.0": 5}


@acceptance
async def test_an_image_and_a_number_that_are_written_at_once_by_two_hands_both_arrive(trials: ClusterTrials) -> None:
    trial = await trials.begun(RollingSite, ROLLING, pods=2)
    await trial.until_percent(100)
    await trial.do(trial.site.scale, STABLE, 4)
    await trial.promoted()
    assert await trial.do(site(trial).images) == {"shop:2.0": 4}


@acceptance
async def test_pods_that_never_are_ready_go_back_and_the_next_image_is_promoted(trials: ClusterTrials) -> None:
    broken = {"image": "shop:broken"}
    trial = await trials.begun(RollingSite, ROLLING, deployment={"progress_deadline_s": 2}, route=broken)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert "progress" in result.reason
    assert await trial.do(site(trial).images) == {"shop:1.0": 2}
    await trial.do(site(trial).deadline, 600)
    await trial.until_settled()
    trial.spec["routes"][0]["image"] = "shop:2.0"
    await trial.begun()
    await trial.promoted()


@acceptance
async def test_a_bad_image_after_a_bad_image_leaves_the_pods_that_worked(trials: ClusterTrials) -> None:
    trial = await trials.of(RollingSite, ROLLING, deployment={"progress_deadline_s": 2})
    for image in ("shop:broken", "shop:broken-too"):
        trial.spec["routes"][0]["image"] = image
        await trial.begun()
        await trial.went_back(Phase.ROLLED_BACK)
        assert await trial.do(site(trial).images) == {"shop:1.0": 2}


@acceptance
async def test_a_pause_that_outlasts_the_deadline_is_no_failure(trials: ClusterTrials) -> None:
    trial = await trials.begun(RollingSite, ROLLING, pods=3, deployment=SLOW)
    await trial.until_there(lambda: "shop:2.0" in site(trial).images(), "a new pod is there")
    await trial.update(names.HOLD)
    await trial.until_there(lambda: trial.site.split()["spec"].get("paused"), "it is paused")
    await trial.do(site(trial).deadline, 1)
    await trial.until_looked(4)
    assert (await trial.status()).phase is Phase.HELD
    await trial.do(site(trial).deadline, 600)
    await trial.update(names.RESUME)
    await trial.promoted()


@acceptance
async def test_a_breach_while_pods_are_replaced_brings_back_the_template_that_was_found(trials: ClusterTrials) -> None:
    trial = await trials.begun(RollingSite, ROLLING, pods=3, deployment=SLOW)
    await trial.until_baking("rolling")
    trial.metrics.say(0.5)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.gate == "errors"
    assert await trial.do(site(trial).images) == {"shop:1.0": 3}
