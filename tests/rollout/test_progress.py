"""One transition at a time: what is remembered, what is forgotten, what is only said once."""

from datetime import timedelta

import pytest

from rollout.happened import Phase, RolloutResult
from rollout.judge.counters import begin
from rollout.judge.evidence import Evidence, Tally
from rollout.judge.mixture import Mixture
from rollout.judge.split import Split
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import TrafficRestored, TrafficShifted
from rollout.progress import MOST_NOTES, Progress
from tests.rollout.given import MINUTE, NOW, baked, baking, begun, both, planned, saw, shifted, spec, state, yes

LATER = NOW + MINUTE


# ── Moving ──────────────────────────────────────────────────────────────────────────────────────


def test_a_write_that_is_under_way_may_already_carry_traffic() -> None:
    there = begun().shifting(5, 41)
    assert (there.phase, there.reaching, there.epoch, there.touched) == (Phase.SHIFTING, 5, 41, True)
    assert (there.percent, there.arrived) == (0, False)


def test_a_percent_counts_once_it_is_proven() -> None:
    there = shifted(begun(), 5)
    assert (there.percent, there.reaching, there.arrived, there.percents_seen) == (5, None, True, (5,))
    assert there.records[0].arrived_at == NOW


def test_putting_drift_right_is_no_second_arrival() -> None:
    again = shifted(baking().but(arrived=False, reassert=True), 5, LATER)
    assert again.records[0].arrived_at == NOW
    assert list(again.percents_seen) == [5]
    assert (again.arrived, again.reassert) == (True, False)


def test_putting_an_earlier_percent_right_is_no_arrival_at_all() -> None:
    there = shifted(baked(0).next_stage(NOW).but(reassert=True), 5)
    assert (there.percent, there.arrived, there.reassert) == (5, False, False)
    assert there.records[1].arrived_at is None


def test_the_next_stage_starts_its_clocks_and_keeps_its_evidence() -> None:
    pending = {"errors": state(Verdict.UNDECIDED, observed=10 * MINUTE), "conversion": state(observed=10 * MINUTE)}
    there = baking().watched(saw("interrupted", pending), spec(), NOW, counted=True).asked(NOW).advanced("ana")
    on = there.next_stage(LATER)
    assert (on.stage, on.arrived, on.baked, on.advanced_by, on.waiting_since) == (1, False, timedelta(), None, None)
    assert {name: known.observed_ms for name, known in on.gates.items()} == {"errors": 0, "conversion": 0}
    assert on.gates["errors"].active == pending["errors"].active
    assert (on.records[0].left_at, on.records[0].baked, on.records[0].ended_early_by) == (LATER, 10 * MINUTE, "ana")


def test_the_way_back_ends_at_0_and_says_what_it_overwrote() -> None:
    back = baking(1).restored(TrafficRestored(epoch=9, overwrote=("envoy edge-1/checkout was at 60 %",)))
    assert (back.percent, back.reaching, back.percents_seen) == (0, None, (5, 50, 0))
    assert back.overwrote == ("envoy edge-1/checkout was at 60 %",)


def test_a_first_write_that_was_never_proven_was_moved_all_the_same() -> None:
    assert begun().shifting(5, 1).restored(TrafficRestored(epoch=2)).percents_seen == (0,)


# ── Watching ────────────────────────────────────────────────────────────────────────────────────


def test_only_a_watch_that_counts_adds_to_the_bake() -> None:
    seen = saw("interrupted", both(observed=3 * MINUTE))
    assert baking().watched(seen, spec(), NOW, counted=True).baked == 3 * MINUTE
    assert baking().watched(seen, spec(), NOW, counted=False).baked == timedelta()


def test_the_bake_never_shrinks() -> None:
    there = baking().watched(saw("interrupted", both(observed=3 * MINUTE)), spec(), NOW, counted=True)
    assert there.watched(saw("interrupted", both(observed=MINUTE)), spec(), NOW, counted=True).baked == 3 * MINUTE


def test_the_bake_is_what_the_least_observed_gate_has_seen() -> None:
    states = {"errors": state(observed=MINUTE), "conversion": state(observed=9 * MINUTE)}
    there = baking().watched(saw("interrupted", states), spec(), NOW, counted=True)
    assert there.baked == MINUTE
    assert there.records[0].gates["errors"] == "healthy: 0.01, limit above 0.05 for 2m"


def test_a_gate_that_is_not_watched_is_forgotten() -> None:
    """Asked again two stages later, its silence in between would else count as five minutes without data."""
    plan = planned()
    there = baking(2, plan).watched(saw("interrupted", {"errors": state()}), spec(), NOW, counted=True)
    assert set(there.gates) == {"errors"}


def test_a_breach_sends_the_traffic_back() -> None:
    there = baking().watched(saw("breached", gate="errors", reason="0.2"), spec(), NOW, counted=True)
    assert there.stop is not None
    assert (there.stop.outcome, there.stop.reason, there.stop.gate, there.stop.at) == (
        Phase.ROLLED_BACK,
        "gate errors: 0.2",
        "errors",
        NOW,
    )


def test_a_breach_of_a_gate_that_asks_people_holds() -> None:
    there = baking().watched(saw("breached", gate="conversion", reason="0.01"), spec(), NOW, counted=True)
    assert there.stop is None
    assert there.held is not None
    assert (there.held.reason, there.held.acknowledged) == ("gate conversion: 0.01", ("conversion",))


def test_a_breach_while_held_still_sends_the_traffic_back() -> None:
    held = baking().hold("held by ana", "ana", NOW)
    there = held.watched(saw("breached", gate="errors", reason="0.2"), spec(), NOW, counted=False)
    assert there.stop is not None


def test_missing_data_send_the_traffic_back_or_hold_as_policy_says() -> None:
    silent = saw("no-data", reason="gate errors, for 5m: refused (limit 5m)", unseen=("gate errors",))
    back = baking().watched(silent, spec(), NOW, counted=True)
    assert back.stop is not None
    assert back.stop.reason == "no data: gate errors, for 5m: refused (limit 5m)"
    patient = spec(policy={"no_data": {"then": "hold"}})
    kept = baking().watched(silent, patient, NOW, counted=True)
    assert kept.held is not None
    assert kept.held.acknowledged == ("no-data",)
    assert kept.blind == "gate errors, for 5m: refused (limit 5m)"


def test_blindness_is_said_until_something_is_seen_again() -> None:
    blind = baking().watched(
        saw("blind", reason="gate errors: refused", unseen=("gate errors",)), spec(), NOW, counted=True
    )
    assert (blind.blind, blind.blind_reports, blind.unseen) == ("gate errors: refused", 1, ("gate errors",))
    still = blind.watched(saw("interrupted", unseen=("gate errors",)), spec(), NOW, counted=True)
    assert still.blind == "gate errors: refused"
    assert blind.watched(saw("sighted"), spec(), NOW, counted=True).blind is None


def test_blindness_is_over_also_when_nobody_reports_it_any_more() -> None:
    """After ten reports the watch is quiet; "health cannot be seen" must not stay on the screen for ever."""
    blind = baking().but(blind="gate errors: refused", blind_reports=10, unseen=("gate errors",))
    assert blind.watched(saw("baked"), spec(), NOW, counted=True).blind is None


# ── Gates that count ────────────────────────────────────────────────────────────────────────────

COUNTS = spec(
    gates={"errors": {"kind": "error-ratio", "requests": "r", "errors": "e"}, "pods": {"query": "x > 1"}},
    strategy=None,
    approvals=None,
)
KNOWN = Evidence(worse=Mixture((7.0,), 0.1), stage=0, total=Tally(100, 5, 900, 3))


def counted(verdict: Verdict = Verdict.UNDECIDED, **changes: object) -> GateState:
    return state(verdict, evidence=KNOWN, counters=begin(0), split=Split(stable=9), observed=MINUTE, **changes)


def test_evidence_of_a_gate_that_is_not_watched_is_parked_and_its_clocks_are_not() -> None:
    there = baking().watched(saw("baked", {"errors": counted(), "pods": state()}), COUNTS, NOW, counted=True)
    there = there.next_stage(NOW).watched(saw("interrupted", {"pods": state()}), COUNTS, NOW, counted=True)
    parked = there.gates["errors"]
    assert (parked.evidence, parked.counters, parked.split, parked.observed_ms) == (KNOWN, None, None, 0)
    assert set(there.records[1].gates) == {"pods"}
    again = there.watched(saw("interrupted", {"pods": state()}), COUNTS, NOW, counted=True)
    assert again.gates["errors"] == parked
    assert Progress.model_validate_json(again.model_dump_json()) == again


def test_a_parked_gate_does_not_shorten_the_bake_and_comes_back_with_its_evidence() -> None:
    there = baking().watched(saw("baked", {"errors": counted()}), COUNTS, NOW, counted=True).next_stage(NOW)
    there = there.watched(saw("interrupted", {"pods": state(observed=9 * MINUTE)}), COUNTS, NOW, counted=True)
    assert there.baked == 9 * MINUTE
    back = there.watched(saw("interrupted", {"errors": counted()}), COUNTS, NOW, counted=True)
    assert set(back.gates) == {"errors"}
    assert back.gates["errors"].counters is not None


def test_a_gate_without_evidence_is_still_forgotten() -> None:
    there = baking().watched(saw("interrupted", {"errors": counted(), "pods": state()}), COUNTS, NOW, counted=True)
    assert set(there.watched(saw("interrupted", {}), COUNTS, NOW, counted=True).gates) == {"errors"}


def test_a_bake_whose_gates_have_all_proven_health_may_end_early_in_its_stage_only() -> None:
    early = baking().watched(saw("proven", {"errors": counted(Verdict.HEALTHY)}), COUNTS, NOW, counted=True)
    assert (early.proven, early.records[0].proven, early.baked, early.stop) == (True, True, MINUTE, None)
    on = early.next_stage(NOW)
    assert (on.proven, on.records[0].proven, on.records[1].proven) == (False, True, False)


@pytest.mark.parametrize(("enough", "doubts"), [(True, ()), (False, ("gate errors",))])
def test_what_is_undecided_keeps_a_stage_unless_policy_says_that_it_is_enough(
    enough: bool, doubts: tuple[str, ...]
) -> None:
    there = baking().but(gates={"errors": counted(enough=enough), "conversion": state()})
    assert there.doubts(planned().stages[0]) == doubts


@pytest.mark.parametrize("verdict", [Verdict.BREACHED, Verdict.NO_DATA])
def test_enough_is_about_what_is_undecided_and_nothing_else(verdict: Verdict) -> None:
    assert not counted(verdict, enough=True).passes
    assert counted(Verdict.HEALTHY).passes


def test_a_doubt_holds_and_is_tolerated_by_whoever_resumes_until_the_next_percent_is_there() -> None:
    doubtful = saw("doubtful", {"errors": counted()}, gate="split", reason="routing: 50 % of 100")
    there = baking().watched(doubtful, COUNTS, NOW, counted=True)
    assert there.stop is None
    assert there.held is not None
    assert (there.held.reason, there.held.by, there.held.acknowledged) == (
        "split: routing: 50 % of 100",
        None,
        ("split",),
    )
    on = there.resumed(LATER)
    assert (on.held, on.tolerated) == (None, ("split",))
    reaching = on.next_stage(LATER)
    assert reaching.tolerated == ("split",), "it is still the old percent that is watched"
    percent = reaching.records[reaching.stage].percent
    assert reaching.shifted(TrafficShifted(percent=percent, epoch=9), LATER).tolerated == ()


# ── Held ────────────────────────────────────────────────────────────────────────────────────────


def test_a_second_reason_adds_to_the_first() -> None:
    there = baking().hold("held by ana", "ana", NOW).hold("drift: moved", None, LATER, acknowledged="drift")
    assert there.held is not None
    assert (there.held.reason, there.held.by, there.held.since) == ("held by ana; drift: moved", "ana", NOW)
    assert there.held.acknowledged == ("drift",)


def test_a_reason_is_said_once_and_no_other_is_lost() -> None:
    there = baking().hold("held by ana", "ana", NOW).hold("drift: moved", None, NOW)
    twice = there.hold("drift: moved", None, NOW, acknowledged="drift")
    assert twice.held is not None
    assert twice.held.reason == "held by ana; drift: moved"


def test_resume_without_a_hold_changes_nothing() -> None:
    assert baking().resumed(NOW) == baking()


def test_resume_remembers_when_so_that_patience_starts_anew() -> None:
    assert baking().hold("no data", None, NOW, acknowledged="no-data").resumed(LATER).resumed_at == LATER


# ── Stop, notes, end ────────────────────────────────────────────────────────────────────────────


def test_the_first_reason_to_stop_stays() -> None:
    there = baking().stopped(Phase.ABORTED, "aborted by ana", NOW, by="ana")
    assert there.stopped(Phase.ROLLED_BACK, "gate errors", LATER) == there


@pytest.mark.parametrize(
    ("there", "over"),
    [
        (baking(), False),
        (baking().hold("held", None, NOW), False),
        (baking().stopped(Phase.ABORTED, "aborted", NOW), True),
        (baked(2).ended(Phase.PROMOTED, NOW), True),
        (Progress().in_phase(Phase.REFUSED), True),
    ],
)
def test_a_rollout_is_over_when_nothing_may_go_up_any_more(there: Progress, over: bool) -> None:
    assert there.over is over


def test_a_second_yes_changes_nothing() -> None:
    once = baking().approved(0, yes("ana"))
    assert once.approved(0, yes("ben")) == once


def test_only_the_latest_notes_are_kept_each_on_one_line() -> None:
    there = Progress()
    for number in range(MOST_NOTES + 3):
        there = there.noted(f"note {number}\n  second line\n")
    assert len(there.notes) == MOST_NOTES
    assert there.notes[0] == "note 3; second line"


def test_an_end_before_preflight_has_no_stage_to_close() -> None:
    assert Progress().ended(Phase.ABORTED, NOW).phase is Phase.ABORTED
    assert baking().ended(Phase.ROLLED_BACK, LATER).records[0].left_at == LATER


# ── The wire ────────────────────────────────────────────────────────────────────────────────────


def test_progress_survives_the_wire_with_everything_in_it() -> None:
    full = baking(1).approved(0, yes()).hold("drift: moved", "ana", NOW, acknowledged="drift").advanced("ben")
    full = full.stopped(Phase.ABORTED, "aborted", NOW).noted("ignored: hold").but(blind="no answer", unseen=("a",))
    assert Progress.model_validate_json(full.model_dump_json()) == full


def test_a_state_of_an_older_worker_can_be_read_and_a_newer_one_s_too() -> None:
    assert Progress.model_validate({"phase": "Baking", "colour": "green"}).phase is Phase.BAKING
    assert GateState.model_validate({"watermark_ms": 1, "mood": "good"}).verdict is Verdict.NO_DATA


def test_a_result_survives_the_wire() -> None:
    there = baking(1)
    result = RolloutResult(
        outcome=Phase.ROLLED_BACK,
        service="checkout",
        environment="prod",
        candidate="2",
        stable="1",
        percent=0,
        started_at=NOW,
        ended_at=LATER,
        percents_seen=there.percents_seen,
        stages=there.records,
    )
    assert RolloutResult.model_validate_json(result.model_dump_json()) == result
