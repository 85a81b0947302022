"""One version after the other: bad ones, good ones, and other strategies, on the same route."""

import pytest
from temporalio.exceptions import WorkflowAlreadyStartedError

from rollout import names
from rollout.happened import Phase
from testbed.kubernetes import objects
from tests.acceptance.playing import acceptance
from tests.acceptance.sites import APP, CANDIDATE, STABLE, GatewaySite, IstioSite, RollingSite
from tests.acceptance.trial import ClusterTrial, ClusterTrials
from tests.workflows.trial import ladder, stage

HALF = {"stages": [stage(50, "1h"), stage(100)]}
GOOD, BAD = {"candidate": "2.1", "stable": "1.0"}, {"candidate": "2.2", "stable": "1.0"}


async def cannot_start(trial: ClusterTrial) -> None:
    """The pods of this version never are ready: no traffic gets to them, and a person gives it up."""
    await trial.until_pending("shift_traffic")
    await trial.until_there(lambda: trial.site.replicas() > 0, "pods are wanted")
    assert await trial.do(trial.site.percent) == 0
    await trial.signal(names.ABORT, {"by": "ana"})
    result = await trial.went_back(Phase.ABORTED)
    assert result.percents_seen in {(), (0,)}
    assert await trial.do(trial.site.available, STABLE) == trial.site.stable_pods


@acceptance
async def test_after_an_abort_the_same_release_can_be_started_again_and_is_promoted(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=HALF)
    await trial.until_baking()
    before = (await trial.do(trial.site.mark))["epoch"]
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    await trial.again(strategy=ladder(50, 100))
    await trial.promoted()
    assert (await trial.do(trial.site.mark))["epoch"] > before


@acceptance
async def test_a_version_whose_pods_never_are_ready_gets_no_traffic_and_the_next_good_one_is_promoted(
    trials: ClusterTrials,
) -> None:
    trial = await trials.of()
    await trial.deliver("shop:2.2", ready="never")
    await trial.begun()
    await cannot_start(trial)
    await trial.deliver("shop:2.1")
    await trial.again(release=GOOD)
    await trial.promoted()
    assert await trial.do(trial.site.image) == "shop:2.1"


@acceptance
async def test_two_bad_versions_after_each_other_leave_stable_alone(trials: ClusterTrials) -> None:
    trial = await trials.of()
    for image, fate in (("shop:2.2", "never"), ("shop:2.3", "crash")):
        await trial.deliver(image, ready=fate)
        await trial.again(release=BAD)
        await cannot_start(trial)
    assert not [each for each in trial.wrote if each.name == STABLE and each.kind == "Deployment"]


@acceptance
async def test_a_version_that_fails_under_traffic_goes_back_and_its_fix_is_promoted(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=HALF)
    await trial.until_baking()
    trial.metrics.say(0.5)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert (result.gate, result.percents_seen) == ("errors", (50, 0))
    trial.metrics.say(0.0)
    await trial.deliver("shop:2.1")
    await trial.again(strategy=ladder(50, 100), release=GOOD)
    await trial.promoted()


@acceptance
async def test_a_spec_that_names_what_is_not_there_is_refused_and_once_mended_it_is_promoted(
    trials: ClusterTrials,
) -> None:
    trial = await trials.of(route={"candidate": "checkout-canry"})
    await trial.begun()
    refused = await trial.failed("Refused")
    assert "checkout-canry" in refused.message
    assert not trial.wrote
    trial.spec["routes"][0]["candidate"] = CANDIDATE
    await trial.begun()
    await trial.promoted()


@acceptance
async def test_a_service_may_change_from_blue_green_to_a_canary(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy={"kind": "blue-green", "preview": "2s", "bake": "2s"})
    await trial.promoted()
    swapped = {"candidate": STABLE, "stable": CANDIDATE}
    trial.spec["routes"][0] |= swapped
    trial.spec["workload"] |= swapped
    await trial.again(strategy=ladder(50, 100), release=GOOD)
    result = await trial.handle.result()
    assert result.outcome is Phase.PROMOTED
    assert await trial.do(trial.site.percent) == 0  # of the other Deployment now


@acceptance
async def test_two_deployments_take_turns_and_neither_is_ever_renamed(trials: ClusterTrials) -> None:
    trial = await trials.begun(IstioSite)
    await trial.promoted()
    swapped = {"candidate": STABLE, "stable": CANDIDATE}
    trial.spec["routes"][0] |= swapped
    trial.spec["workload"] |= swapped
    await trial.again(strategy=HALF, release=GOOD)
    await trial.until_baking()
    await trial.signal(names.ABORT)
    assert "aborted" in (await trial.failed("Aborted")).message
    assert await trial.do(trial.site.percent) == 100  # back on what the first rollout had promoted
    assert await trial.do(trial.site.available) == 2


@acceptance
async def test_pods_that_are_restarted_under_a_disruption_budget_do_not_end_a_rollout(trials: ClusterTrials) -> None:
    trial = await trials.of(GatewaySite, HALF, pods=3)
    budget = objects.pdb("all-of-them", {"app": APP}, min_available=3)
    await trial.do(trial.site.api.create, budget, trial.site.namespace)
    await trial.begun()
    await trial.until_baking()
    for name in (CANDIDATE, STABLE):
        await trial.do(trial.site.restart, name)
    await trial.until_looked(3)
    await trial.update(names.ADVANCE)
    result = await trial.promoted()
    assert result.percents_seen == (50, 100)


@acceptance
async def test_image_and_replicas_that_change_at_the_same_time_are_both_waited_for(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=HALF, pods=4)
    await trial.until_baking()
    await trial.deliver("shop:2.1", replicas=1)
    await trial.do(trial.site.scale, STABLE, 6)
    await trial.update(names.ADVANCE)
    await trial.promoted()
    found = await trial.do(trial.site.api.get, "Deployment", CANDIDATE, trial.site.namespace)
    assert found["status"]["updatedReplicas"] == found["status"]["replicas"] == 6


@acceptance
async def test_what_runs_already_is_not_rolled_out_once_more(trials: ClusterTrials) -> None:
    trial = await trials.begun(RollingSite, {"kind": "rolling", "bake": "2s"}, route={"image": "shop:1.0"})
    assert "it runs shop:1.0 already" in (await trial.failed("Refused")).message
    assert not trial.wrote


@acceptance
async def test_a_newer_release_is_refused_while_one_is_under_way_and_begins_from_stable_after_its_abort(
    trials: ClusterTrials,
) -> None:
    trial = await trials.begun(strategy=HALF)
    await trial.until_baking()
    with pytest.raises(WorkflowAlreadyStartedError):
        await trial.again(release=GOOD)
    assert await trial.do(trial.site.percent) == 50
    await trial.signal(names.ABORT, {"by": "ana"})
    await trial.went_back(Phase.ABORTED)
    await trial.deliver("shop:2.1")
    await trial.again(release=GOOD, strategy=ladder(25, 100))
    result = await trial.promoted()
    assert (result.candidate, list(result.percents_seen)) == ("2.1", [25, 100])
