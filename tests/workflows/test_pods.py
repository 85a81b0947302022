"""Pods that follow the traffic: enough before each raise, as many as needed on the way back, none left at its end."""

from rollout import names
from rollout.happened import Phase
from tests.fakes.workloads import FakeWorkloads
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trial, Trials, eventually, ladder


def with_pods(trial: Trial, **changes: object) -> FakeWorkloads:
    """Let a rollout have pods that follow it."""
    trial.spec["workload"] = {
        "kind": "kubernetes-deployment",
        "connection": trial.service,
        "namespace": "shop",
        "candidate": "checkout-canary",
        "stable": "checkout",
    }
    pods = FakeWorkloads(**changes)  # type: ignore[arg-type]  # its fields, by name
    trial.connections.workloads[trial.service] = pods
    return pods


@story
async def test_nothing_is_raised_before_the_candidate_has_the_pods_for_it(trials: Trials) -> None:
    trial = trials.trial(ladder(50, 100))
    pods = with_pods(trial, stable=4, starts=False)
    await trial.start()
    await eventually(lambda: pods.replicas == 2, "half of stable's pods are there")
    await trial.until_looked(0)
    assert not trial.router.written
    pods.starts, pods.ready = True, 2
    result = await trial.promoted()
    assert list(result.percents_seen) == [50, 100]
    assert [write.percent for write in pods.writes] == [50, 100, 100]
    assert (pods.replicas, pods.owner) == (4, None)  # a promoted candidate keeps its pods, and nobody holds them


@story
async def test_a_preview_has_a_pod_before_anybody_may_look_at_it(trials: Trials) -> None:
    trial = trials.trial({"kind": "blue-green", "preview": "1h", "bake": "2s"})
    pods = with_pods(trial, stable=4)
    await trial.start()
    await trial.until_baking("preview")
    assert (pods.replicas, trial.router.percent) == (1, 0)
    await trial.update(names.ADVANCE)
    await trial.promoted()
    assert pods.replicas == 4


@story
async def test_a_way_back_gives_stable_no_more_than_its_pods_carry_until_they_have_grown(trials: Trials) -> None:
    trial = trials.trial({"stages": [{"percent": 100, "bake": "1h"}]}, policy={"alarm_after": "1h"})
    pods = with_pods(trial, stable=4)
    await trial.start()
    await trial.until_baking()
    pods.stable_ready = 2  # made smaller while it had no traffic: 62.5 % of it all
    await trial.update(names.ABORT)
    await trial.until_written(37.5)
    await eventually(lambda: trial.router.percent == 37.5, "so much stays on the candidate")
    pods.stable_ready = 4
    result = await trial.went_back(Phase.ABORTED)
    assert trial.router.percents == [100, 37.5, 0]
    assert "scaled from 4 to 0" in result.notes


@story
async def test_stable_that_never_grows_gets_everything_after_a_while(trials: Trials) -> None:
    trial = trials.trial({"stages": [{"percent": 100, "bake": "1h"}]}, policy={"alarm_after": "3s"})
    pods = with_pods(trial, stable=4)
    await trial.start()
    await trial.until_baking()
    pods.stable_ready = 1
    await trial.update(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    assert trial.router.percents[-1] == 0


@story
async def test_nine_of_ten_pods_of_stable_carry_everything(trials: Trials) -> None:
    trial = trials.trial(LASTING)
    pods = with_pods(trial, stable=10)
    await trial.start()
    await trial.until_baking()
    pods.stable_ready = 9
    await trial.update(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    assert trial.router.percents == [5, 0]


@story
async def test_a_way_back_does_not_wait_for_pods_that_cannot_be_counted(trials: Trials) -> None:
    trial = trials.trial(LASTING)
    pods = with_pods(trial, stable=10)
    await trial.start()
    await trial.until_baking()
    pods.reachable = False
    await trial.update(names.ABORT)
    result = await trial.went_back(Phase.ABORTED)
    assert trial.router.percents == [5, 0]
    assert any("pods were left" in note for note in result.notes)


@story
async def test_a_rollout_without_a_ready_stable_is_refused(trials: Trials) -> None:
    trial = trials.trial()
    with_pods(trial, stable_ready=0)
    await trial.start()
    refused = await trial.failed("Refused")
    assert "stable has no ready pod" in refused.message


@story
async def test_pods_that_another_rollout_holds_are_left_alone(trials: Trials) -> None:
    trial = trials.trial()
    pods = with_pods(trial, owner="rollout:prod/other", epoch=7)
    await trial.start()
    refused = await trial.failed("Refused")
    assert "is held by rollout:prod/other" in refused.message
    assert pods.writes == []


@story
async def test_traffic_is_not_given_to_a_stable_without_any_ready_pod(trials: Trials) -> None:
    trial = trials.trial({"stages": [{"percent": 100, "bake": "1h"}]}, policy={"alarm_after": "1s"})
    pods = with_pods(trial, stable=4)
    await trial.start()
    await trial.until_baking()
    pods.stable_ready = 0
    await trial.update(names.ABORT)
    await trial.until_phase(Phase.STUCK)
    assert trial.router.percent == 100
    pods.stable_ready = 4
    await trial.went_back(Phase.ABORTED)


@story
async def test_what_is_only_put_right_does_not_wait_for_pods(trials: Trials) -> None:
    trial = trials.trial(LASTING, policy={"drift": "reassert"})
    pods = with_pods(trial, stable=4)
    await trial.start()
    await trial.until_baking()
    pods.ready, pods.starts = 0, False
    trial.router.edit(80)
    await eventually(lambda: trial.router.percents.count(5) == 2, "5 % is written again")
    await trial.update(names.ABORT)
    await trial.went_back(Phase.ABORTED)
