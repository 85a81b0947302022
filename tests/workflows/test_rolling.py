"""A router that moves traffic by itself: watched all the way, paused by a hold, taken back when it never arrives."""

import time
from collections.abc import Callable
from typing import Any

from rollout import names
from rollout.happened import Phase
from tests.workflows.stories import story
from tests.workflows.trial import Trial, Trials, eventually


def rolling(trials: Trials, bake: str = "2s", **strategy: Any) -> Trial:
    """A rollout by the rolling update of a Deployment that takes as long as the test wants."""
    trial = trials.trial({"kind": "rolling", "bake": bake, **strategy})
    trial.spec["routes"] = [
        {
            "kind": "rolling-update",
            "connection": trial.router.name,
            "namespace": "shop",
            "deployment": "checkout",
            "image": "shop/checkout:2.0",
        }
    ]
    trial.router.moves = True
    trial.router.finest = 100
    return trial


@story
async def test_pods_are_watched_while_they_are_replaced_and_the_bake_begins_when_all_are_new(trials: Trials) -> None:
    trial = await rolling(trials, bake="3s").start()
    on_its_way = await trial.until_baking("rolling")
    assert "on its way: rolling-update" in on_its_way.details
    assert "half of the pods are new" in on_its_way.details
    assert on_its_way.bake_ends_about is None
    still = await trial.until_looked(4)
    assert (still.stage, still.baked.total_seconds()) == ("rolling", 0)
    trial.router.arrive()
    await trial.until_baking("rolled")
    result = await trial.promoted()
    assert [each.title for each in result.stages] == ["rolling", "rolled"]
    assert result.stages[1].baked.total_seconds() >= 3
    assert trial.router.percents == [100, 100, 100]  # rolling, rolled, and our mark taken off
    assert sum((await trial.event_types()).values()) <= 60


@story
async def test_a_version_that_never_becomes_ready_goes_back_and_says_why(trials: Trials) -> None:
    trial = await rolling(trials).start()
    await trial.until_baking("rolling")
    trial.router.failed = "ProgressDeadlineExceeded: CrashLoopBackOff"
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.reason == "ProgressDeadlineExceeded: CrashLoopBackOff"


@story
async def test_a_breach_while_pods_are_replaced_goes_back_at_once(trials: Trials) -> None:
    trial = await rolling(trials).start()
    await trial.until_baking("rolling")
    trial.metrics.say(0.5)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert (result.gate, result.stage) == ("errors", "rolling")


@story
async def test_a_hold_pauses_the_update_and_a_resume_lets_it_go_on(trials: Trials) -> None:
    trial = await rolling(trials).start()
    await trial.until_baking("rolling")
    await trial.update(names.HOLD, {"by": "ana"})
    await eventually(lambda: trial.router.paused, "the update is paused")
    held = await trial.until_phase(Phase.HELD)
    assert "paused: rolling-update" in held.details
    assert "paused half-way" in held.details
    await trial.update(names.RESUME)
    await eventually(lambda: not trial.router.paused, "the update goes on")
    await trial.until_baking("rolling")
    await trial.until_looked()
    trial.router.arrive()
    await trial.promoted()


@story
async def test_an_update_that_cannot_be_paused_is_held_all_the_same_and_can_be_aborted(trials: Trials) -> None:
    trial = await rolling(trials).start()
    await trial.until_baking("rolling")
    trial.router.rejects = "the quota is exceeded"
    await trial.update(names.HOLD)
    held = await trial.until(lambda now: now.phase is Phase.HELD and now.notes, "it is held, and says more")
    assert any("could not be paused" in note and "quota" in note for note in held.notes)
    trial.router.rejects = None
    await trial.update(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_an_abort_while_it_is_paused_goes_back(trials: Trials) -> None:
    trial = await rolling(trials).start()
    await trial.until_baking("rolling")
    await trial.update(names.HOLD)
    await eventually(lambda: trial.router.paused, "the update is paused")
    await trial.until_phase(Phase.HELD)
    await trial.update(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    assert not trial.router.paused


def pods(trial: Trial, hash_: str, failing: float) -> None:
    """Requests of pods of one template, 200 a second, so many of them failing; new pods count once they are there."""
    old, began_ms = hash_ in trial.router.sides.values(), time.time_ns() // 1_000_000

    def total(share: float) -> Callable[[int], float | None]:
        def at(at_ms: int) -> float | None:
            since_ms = began_ms - 120_000 if old else began_ms
            return None if at_ms < since_ms else float((at_ms - since_ms) * 0.2 * share // 1)

        return at

    for status, share in (("200", 1 - failing), ("500", failing)):
        trial.metrics.count(
            "http_requests_total",
            total(share),
            pod_template_hash=hash_,
            instance=f"{hash_}:80",
            job="shop",
            status=status,
        )


@story
async def test_new_pods_are_judged_against_old_ones_by_the_hash_of_their_template(trials: Trials) -> None:
    trial = rolling(trials, takes="10s")
    trial.spec["gates"]["errors"] = {
        "kind": "error-ratio",
        "connection": trial.service,
        "requests": "http_requests_total",
        "errors": 'http_requests_total{status="500"}',
        "dispersion": 1,
        "versions": {"label": "pod_template_hash", "by": "pods"},
    }
    trial.router.sides = {"stable": "5c9f"}
    pods(trial, "5c9f", failing=0.005)
    await trial.start()
    on_its_way = await trial.until_baking("rolling")
    assert on_its_way.progress.gates.get("errors") is None
    pods(trial, "7d4b", failing=0.2)
    trial.router.sides = {"stable": "5c9f", "candidate": "7d4b"}
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert (result.gate, result.stage) == ("errors", "rolling")
    assert "more than stable" in result.reason


@story
async def test_new_pods_that_all_die_after_they_were_rolled_out_go_back_although_no_old_ones_are_left(
    trials: Trials,
) -> None:
    trial = await rolling(trials, bake="1h").start()
    await trial.until_baking("rolling")
    await trial.until_looked()
    trial.router.arrive()
    await trial.until_baking("rolled")
    trial.router.healthy = {"candidate": 0, "stable": 0}
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert "no member of the candidate pool is healthy" in result.reason


@story
async def test_a_fix_may_replace_pods_that_are_all_dead(trials: Trials) -> None:
    trial = rolling(trials)
    trial.router.healthy = {"candidate": 0, "stable": 0}
    await trial.start()
    await trial.until_baking("rolling")
    trial.router.healthy = {"candidate": 2, "stable": 2}
    await trial.until_looked()
    trial.router.arrive()
    await trial.promoted()


@story
async def test_an_update_that_is_paused_waits_for_people_as_long_as_it_takes(trials: Trials) -> None:
    trial = rolling(trials)
    trial.spec["policy"]["no_data"] = {"hold": "2s"}
    await trial.start()
    await trial.until_baking("rolling")
    await trial.update(names.HOLD)
    await trial.until_phase(Phase.HELD)
    held = await trial.until_looked(6)
    assert held.phase is Phase.HELD
    await trial.update(names.RESUME)
    trial.router.arrive()
    await trial.promoted()


@story
async def test_what_somebody_else_does_to_an_update_holds_it_and_is_put_right_by_a_resume(trials: Trials) -> None:
    trial = await rolling(trials).start()
    await trial.until_baking("rolling")
    trial.router.drift = "somebody paused it (last set by kubectl-rollout)"
    held = await trial.until_phase(Phase.HELD)
    assert held.stage == "rolling"
    assert "last set by kubectl-rollout" in (held.reason or "")
    await trial.update(names.RESUME)
    await trial.until_baking("rolling")
    await trial.until_looked()
    trial.router.arrive()
    await trial.promoted()


@story
async def test_an_abort_while_stable_drains_after_everything_was_rolled_out_goes_back(trials: Trials) -> None:
    trial = rolling(trials)
    trial.spec["policy"]["drain"] = "1h"
    trial.router.open_requests = {"stable": 1}
    await trial.start()
    await trial.until_baking("rolling")
    await trial.until_looked()
    trial.router.arrive()
    await trial.until_phase(Phase.FINALIZING)
    await trial.until_pending(names.DRAIN_POOL)
    await trial.update(names.ABORT)
    await eventually(lambda: trial.router.percent == 0, "it is back")
    trial.router.open_requests = {}
    await trial.until(lambda now: now.percent == 0, "it is told")
