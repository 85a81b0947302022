"""A watch of gates that count: what they prove together, when a bake may end, and what a person must look at."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.decide import Watch, decide
from rollout.gates import CountingGate
from rollout.judge.counting import Counted
from rollout.judge.evidence import Evidence, Test
from rollout.judge.merge import Budget
from rollout.judge.mixture import Mixture
from rollout.judge.split import Split
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import Watched, WatchHealth, Watching
from rollout.watch import MOST_AT_ONCE_MS, begin, conclude, fold_counts, fold_gate, question, unseen, wanted
from tests.rollout import watches
from tests.rollout.given import HEAVY, MINUTE, NOW, NOW_MS, baking, gate, planned, spec, state
from tests.rollout.judge.shop import HEALTHY, SCRAPE, TENFOLD, Scrape, at, conversion, cut, errors, shop

POLL = watches.POLL_MS
ALPHA = 0.01
BOTH = Budget(alpha=ALPHA, shares={"errors": 0.5, "slow": 0.5})
COUNTS = {"kind": "error-ratio", "requests": "r", "errors": "e"}


def order(gates: Mapping[str, CountingGate] | None = None, **changes: Any) -> WatchHealth:
    """A watch of gates that count, each with half of the budget."""
    named = gates or {"errors": errors(), "slow": errors()}
    tests = {name: Test(alpha=ALPHA / 2, planned_ms=600_000) for name in named}
    return watches.order(**{"gates": named, "tests": tests, "budgets": [BOTH], "forced": False} | changes)


def worth(value: float) -> Evidence:
    """Evidence of this much in the first stage, whatever it came from."""
    return Evidence(worse=Mixture((value,), 0.0), stage=0)


def counts(verdict: Verdict = Verdict.HEALTHY, value: float = 1.0, **changes: Any) -> GateState:
    told: dict[str, Any] = {
        "sentence": "counts",
        "evidence": worth(value),
        "observed_ms": 60_000,
        "blind_since_ms": None,
    }
    return state(verdict, **told | changes)


def watching(errors_: GateState | None = None, slow: GateState | None = None, **changes: Any) -> Watching:
    states = {"errors": errors_ or counts(), "slow": slow or counts()}
    return Watching.model_validate({"states": states, "watermark_ms": NOW_MS} | changes)


def end(order_: WatchHealth, watching_: Watching) -> tuple[str, str | None, str] | None:
    ended = conclude(order_, watching_, None, NOW_MS)
    return None if ended is None else (ended.why, ended.gate, ended.reason)


# ── Where it starts, what is wanted ─────────────────────────────────────────────────────────────


def test_a_gate_that_counts_is_asked_what_the_order_says() -> None:
    asked = question(order(bake=None, arrived_ms=NOW_MS - 9, percent=25, forced=True, undecided="hold"), "errors")
    assert (asked.test.alpha, asked.since_ms, asked.arrived_ms, asked.poll_ms) == (ALPHA / 2, NOW_MS, NOW_MS - 9, POLL)
    assert (asked.counting, asked.share, asked.forced, asked.undecided) == (False, 0.25, True, "hold")


def test_it_begins_with_counters_and_with_the_evidence_of_earlier_stages() -> None:
    known = counts(value=7).parked()
    assert known is not None
    started = begin(order(states={"errors": known}))
    assert [each.counters is not None for each in started.states.values()] == [True, True]
    assert started.states["errors"].evidence == worth(7)
    assert started.states["slow"].evidence == Evidence()


def test_samples_are_wanted_from_before_the_start_and_a_long_absence_comes_in_parts() -> None:
    fresh = begin(order()).states["errors"]
    assert wanted(fresh, NOW_MS) == (NOW_MS - 300_000, NOW_MS)
    assert wanted(fresh, NOW_MS + 86_400_000) == (NOW_MS - 300_000, NOW_MS + MOST_AT_ONCE_MS)
    assert wanted(fresh, NOW_MS - 300_000) is None
    assert wanted(GateState(watermark_ms=NOW_MS), NOW_MS) is None


def test_a_gate_that_counts_has_no_ticks() -> None:
    with pytest.raises(TypeError, match=r"^gate errors .*: it has no ticks$"):
        fold_gate(order(), "errors", GateState(watermark_ms=NOW_MS), {NOW_MS + POLL: {"": 1.0}})


# ── Breaches ────────────────────────────────────────────────────────────────────────────────────


def test_two_gates_that_prove_too_little_send_the_traffic_back_together() -> None:
    slow = counts(Verdict.UNDECIDED, 90)
    assert end(order(), watching(counts(Verdict.UNDECIDED, 109), slow)) is None
    ended = end(order(), watching(counts(Verdict.UNDECIDED, 110), slow))
    assert ended == ("breached", "errors", "counts together with slow; merged evidence 100")


def test_one_gate_can_use_what_the_others_have_earned_without_them() -> None:
    ended = end(order(), watching(counts(Verdict.UNDECIDED, 199), counts(value=1)))
    assert ended == ("breached", "errors", "counts; merged evidence 100")


def test_what_was_proven_in_stages_before_counts_too() -> None:
    alone = order(gates={"errors": errors()}, parked={"slow": 90.0})
    there = watching(counts(Verdict.UNDECIDED, 110))
    there = there.model_copy(update={"states": {"errors": there.states["errors"]}})
    ended = end(alone, there)
    assert ended is not None
    assert ended[:2] == ("breached", "errors")
    assert end(alone.model_copy(update={"parked": {}}), there) is None


def test_a_watch_of_other_gates_is_not_ended_by_old_evidence() -> None:
    """Nothing new was learnt: what was tolerated then is not news now."""
    old = Budget(alpha=ALPHA, shares={"one": 0.5, "other": 0.5})
    other = watches.order(budgets=[old], parked={"one": 500.0, "other": 500.0}, bake=None)
    assert conclude(other, watches.watching(), None, NOW_MS) is None


def test_acknowledged_evidence_does_not_end_a_watch_again() -> None:
    asked = order(bake=None, acknowledged=("errors",))
    assert end(asked, watching(counts(Verdict.BREACHED, 1e9))) is None
    assert end(asked, watching(counts(Verdict.BREACHED, 1e9), counts(Verdict.UNDECIDED, 201))) is not None


def test_a_gate_that_rolls_back_goes_before_one_that_holds() -> None:
    gates = {"errors": errors(on_breach="hold"), "slow": errors()}
    shared = [Budget(alpha=ALPHA, shares={"slow": 1.0}), Budget(alpha=0.05, shares={"errors": 1.0})]
    both = watching(counts(Verdict.UNDECIDED, 1e9), counts(Verdict.UNDECIDED, 101))
    ended = end(order(gates=gates, budgets=shared), both)
    assert ended is not None
    assert ended[1] == "slow"


# ── The end of a bake ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("enough", [True, False])
def test_a_bake_may_end_undecided_only_if_that_is_enough(enough: bool) -> None:
    unsure = counts(Verdict.UNDECIDED, enough=enough)
    assert end(order(), watching(unsure)) == (("baked", None, "") if enough else None)


@pytest.mark.parametrize("undecided", ["advance", "extend"])
def test_without_enough_the_bake_goes_on_for_ever(undecided: str) -> None:
    unsure = counts(Verdict.UNDECIDED, observed_ms=10**9)
    assert end(order(undecided=undecided), watching(unsure)) is None


def test_policy_may_hold_what_ends_undecided_once() -> None:
    unsure = counts(Verdict.UNDECIDED)
    asked = order(undecided="hold")
    assert end(asked, watching(unsure)) == ("doubtful", "undecided errors", "the bake is over and undecided: counts")
    assert end(asked.model_copy(update={"acknowledged": ("undecided errors",)}), watching(unsure)) is None
    assert end(asked, watching()) == ("baked", None, "")
    assert end(asked, watching(counts(Verdict.UNDECIDED, observed_ms=59_999))) is None


def test_only_gates_that_count_are_doubted() -> None:
    pending = watches.order(undecided="hold")
    unsure = watches.watching({"errors": state(Verdict.UNDECIDED, observed=MINUTE)})
    assert conclude(pending, unsure, None, NOW_MS) is None


EARLY: dict[str, Any] = {"early": True, "bake": 60 * MINUTE}


def test_a_bake_ends_early_once_every_gate_has_proven_health() -> None:
    assert end(order(**EARLY), watching()) == ("proven", None, "")
    assert end(order(bake=60 * MINUTE), watching()) is None


@pytest.mark.parametrize("verdict", [Verdict.UNDECIDED, Verdict.NO_DATA])
def test_a_bake_does_not_end_early_while_any_gate_is_unsure(verdict: Verdict) -> None:
    assert end(order(**EARLY), watching(slow=counts(verdict, enough=True))) is None


def test_a_bake_does_not_end_early_on_rules_alone() -> None:
    """That nothing is firing is no proof."""
    assert conclude(watches.order(**EARLY), watches.watching(), None, NOW_MS) is None


def test_a_rule_that_is_pending_keeps_the_others_from_ending_a_bake_early() -> None:
    mixed = order(**EARLY)
    mixed = mixed.model_copy(update={"gates": mixed.gates | {"rule": gate()}})
    there = watching()
    for verdict, ended in ((Verdict.UNDECIDED, None), (Verdict.HEALTHY, ("proven", None, ""))):
        rule = {"rule": state(verdict, observed=MINUTE)}
        assert end(mixed, there.model_copy(update={"states": there.states | rule})) == ended


def test_a_bake_does_not_end_early_on_a_single_poll_on_blindness_or_on_old_answers() -> None:
    assert end(order(**EARLY), watching(counts(observed_ms=2 * POLL - 1))) is None
    assert end(order(**EARLY), watching(counts(observed_ms=2 * POLL))) is not None
    assert end(order(**EARLY), watching(unseen=watches.blind(watches.ROUTE, 1))) is None
    known = begin(order()).states["errors"].counters
    old = counts(watermark_ms=NOW_MS - 2 * POLL - 1, counters=known)
    assert end(order(**EARLY), watching(old)) is None
    assert end(order(), watching(old)) is None
    assert end(order(), watching(counts(watermark_ms=NOW_MS - 2 * POLL, counters=known))) == ("baked", None, "")


# ── Traffic that goes elsewhere ─────────────────────────────────────────────────────────────────

WRONG = Split(since_ms=0, less=Mixture((0.0,), 0.0), more=Mixture((1e5,), 0.0), candidate=500, stable=500)


def test_a_split_that_is_provably_another_is_for_people() -> None:
    ended = end(order(), watching(counts(split=WRONG)))
    assert ended == (
        "doubtful",
        "split",
        "routing: 50 % of 1000 counted requests were the candidate's, 5 % should be: comparisons mean nothing",
    )
    assert end(order(acknowledged=("split",)), watching(counts(split=WRONG))) == ("baked", None, "")


def test_a_breach_is_worse_news_than_a_doubt() -> None:
    ended = end(order(), watching(counts(split=WRONG), counts(Verdict.BREACHED)))
    assert ended is not None
    assert ended[:2] == ("breached", "slow")


# ── Whole watches, from samples ─────────────────────────────────────────────────────────────────


def watched(asked: WatchHealth, seen: Counted, until: int, step: int = POLL) -> Watched | None:
    """Polls until something is to be decided; a poll that comes late asks for everything since."""
    there = begin(asked)
    for now_ms in range(NOW_MS + step, until + 1, step):
        states = dict(there.states)
        for name, known in there.states.items():
            if window := wanted(known, now_ms):
                answer = Counted(*[cut(each, *window) for each in seen])
                states[name] = fold_counts(asked, name, known, answer, window[1])
        there = there.model_copy(update={"states": states, "watermark_ms": now_ms})
        there = there.model_copy(update={"unseen": unseen(asked, there, {}, now_ms)})
        if ended := conclude(asked, there, None, now_ms):
            return ended
    return None


def test_a_bad_candidate_is_sent_back_within_a_minute_and_a_good_one_is_baked() -> None:
    bad = watched(order(bake=10 * MINUTE), shop([TENFOLD] * 60), at(60))
    assert bad is not None
    assert (bad.why, bad.watching.watermark_ms <= NOW_MS + 60_000) == ("breached", True)
    good = watched(order(bake=10 * MINUTE), shop([HEALTHY] * 60), at(60))
    assert good is not None
    assert (good.why, good.watching.watermark_ms) == ("baked", NOW_MS + 600_000)


def test_a_good_candidate_is_let_through_early_where_that_is_wanted() -> None:
    early = watched(order(**EARLY), shop([HEALTHY] * 60), at(60))
    assert early is not None
    assert early.why == "proven"
    assert NOW_MS + 120_000 < early.watching.watermark_ms < NOW_MS + 300_000


def test_a_candidate_that_hardly_anybody_asks_is_not_let_through() -> None:
    quiet: list[Scrape] = [(1, 0, 19, 0) if number % 2 else (0, 0, 19, 0) for number in range(60)]
    assert watched(order(bake=10 * MINUTE), shop(quiet), at(60)) is None
    doubtful = watched(order(bake=10 * MINUTE, undecided="hold"), shop(quiet), at(60))
    assert doubtful is not None
    assert (doubtful.why, doubtful.gate) == ("doubtful", "undecided errors")


def test_a_metrics_server_without_samples_ends_in_no_data_and_nothing_else() -> None:
    ended = watched(order(announced_blind=None), Counted([], []), at(60))
    assert ended is not None
    assert ended.why == "no-data"
    assert "no samples of stable and candidate" in ended.reason


@pytest.mark.parametrize(
    ("scrape", "why", "reason"),
    [
        ((1, 0, 19, 0), "no-data", "no samples of candidate for 45s"),
        (HEALTHY, "no-data", "no samples of candidate for 45s"),
    ],
)
def test_a_candidate_that_disappears_from_the_metrics_is_never_let_through(
    scrape: Scrape, why: str, reason: str
) -> None:
    """Among many requests of stable, that the candidate's stopped is seen before patience ends."""
    there = shop([scrape] * 60)
    gone = Counted([cut(there.trials[:1], 0, at(4))[0], there.trials[1]], there.events)
    ended = watched(order(bake=60 * MINUTE, announced_blind=None), gone, at(60))
    assert ended is not None
    assert ended.why == why
    assert reason in ended.reason


@given(st.sampled_from([POLL, 7_001, SCRAPE, 60_000, 250_000]), st.sampled_from(["conversion", "errors"]))
@HEAVY
def test_late_polls_see_what_punctual_ones_saw(step: int, kind: str) -> None:
    """Every ten minutes are folded at most at once; evidence is the same to the last bit."""
    gates: dict[str, CountingGate] = {"errors": conversion() if kind == "conversion" else errors()}
    asked = order(gates=gates, bake=None, budgets=[])
    seen, ends = shop([HEALTHY] * 50), []
    for each in (POLL, step):
        known = begin(asked).states["errors"]
        for now_ms in (*range(NOW_MS + each, at(50), each), at(50)):
            while window := wanted(known, now_ms):
                known = fold_counts(asked, "errors", known, Counted(*[cut(s, *window) for s in seen]), window[1])
                if window[1] == now_ms:
                    break
        ends.append(known)
    assert repr(ends[0]) == repr(ends[1])


# ── From stage to stage ─────────────────────────────────────────────────────────────────────────


def test_a_gate_that_was_held_as_undecided_still_sends_the_traffic_back() -> None:
    """policy.undecided: hold. The bake ends undecided, the rollout is held, and then the candidate turns bad."""
    wanted_ = spec(gates={"errors": COUNTS}, strategy=None, approvals=None, policy={"undecided": "hold"})
    plan = planned(wanted_)
    unsure = Watching(states={"errors": counts(Verdict.UNDECIDED)}, watermark_ms=NOW_MS)
    alone: dict[str, Any] = {"gates": {"errors": errors()}, "undecided": "hold"}
    doubtful = conclude(order(**alone), unsure, None, NOW_MS)
    assert doubtful is not None
    assert doubtful.why == "doubtful"
    held = baking(0, plan).watched(doubtful, wanted_, NOW, counted=True)
    assert held.held is not None
    next_ = decide(plan, held, NOW)
    assert isinstance(next_, Watch)
    asked = order(**alone | {"bake": None, "acknowledged": next_.acknowledged})
    assert end(asked, unsure) is None
    bad = Watching(states={"errors": counts(Verdict.BREACHED, 1e9)}, watermark_ms=NOW_MS)
    assert end(asked, bad) == ("breached", "errors", "counts")


def test_the_first_failure_of_a_gate_that_was_parked_does_not_use_up_the_patience() -> None:
    """It was not asked for an hour because no stage watched it; the first query of the new stage times out."""
    parked = counts(watermark_ms=NOW_MS - 3_600_000).parked()
    assert parked is not None
    asked = order(gates={"errors": errors()}, states={"errors": parked}, announced_blind=None)
    there = begin(asked)
    there = there.model_copy(update={"unseen": unseen(asked, there, {"errors": "HTTP 503"}, NOW_MS + POLL)})
    assert conclude(asked, there, None, NOW_MS + POLL) is None


def test_a_split_that_somebody_accepted_is_not_doubted_again_for_what_an_earlier_stage_counted() -> None:
    """Until the new stage's first batch, `state.split` is the old one's; the sentence names the new percent."""
    tests = {"errors": Test(alpha=ALPHA, stage=1, start=0.1)}
    asked = order(
        gates={"errors": errors()},
        tests=tests,
        percent=50,
        arrived_ms=NOW_MS,
        states={"errors": counts(split=WRONG, observed_ms=0)},
    )
    assert end(asked, begin(asked)) is None


def test_a_watched_gate_that_completes_the_evidence_is_heard_also_if_a_parked_one_has_more() -> None:
    asked = order(gates={"errors": errors()}, parked={"slow": 180.0})
    there = Watching(states={"errors": counts(Verdict.UNDECIDED, 150)}, watermark_ms=NOW_MS)
    assert end(asked, there) == ("breached", "errors", "counts together with slow; merged evidence 165")
