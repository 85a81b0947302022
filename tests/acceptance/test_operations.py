"""What Flagger's shell scripts play on every provider, and what happened to people who ran either of them."""

import asyncio
from typing import Any

from rollout import names
from rollout.happened import Phase
from testbed.kubernetes import objects
from tests.acceptance.playing import acceptance
from tests.acceptance.sites import CANDIDATE, STABLE, GatewaySite, NginxSite
from tests.acceptance.trial import ClusterTrial, ClusterTrials
from tests.workflows.trial import ladder, stage

HALF = {"stages": [stage(50, "1h"), stage(100)]}


@acceptance
async def test_a_canary_ingress_is_made_raised_and_left_at_rest(trials: ClusterTrials) -> None:
    trial = await trials.begun(NginxSite)
    result = await trial.promoted()
    assert result.percents_seen == (50, 100)


@acceptance
async def test_a_breach_takes_a_canary_ingress_to_zero(trials: ClusterTrials) -> None:
    trial = await trials.begun(NginxSite, HALF)
    await trial.until_baking()
    trial.metrics.say(0.5)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.gate == "errors"


@acceptance
async def test_a_canary_ingress_that_somebody_deletes_is_missed_and_made_again_by_a_resume(
    trials: ClusterTrials,
) -> None:
    trial = await trials.begun(NginxSite, HALF)
    await trial.until_baking()
    await trial.do(trial.site.api.delete, *trial.site.marked, trial.site.namespace)
    await trial.until_phase(Phase.HELD)
    await trial.update(names.RESUME)
    await trial.until_percent(50)
    await trial.until_baking()
    await trial.update(names.ADVANCE)
    await trial.promoted()


@acceptance
async def test_testers_with_the_header_see_the_candidate_before_anybody_else_and_not_after_the_end(
    trials: ClusterTrials,
) -> None:
    trial = await trials.begun(strategy={"kind": "blue-green", "preview": "1h", "bake": "2s"})
    await trial.until_baking("preview")
    rules = [rule for rule in (await trial.do(trial.site.split))["spec"]["rules"] if "headers" in rule["matches"][0]]
    leads = {rule["matches"][0]["headers"][0]["value"]: rule["backendRefs"][0]["name"] for rule in rules}
    assert leads == {"always": CANDIDATE, "never": STABLE}
    await trial.update(names.ADVANCE)
    await trial.promoted()  # and no rule of it is left


@acceptance
async def test_an_autoscaler_of_the_candidate_is_left_to_decide(trials: ClusterTrials) -> None:
    trial = await trials.of(strategy=HALF, pods=4)
    await trial.do(trial.site.scale, CANDIDATE, 1)
    scaler = objects.hpa("by-load", CANDIDATE, least=2, most=6)
    await trial.do(trial.site.api.create, scaler, trial.site.namespace)
    await trial.begun()
    await trial.until_baking()
    assert await trial.do(trial.site.available) == 2
    assert not [each for each in trial.wrote if each.replicas is not None]
    await trial.do(trial.site.scale, CANDIDATE, 4)
    await trial.update(names.ADVANCE)
    await trial.promoted()


@acceptance
async def test_no_command_sends_traffic_to_an_image_that_does_not_start(trials: ClusterTrials) -> None:
    trial = await trials.of(strategy=ladder(50, 100))
    await trial.deliver("shop:2.2", ready="crash")
    await trial.begun()
    await trial.until_there(lambda: trial.site.replicas() > 0, "pods are wanted")
    await trial.signal(names.ADVANCE)
    await trial.signal(names.APPROVE)
    await trial.until_there(lambda: _crashes(trial), "its pods crash")
    assert await trial.do(trial.site.percent) == 0
    assert not trial.wrote_split()
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@acceptance
async def test_whoever_cancels_the_run_gets_the_routes_back_as_they_were(trials: ClusterTrials) -> None:
    trial = await trials.of(strategy=HALF)
    before = await trial.do(trial.site.split)
    await trial.begun()
    await trial.until_baking()
    await trial.handle.cancel()
    await trial.cancelled()
    assert (await trial.do(trial.site.split))["spec"] == before["spec"]


@acceptance
async def test_a_weight_that_is_edited_by_hand_is_held_never_adopted_and_put_right_by_a_resume(
    trials: ClusterTrials,
) -> None:
    trial = await trials.begun(strategy=HALF)
    await trial.until_baking()
    rules = (await trial.do(trial.site.split))["spec"]["rules"]
    [at] = [number for number, rule in enumerate(rules) if len(rule["backendRefs"]) == 2]
    path = f"/spec/rules/{at}/backendRefs"
    await trial.do(
        trial.site.by_hand,
        {"op": "replace", "path": f"{path}/0/weight", "value": 40},
        {"op": "replace", "path": f"{path}/1/weight", "value": 60},
    )
    held = await trial.until_phase(Phase.HELD)
    assert "kubectl-edit" in held.details
    assert held.percent == 50
    await trial.update(names.RESUME)
    await trial.until_percent(50)
    await trial.until_baking()
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@acceptance
async def test_one_pod_of_stable_that_is_not_ready_delays_no_abort_and_the_way_back_is_one_write(
    trials: ClusterTrials,
) -> None:
    trial = await trials.begun(strategy=HALF, pods=10)
    await trial.until_baking()
    await trial.do(_break_a_pod, trial)
    await trial.until_there(lambda: trial.site.available(STABLE) == 9, "nine of ten are ready")
    before = len(trial.wrote_split())
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    assert await trial.do(trial.site.available, STABLE) == 9
    assert len(trial.wrote_split()) == before + 1
    await trial.do(trial.site.scale, STABLE, 11)  # nothing of ours follows what happens after the end
    await asyncio.sleep(1)
    assert len(trial.wrote_split()) == before + 1


@acceptance
async def test_pods_that_all_die_at_the_end_send_the_traffic_back_and_not_to_nobody(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy={"stages": [stage(50), stage(100, "1h")]})
    await trial.until_baking("100 %")
    await trial.do(trial.site.scale, CANDIDATE, 0)
    await trial.went_back(Phase.ROLLED_BACK)
    assert await trial.do(trial.site.available, STABLE) == 2


@acceptance
async def test_replicas_that_change_during_an_abort_do_not_keep_it_from_ending(trials: ClusterTrials) -> None:
    trial = await trials.begun(GatewaySite, HALF, pods=4, policy={"drain": "2s"})
    await trial.until_baking()
    await trial.signal(names.ABORT)
    for count in (3, 5, 4):
        await trial.do(trial.site.scale, STABLE, count)
    await trial.went_back(Phase.ABORTED)
    assert await trial.do(trial.site.replicas) == 0


def _crashes(trial: ClusterTrial) -> bool:
    return any(_waits(each) == "CrashLoopBackOff" for each in trial.site.api.list("Pod", trial.site.namespace))


def _waits(pod: dict[str, Any]) -> str | None:
    [container] = pod.get("status", {}).get("containerStatuses") or [{}]
    reason: str | None = container.get("state", {}).get("waiting", {}).get("reason")
    return reason


def _break_a_pod(trial: ClusterTrial) -> None:
    api, namespace = trial.site.api, trial.site.namespace
    pod = api.list("Pod", namespace, labels="track=stable")[0]["metadata"]["name"]
    api.patch("Pod", pod, {"metadata": {"annotations": {"kwok.test/ready": "never"}}}, namespace)
    ready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    api.patch("Pod", pod, ready, namespace, how="strategic", subresource="status")
