"""A rolling update: two rungs of one strategy, a route that moves by itself, and pods told apart by their hashes."""

from typing import Any

import pytest
from pydantic import ValidationError

from rollout import names
from rollout.commands import refusal
from rollout.complaints import complaints
from rollout.decide import Advance, Decision, Hold, Shift, Watch, decide, settle
from rollout.gates import CountingGate, by_pods, with_sides
from rollout.happened import Phase
from rollout.judge.evidence import Evidence
from rollout.judge.verdict import Verdict
from rollout.messages import Command, TrafficShifted
from rollout.plan import Plan, stages
from rollout.progress import Progress
from rollout.spec import RolloutSpec
from rollout.story import details
from rollout.watch import begin, conclude, question_share, sided, unseen
from tests.rollout.given import NOW, NOW_MS, begun, both, planned, saw, state, written
from tests.rollout.watches import blind, order, watching
from workflows.steps import judged_as

ROUTE = {
    "kind": "rolling-update",
    "connection": "prod-eu",
    "namespace": "shop",
    "deployment": "checkout",
    "image": "shop/checkout:1.42.0",
}
COUNTS: dict[str, Any] = {
    "kind": "error-ratio",
    "requests": "http_requests_total",
    "errors": 'http_requests_total{status=~"5.."}',
    "versions": {"label": "pod_template_hash", "by": "pods"},
}
WAY = "rolling-update prod-eu/shop/Deployment checkout: 2 of 6 pods are new"
ROLLING = Watch(Phase.BAKING, counting=False, rolling=True)


def rolling(strategy: dict[str, Any] | None = None, **changes: Any) -> RolloutSpec:
    kind = {"kind": "rolling", "bake": "20m"} | (strategy or {})
    return RolloutSpec.model_validate(written(strategy=kind, routes=[ROUTE], **changes))


def complaint(**changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        RolloutSpec.model_validate(written(**changes))
    return "; ".join(complaints(caught.value))


def on_its_way(plan: Plan, **more: Any) -> Progress:
    shifted = TrafficShifted(percent=100, epoch=9, moving=WAY, **more)
    return begun(plan).shifting(100, 9).shifted(shifted, NOW)


def decided(progress: Progress, plan: Plan) -> Decision:
    return decide(plan, progress, NOW)


# ── The strategy ────────────────────────────────────────────────────────────────────────────────


def test_gates_that_compare_are_watched_while_old_pods_are_still_there() -> None:
    spec = rolling(gates={"errors": COUNTS, "hard": {"query": "x", "above": 1}})
    assert [(each.title, each.percent, each.rolls, each.gates) for each in stages(spec)] == [
        ("rolling", 100, True, ("errors", "hard")),
        ("rolled", 100, False, ("hard",)),
    ]


def test_whoever_must_say_yes_is_asked_before_the_first_pod_is_replaced() -> None:
    spec = rolling({"approval": {"from": ["qa"]}})
    asked = stages(spec)[0].approval
    assert asked is not None
    assert asked.before


def test_a_route_that_splits_traffic_cannot_roll() -> None:
    assert "rolling replaces pods in place, and envoy edge-1/checkout splits traffic" in complaint(
        strategy={"kind": "rolling"}
    )


def test_hashes_are_asked_for_only_where_a_route_tells_them() -> None:
    assert "only a route of kind rolling-update tells the hashes" in complaint(
        gates={"errors": COUNTS}, strategy={"stages": [{"percent": 50}, {"percent": 100, "gates": []}]}
    )
    threshold = {"query": "x", "above": 1, "versions": {"by": "pods"}}
    assert "cannot name hashes" in complaint(gates={"errors": threshold}, routes=[ROUTE], strategy={"kind": "rolling"})


def test_hashes_are_not_written_by_hand_as_well() -> None:
    both_ways = COUNTS | {"versions": {"by": "pods", "candidate": "7d4b9"}}
    assert "takes candidate's and stable's values from the rolling update" in complaint(gates={"errors": both_ways})


def test_a_spec_with_hashes_comes_back_from_json_as_it_was() -> None:
    spec = rolling({"approval": {"from": ["qa"]}}, gates={"errors": COUNTS})
    assert RolloutSpec.model_validate_json(spec.model_dump_json(by_alias=True)) == spec


# ── What happens next ───────────────────────────────────────────────────────────────────────────


def test_it_is_watched_until_every_pod_is_new_and_then_baked() -> None:
    spec = rolling()
    plan = planned(spec)
    moving = on_its_way(plan)
    assert decided(moving, plan) == ROLLING
    there = moving.watched(saw("arrived"), spec, NOW, counted=False)
    assert decided(there, plan) == Advance()
    next_ = settle(Advance(), there, NOW)
    assert decided(next_, plan) == Shift(100, expected=100, reassert=False)


@pytest.mark.parametrize("blind", [{"unseen": ("gate errors",)}, {"states": both(Verdict.NO_DATA)}, {"states": {}}])
def test_pods_that_were_replaced_with_nobody_looking_are_held_until_somebody_has(blind: dict[str, Any]) -> None:
    spec = rolling()
    plan = planned(spec)
    there = on_its_way(plan).watched(saw("arrived", **blind), spec, NOW, counted=False)
    turn = decided(there, plan)
    assert isinstance(turn, Hold)
    assert "gate errors" in turn.reason
    held = settle(turn, there, NOW)
    assert decided(held, plan) == Watch(Phase.HELD, counting=False, acknowledged=("unwatched",))
    assert judged_as(plan, held) == 1  # there are no old pods any more to be compared with
    assert decided(held.resumed(NOW), plan) == Advance()


def test_a_gate_that_has_counted_nothing_of_the_new_pods_has_seen_nothing() -> None:
    spec = rolling()
    counted = state(Verdict.UNDECIDED, evidence=Evidence())
    there = on_its_way(planned(spec)).watched(saw("arrived", both() | {"errors": counted}), spec, NOW, counted=False)
    assert there.unwatched(planned(spec).stages[0]) == ("gate errors",)


def test_a_first_write_that_is_not_proven_is_paused_when_it_is_held_and_watched_as_if_it_were_there() -> None:
    plan = planned(rolling())
    held = begun(plan).shifting(100, 9).hold("could not prove 100 %", None, NOW, acknowledged="drift")
    assert decided(held, plan) == Shift(100, expected=0, reassert=False, pause=True)
    assert decided(held.but(paused=True), plan) == Watch(Phase.HELD, counting=False, acknowledged=("drift",))


def test_a_pause_that_failed_is_not_told_as_one() -> None:
    spec = rolling()
    failed = on_its_way(planned(spec)).hold("held by ana", "ana", NOW).but(paused=True, goes_on="no rights")
    told = details(spec, planned(spec), failed.in_phase(Phase.HELD))
    assert "on its way, **could not be paused** (no rights)" in told


def test_there_is_no_bake_to_end_while_pods_are_replaced() -> None:
    spec = rolling()
    why = refusal(spec, planned(spec), on_its_way(planned(spec)).in_phase(Phase.BAKING), names.ADVANCE, Command())
    assert why == f"there is no bake to end, it is on its way: {WAY}"


def test_a_watch_that_ends_before_it_looked_has_not_arrived() -> None:
    spec = rolling()
    started = begin(order(rolling=True))
    interrupted = saw("interrupted").model_copy(update={"watching": started})
    assert decided(on_its_way(planned(spec)).watched(interrupted, spec, NOW, counted=False), planned(spec)) == ROLLING


def test_a_hold_pauses_it_once_and_a_resume_goes_on() -> None:
    spec = rolling()
    plan = planned(spec)
    held = on_its_way(plan).hold("held by ana", "ana", NOW)
    pause = Shift(100, expected=100, reassert=False, pause=True)
    assert decided(held, plan) == pause
    paused = held.shifted(TrafficShifted(percent=100, epoch=10, moving="paused", paused=True), NOW)
    assert decided(paused, plan) == Watch(Phase.HELD, counting=False)
    assert decided(paused.resumed(NOW), plan) == Shift(100, expected=100, reassert=False)


def test_a_hold_where_nothing_moves_pauses_nothing() -> None:
    plan = planned(rolling())
    there = on_its_way(plan).but(moving=None)
    assert decided(there.hold("held by ana", "ana", NOW), plan) == Watch(Phase.HELD, counting=False)


def test_the_details_say_that_it_is_on_its_way() -> None:
    spec = rolling()
    told = details(spec, planned(spec), on_its_way(planned(spec)).in_phase(Phase.BAKING))
    assert f"- on its way: {WAY}" in told
    assert "- 100 % rolling: now, on its way" in told
    assert "Next: every pod is replaced, then a bake of 20m with all of them new." in told


# ── One watch ───────────────────────────────────────────────────────────────────────────────────


def test_a_watch_of_what_moves_ends_when_it_has_arrived() -> None:
    wanted = order(rolling=True, bake=None)
    assert conclude(wanted, watching(moving=WAY), None, NOW_MS) is None
    arrived = conclude(wanted, watching(), None, NOW_MS)
    assert arrived is not None
    assert arrived.why == "arrived"


def test_a_route_that_cannot_be_read_has_not_arrived() -> None:
    wanted = order(rolling=True, bake=None, announced_blind=True)
    assert conclude(wanted, watching(unseen=blind("envoy edge-1/checkout", 1)), None, NOW_MS) is None


def test_a_breach_is_worse_news_than_having_arrived() -> None:
    told = conclude(order(rolling=True, bake=None), watching({"errors": state(Verdict.BREACHED)}), None, NOW_MS)
    assert told is not None
    assert (told.why, told.gate) == ("breached", "errors")


def test_what_will_never_arrive_is_a_breach_of_nobodys_gate() -> None:
    told = conclude(order(), watching(failed="ProgressDeadlineExceeded"), None, NOW_MS)
    assert told is not None
    assert (told.why, told.gate, told.reason) == ("breached", None, "ProgressDeadlineExceeded")


def test_requests_are_not_held_against_a_share_while_it_moves() -> None:
    assert question_share(order(rolling=True, percent=100)) is None
    assert question_share(order(percent=5)) == 0.05


def test_pods_that_are_not_there_yet_are_not_missing_data_but_a_server_that_does_not_answer_is() -> None:
    silent = watching({"errors": state(Verdict.NO_DATA)}, moving=WAY)
    assert unseen(order(rolling=True, bake=None), silent, {}, NOW_MS) == {}
    assert [*unseen(order(), silent, {}, NOW_MS)] == ["gate errors"]
    assert [*unseen(order(rolling=True, bake=None), silent, {"errors": "no answer"}, NOW_MS)] == ["gate errors"]
    hashes = order(rolling=True, bake=None, gates=rolling(gates={"errors": COUNTS}).gates)
    lacking = watching(moving=WAY).model_copy(update={"states": {"errors": state()}})
    assert unseen(hashes, lacking, {"errors": "the hash of the new pods is not known yet"}, NOW_MS) == {}


def test_a_gate_that_needs_hashes_waits_for_both() -> None:
    wanted = order(gates=rolling(gates={"errors": COUNTS}).gates)
    _, lacking = sided(wanted, {"stable": "5c9f"})
    assert lacking == {"errors": "the hash of the new pods is not known yet"}
    told, lacking = sided(wanted, {"stable": "5c9f", "candidate": "7d4b9"})
    gate = told.gates["errors"]
    assert isinstance(gate, CountingGate)
    assert lacking == {}
    assert not by_pods(gate)
    assert gate.of_versions(gate.trials) == 'http_requests_total{pod_template_hash=~"7d4b9|5c9f"}'


def test_a_gate_with_values_of_its_own_keeps_them() -> None:
    gate = order().gates["errors"]
    assert with_sides(gate, {}) == gate
