"""Every branch of the one function that decides, as an on-call engineer meets it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout import names
from rollout.commands import obey
from rollout.decide import Advance, Ask, Decision, Expire, Hold, Promote, RollBack, Shift, Watch, decide, settle
from rollout.happened import Approved, Phase
from rollout.judge.verdict import Verdict
from rollout.messages import Command, TrafficRestored
from rollout.plan import Plan
from rollout.progress import MOST_REASSERTIONS, Progress
from rollout.spec import RolloutSpec
from tests.rollout.given import MINUTE, NOW, baked, baking, begun, both, ladder, planned, saw, shifted, spec, state, yes

LAST = 2
BAKE = Watch(Phase.BAKING, counting=True)
HOUR = timedelta(hours=1)


def decided(progress: Progress, now: datetime = NOW, plan: Plan | None = None) -> Decision:
    return decide(plan or planned(), progress, now)


def waiting(**approval: Any) -> tuple[Plan, Progress]:
    """A plan whose first stage asks, and a rollout that has just begun to ask."""
    asking = ladder({"percent": 5, "bake": "10m", "approval": {"within": "1h"} | approval}, {"percent": 100})
    plan = planned(spec(strategy=asking))
    there = begun(plan) if approval.get("before") else baked(0, plan)
    return plan, settle(Ask(), there, NOW)


def held(progress: Progress, reason: str = "held by ana", **more: Any) -> Progress:
    return progress.hold(reason, None, NOW, **more)


def reasserting() -> RolloutSpec:
    return spec(policy={"drift": "reassert"})


# ── Up ──────────────────────────────────────────────────────────────────────────────────────────


def test_after_preflight_the_first_percent_is_written() -> None:
    assert decided(begun()) == Shift(5, expected=0, reassert=False)


def test_a_percent_that_is_proven_is_baked() -> None:
    assert decided(baking()) == BAKE


def test_a_bake_goes_on_until_all_of_it_was_observed() -> None:
    almost = saw("interrupted", both(observed=10 * MINUTE - timedelta(milliseconds=1)))
    assert decided(baking().watched(almost, spec(), NOW, counted=True)) == BAKE


def test_a_stage_that_asks_nobody_is_left_when_its_bake_is_done() -> None:
    assert decided(baked(1)) == Advance()


def test_the_next_percent_is_the_next_stage_s() -> None:
    assert decided(settle(Advance(), baked(1), NOW)) == Shift(100, expected=50, reassert=False)


def test_after_the_last_stage_the_rollout_is_promoted() -> None:
    assert decided(baked(LAST)) == Promote()


def test_a_last_stage_that_asks_is_promoted_only_after_a_yes() -> None:
    plan = planned(spec(strategy=ladder({"percent": 100, "approval": {}})))
    assert decided(baked(0, plan), plan=plan) == Ask()
    assert decided(baked(0, plan).approved(0, yes()), plan=plan) == Promote()


@pytest.mark.parametrize("verdict", [Verdict.UNDECIDED, Verdict.NO_DATA, Verdict.BREACHED])
def test_a_stage_is_not_left_while_a_gate_does_not_say_healthy(verdict: Verdict) -> None:
    unsure = saw("interrupted", both(verdict, observed=HOUR))
    assert decided(baked(1).watched(unsure, spec(), NOW, counted=True)) == BAKE
    sure = saw("baked", both(observed=HOUR))
    assert decided(baked(1).watched(sure, spec(), NOW, counted=True)) == Advance()


@pytest.mark.parametrize("hidden", ["gate errors", "envoy edge-1/checkout"])
def test_a_stage_is_not_left_while_something_cannot_be_seen(hidden: str) -> None:
    """The gate's last answer was healthy, and its server has been silent since."""
    blind = baked(1).watched(saw("blind", both(observed=HOUR), unseen=(hidden,)), spec(), NOW, counted=True)
    assert decided(blind) == BAKE
    assert decided(blind.watched(saw("baked", both(observed=HOUR)), spec(), NOW, counted=True)) == Advance()


def test_a_stage_without_gates_is_left_by_the_clock() -> None:
    plan = planned(spec(strategy=ladder({"percent": 5, "bake": "10m"}, {"percent": 100}), gates=None))
    assert decided(baking(0, plan), plan=plan) == BAKE
    watched = saw("baked", {})
    done = watched.model_copy(update={"watching": watched.watching.model_copy(update={"observed_ms": 600_000})})
    assert decided(baking(0, plan).watched(done, spec(), NOW, counted=True), plan=plan) == Advance()


# ── Advance by hand ─────────────────────────────────────────────────────────────────────────────


def test_advance_ends_the_bake_at_once() -> None:
    assert decided(baking(1).advanced("ana")) == Advance()


def test_advance_ends_the_bake_also_while_a_rule_is_pending() -> None:
    pending = baking(1).watched(saw("interrupted", both(Verdict.UNDECIDED)), spec(), NOW, counted=True)
    assert decided(pending.advanced("")) == Advance()


def test_advance_does_not_replace_an_approval() -> None:
    assert decided(baking(0).advanced("ana")) == Ask()


def test_an_advance_counts_for_one_stage() -> None:
    there = settle(Advance(), baking(1).advanced("ana"), NOW)
    assert there.advanced_by is None
    assert decided(shifted(there, 100)) == BAKE


# ── Approval ────────────────────────────────────────────────────────────────────────────────────


def test_after_its_bake_a_stage_asks_and_watches_on() -> None:
    plan, there = waiting()
    assert decided(baked(0, plan), plan=plan) == Ask()
    assert decided(there, plan=plan) == Watch(Phase.AWAITING_APPROVAL, counting=False, until=NOW + HOUR)


def test_a_stage_that_asks_before_asks_before_anything_moves() -> None:
    plan, there = waiting(before=True)
    assert decided(begun(plan), plan=plan) == Ask()
    assert decided(there, plan=plan) == Watch(Phase.AWAITING_APPROVAL, counting=False, until=NOW + HOUR)
    assert decided(there.approved(0, yes()), plan=plan) == Shift(5, expected=0, reassert=False)
    assert decided(shifted(there.approved(0, yes()), 5), plan=plan) == BAKE


def test_a_yes_is_enough() -> None:
    plan, there = waiting()
    assert decided(there.approved(0, yes()), plan=plan) == Advance()


def test_a_yes_that_came_early_is_kept() -> None:
    assert decided(baking().approved(0, yes())) == BAKE
    assert decided(baked().approved(0, yes())) == Advance()


def test_a_yes_does_not_move_traffic_while_a_rule_is_pending() -> None:
    plan, there = waiting()
    pending = there.watched(
        saw("interrupted", {"errors": state(Verdict.UNDECIDED, observed=HOUR), "conversion": state(observed=HOUR)}),
        spec(),
        NOW,
        counted=False,
    )
    assert decided(pending.approved(0, yes()), plan=plan) == BAKE


def test_a_yes_that_waited_for_a_worker_does_not_move_traffic_on_yesterday_s_health() -> None:
    """No worker for an hour: the yes is read first, and the last answer of every gate is an hour old."""
    plan, there = waiting()
    hour_old = saw("interrupted", both(observed=HOUR))
    late = NOW + 50 * MINUTE
    answered = there.approved(0, yes()).watched(hour_old, spec(), late, counted=False)
    assert decided(answered, late, plan) == BAKE
    asked_again = answered.watched(saw("baked", both(observed=HOUR)), spec(), late, counted=True)
    assert decided(asked_again, late, plan) == Advance()


def test_a_watch_that_ended_by_itself_is_believed_whatever_its_clock_says() -> None:
    """Clocks differ; a rollout must not wait for ever for one that is a minute behind."""
    there = baking(1).watched(saw("baked", both(observed=HOUR)), spec(), NOW + MINUTE, counted=True)
    assert decided(there, NOW + MINUTE) == Advance()


def test_people_are_asked_and_their_silence_counts_also_while_a_gate_is_silent() -> None:
    plan, there = waiting()
    blind = there.watched(saw("blind", both(Verdict.NO_DATA), unseen=("gate errors",)), spec(), NOW, counted=False)
    assert decided(blind, plan=plan) == Watch(Phase.AWAITING_APPROVAL, counting=False, until=NOW + HOUR)
    assert isinstance(decided(blind, NOW + HOUR, plan), Expire)
    assert decided(blind.approved(0, yes()), plan=plan) == BAKE


def test_the_deadline_is_exact() -> None:
    plan, there = waiting()
    still = decided(there, NOW + HOUR - timedelta(microseconds=1), plan)
    assert isinstance(still, Watch)
    assert decided(there, NOW + HOUR, plan) == Expire("nobody approved 5 % in time")


def test_silence_sends_the_traffic_back_by_default() -> None:
    plan, there = waiting()
    over = settle(Expire("nobody approved 5 % in time"), there, NOW + HOUR)
    assert over.stop is not None
    assert (over.stop.outcome, over.stop.reason) == (Phase.EXPIRED, "nobody approved 5 % in time")
    assert isinstance(decided(over, NOW + HOUR, plan), RollBack)


def test_silence_can_also_hold_and_resume_asks_anew() -> None:
    plan, there = waiting(then="hold")
    turn = decided(there, NOW + HOUR, plan)
    assert turn == Hold("nobody approved 5 % in time")
    kept = settle(turn, there, NOW + HOUR)
    assert decided(kept, NOW + 9 * HOUR, plan) == Watch(Phase.HELD, counting=False)
    again = kept.resumed(NOW + 9 * HOUR)
    assert decided(again, NOW + 9 * HOUR, plan) == Ask()
    asked = settle(Ask(), again, NOW + 9 * HOUR)
    assert decided(asked, NOW + 9 * HOUR, plan) == Watch(Phase.AWAITING_APPROVAL, counting=False, until=NOW + 10 * HOUR)


def test_a_yes_during_the_hold_after_silence_is_enough_once_resumed() -> None:
    plan, there = waiting(then="hold")
    kept = settle(Hold("nobody approved 5 % in time"), there, NOW + HOUR).approved(0, yes())
    assert decided(kept.resumed(NOW + 2 * HOUR), NOW + 2 * HOUR, plan) == Advance()


def test_time_that_was_held_does_not_count_against_the_deadline() -> None:
    plan, there = waiting()
    paused = there.hold("held by ana", "ana", NOW + 30 * MINUTE)
    assert decided(paused, NOW + 9 * HOUR, plan) == Watch(Phase.HELD, counting=False)
    on = paused.resumed(NOW + 9 * HOUR)
    left = NOW + 9 * HOUR + 30 * MINUTE
    assert decided(on, NOW + 9 * HOUR, plan) == Watch(Phase.AWAITING_APPROVAL, counting=False, until=left)


# ── Hold and resume ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "there",
    [
        begun(),
        baking(),
        baked(1),
        baked(LAST),
        baking(1).advanced("ana"),
        baked(0).approved(0, yes()),
        baking().but(arrived=False, reassert=True),
    ],
)
def test_a_hold_beats_everything_that_goes_up(there: Progress) -> None:
    assert decided(held(there)) == Watch(Phase.HELD, counting=False)
    assert decided(held(there).resumed(NOW)) == decided(there)


def test_while_held_what_led_there_is_no_news_again() -> None:
    both_known = held(held(baking(), acknowledged="errors"), acknowledged="drift")
    assert decided(both_known) == Watch(Phase.HELD, counting=False, acknowledged=("errors", "drift"))


def test_resume_after_drift_writes_our_value_again() -> None:
    there = baking(1).watched(saw("drifted", reason="moved to 60 %"), spec(), NOW, counted=True)
    assert decided(there) == Watch(Phase.HELD, counting=False, acknowledged=("drift",))
    assert decided(there.resumed(NOW)) == Shift(50, expected=50, reassert=True)
    assert decided(shifted(there.resumed(NOW), 50)) == BAKE


def test_resume_after_a_percent_that_could_not_be_proven_tries_again() -> None:
    failed = settle(Advance(), baked(1), NOW).shifting(100, 9)
    kept = held(failed, "could not prove 100 %: HTTP 500", acknowledged="drift")
    assert decided(kept.resumed(NOW)) == Shift(100, expected=50, reassert=True)


def test_resume_after_drift_under_an_approval_before_puts_the_old_percent_right_and_asks_on() -> None:
    stages = ladder({"percent": 5, "bake": "10m"}, {"percent": 100, "approval": {"before": True, "within": "1h"}})
    plan = planned(spec(strategy=stages))
    asked = settle(Ask(), settle(Advance(), baked(0, plan), NOW), NOW)
    moved = asked.watched(saw("drifted", reason="moved"), spec(), NOW, counted=False).resumed(NOW)
    assert decided(moved, plan=plan) == Shift(5, expected=5, reassert=True)
    right = shifted(moved, 5)
    assert not right.arrived
    assert decided(right, plan=plan) == Watch(Phase.AWAITING_APPROVAL, counting=False, until=NOW + HOUR)
    assert decided(right.approved(1, yes()), plan=plan) == Shift(100, expected=5, reassert=False)


def test_a_hold_during_preflight_keeps_everything_where_it_is() -> None:
    early = Progress().hold("held by ana", "ana", NOW).planned(planned())
    assert decided(early) == Watch(Phase.HELD, counting=False)
    assert not early.touched
    assert decided(early.resumed(NOW)) == Shift(5, expected=0, reassert=False)


# ── Drift put right by policy ───────────────────────────────────────────────────────────────────


def test_policy_puts_drift_right_three_times_and_then_asks_people() -> None:
    there = baking(1)
    for _ in range(MOST_REASSERTIONS):
        there = there.watched(saw("drifted", reason="moved"), reasserting(), NOW, counted=True)
        assert decided(there) == Shift(50, expected=50, reassert=True)
        there = shifted(there, 50)
    there = there.watched(saw("drifted", reason="moved"), reasserting(), NOW, counted=True)
    assert decided(there) == Watch(Phase.HELD, counting=False, acknowledged=("drift",))
    assert len(there.notes) == MOST_REASSERTIONS
    assert there.notes[0] == "drift put right (1 of 3): moved"


def test_drift_while_held_waits_for_resume_and_uses_up_no_turn() -> None:
    """Nothing moves while held, also not back: claiming "put right" would be a lie."""
    there = held(baking(1)).watched(saw("drifted", reason="moved"), reasserting(), NOW, counted=False)
    assert decided(there) == Watch(Phase.HELD, counting=False, acknowledged=("drift",))
    assert (there.reassertions, there.notes) == (0, ())
    assert decided(there.resumed(NOW)) == Shift(50, expected=50, reassert=True)


# ── Back ────────────────────────────────────────────────────────────────────────────────────────

EVERYWHERE = {
    "preflight": Progress(),
    "planned": begun(),
    "shifting": begun().shifting(5, 1),
    "baking": baking(),
    "baked": baked(),
    "asking": waiting()[1],
    "asking before": waiting(before=True)[1],
    "approved": baked().approved(0, yes()),
    "advanced": baking(1).advanced("ana"),
    "held": held(baking()),
    "held by drift": held(baking(), acknowledged="drift"),
    "blind": baking().but(blind="no answer"),
    "reasserting": baking().but(arrived=False, reassert=True),
    "last stage": baked(LAST),
    "finalizing": baked(LAST).in_phase(Phase.FINALIZING),
}


@pytest.mark.parametrize("there", EVERYWHERE.values(), ids=EVERYWHERE)
def test_an_abort_turns_every_state_around(there: Progress) -> None:
    stopped = obey(planned(), there, names.ABORT, Command(by="ana"), NOW)
    back = decided(stopped)
    assert isinstance(back, RollBack)
    assert (back.stop.outcome, back.stop.by, back.stop.reason) == (Phase.ABORTED, "ana", "aborted by ana")


@pytest.mark.parametrize("there", EVERYWHERE.values(), ids=EVERYWHERE)
def test_nothing_turns_a_stopped_rollout_around_again(there: Progress) -> None:
    stopped = there.stopped(Phase.ROLLED_BACK, "gate errors: 0.2", NOW, gate="errors")
    assert stopped.stop is not None
    later: list[Progress] = [
        stopped.stopped(Phase.ABORTED, "aborted", NOW),
        stopped.hold("held", None, NOW),
        stopped.hold("held", None, NOW).resumed(NOW),
        stopped.approved(0, Approved(at=NOW)),
        stopped.restored(TrafficRestored(epoch=9)),
    ]
    for progress in later:
        assert decided(progress) == RollBack(stopped.stop)
