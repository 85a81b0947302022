"""Pods that follow the traffic: enough before each raise, as many as needed on the way back, none left at its end."""

from rollout import names
from rollout.happened import Phase
from tests.workflows.podded import baking, until_awaited, with_pods
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trials, eventually, ladder


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
    trial, pods = await baking(trials, {"stages": [{"percent": 100, "bake": "1h"}]}, policy={"alarm_after": "1h"})
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
    trial, pods = await baking(trials, {"stages": [{"percent": 100, "bake": "1h"}]}, policy={"alarm_after": "3s"})
    pods.stable_ready = 1
    await trial.update(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    assert trial.router.percents[-1] == 0


@story
async def test_nine_of_ten_pods_of_stable_carry_everything(trials: Trials) -> None:
    trial, pods = await baking(trials, LASTING, stable=10)
    pods.stable_ready = 9
    await trial.update(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    assert trial.router.percents == [5, 0]


@story
async def test_a_way_back_does_not_wait_for_pods_that_cannot_be_counted(trials: Trials) -> None:
    trial, pods = await baking(trials, LASTING, stable=10)
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
    trial, pods = await baking(trials, {"stages": [{"percent": 100, "bake": "1h"}]}, policy={"alarm_after": "1s"})
    pods.stable_ready = 0
    await trial.update(names.ABORT)
    await trial.until_phase(Phase.STUCK)
    assert trial.router.percent == 100
    pods.stable_ready = 4
    await trial.went_back(Phase.ABORTED)


@story
async def test_what_is_only_put_right_does_not_wait_for_pods(trials: Trials) -> None:
    trial, pods = await baking(trials, LASTING, policy={"drift": "reassert"})
    pods.ready, pods.starts = 0, False
    trial.router.edit(80)
    await eventually(lambda: trial.router.percents.count(5) == 2, "5 % is written again")
    await trial.update(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_a_breach_while_the_next_pods_come_brings_the_traffic_back_at_once(trials: Trials) -> None:
    trial, pods = await baking(trials, LASTING, policy={"ready_within": "1h"})
    pods.starts, pods.ready = False, 1  # what 100 % needs never comes
    await trial.update(names.ADVANCE)
    await eventually(lambda: pods.replicas == 4, "the pods for 100 % are asked for")
    await trial.until(lambda now: "pods for 100 % are waited for; 5 % is watched" in now.details, "it waits for them")
    trial.metrics.say(0.2)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.gate == "errors"
    assert trial.router.percents == [5, 0]
    assert pods.replicas == 0


@story
async def test_pods_that_never_come_hold_the_rollout_where_it_is(trials: Trials) -> None:
    trial, pods = await baking(trials, LASTING, policy={"ready_within": "10s"})
    pods.starts, pods.ready = False, 1
    await trial.update(names.ADVANCE)
    held = await trial.until_phase(Phase.HELD)
    assert (held.reason or "").startswith("could not get the pods for 100 %")
    assert (held.reason or "").endswith("1 of 4 candidate pods are ready")
    assert trial.router.percents == [5]
    pods.ready = 4
    await trial.update(names.RESUME)
    await trial.promoted()


@story
async def test_a_hold_while_the_next_pods_come_lets_go_of_them(trials: Trials) -> None:
    trial, pods = await baking(trials, LASTING)
    pods.starts, pods.ready = False, 1
    await trial.update(names.ADVANCE)
    await eventually(lambda: pods.replicas == 4, "the pods for 100 % are asked for")
    await trial.update(names.HOLD)
    await trial.until_phase(Phase.HELD)
    pods.starts, pods.ready = True, 4
    await trial.until_looked()
    assert trial.router.percents == [5]
    await trial.update(names.RESUME)
    await trial.promoted()


@story
async def test_after_a_resume_the_next_pods_are_waited_for_with_open_eyes_again(trials: Trials) -> None:
    trial, pods = await baking(trials, LASTING, policy={"ready_within": "10s"})
    pods.starts, pods.ready = False, 1
    await trial.update(names.ADVANCE)
    await trial.until_phase(Phase.HELD)
    await trial.update(names.RESUME)
    await until_awaited(trial)
    trial.metrics.say(0.2)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.gate == "errors"


@story
async def test_a_hand_edit_while_the_next_pods_come_is_put_right_before_they_are_there(trials: Trials) -> None:
    trial, pods = await baking(trials, LASTING, policy={"ready_within": "1h", "drift": "reassert"})
    pods.starts, pods.ready = False, 1
    await trial.update(names.ADVANCE)
    await until_awaited(trial)
    trial.router.edit(80)
    await eventually(lambda: trial.router.percents == [5, 5], "5 % is written again")
    await until_awaited(trial)
    pods.ready = 4
    await trial.promoted()


@story
async def test_what_was_tolerated_is_tolerated_while_the_next_pods_come(trials: Trials) -> None:
    trial, pods = await baking(trials, LASTING, policy={"ready_within": "1h"}, gates={"errors": {"on_breach": "hold"}})
    pods.starts, pods.ready = False, 1
    trial.metrics.say(0.2)
    await trial.until_phase(Phase.HELD)
    await trial.update(names.RESUME)
    await trial.until_baking()
    await trial.update(names.ADVANCE)
    await until_awaited(trial)
    looked = len(trial.metrics.asked)
    await eventually(lambda: len(trial.metrics.asked) > looked + 2, "the gate was looked at")
    assert (await trial.status()).phase is Phase.SHIFTING
    trial.metrics.say(0)
    pods.ready = 4
    await trial.until_baking("100 %")


@story
async def test_a_canary_whose_pods_come_in_time_fits_in_120_events(trials: Trials) -> None:
    trial = trials.trial(ladder(5, 25, 50, 100))
    pods = with_pods(trial, stable=4, ready=4)
    await trial.start()
    await eventually(lambda: pods.replicas, "pods are wanted")
    await trial.promoted()
    size = len(await trial.events())
    print(f"events of a 5/25/50/100 canary whose pods follow: {size}")
    assert size <= 120
