"""A watch polls when it can and asks for everything since; what it sees does not depend on when it looked."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.judge.threshold import Vector
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import Unseen, Watched, WatchHealth, Watching
from rollout.watch import MOST_TICKS, begin, conclude, due, fold_gate, ripe, unseen
from tests.rollout.given import HEAVY, MINUTE, NOW_MS, state
from tests.rollout.watches import HOLD_MS, POLL_MS, ROUTE, blind, order, watching


def end(order_: WatchHealth, watching_: Watching, drift: str | None = None) -> tuple[str, str | None, str] | None:
    ended = conclude(order_, watching_, drift, NOW_MS)
    return None if ended is None else (ended.why, ended.gate, ended.reason)


def why(order_: WatchHealth, watching_: Watching) -> str | None:
    ended = end(order_, watching_)
    return ended[0] if ended else None


# ── Where it starts, what is due ────────────────────────────────────────────────────────────────


def test_a_new_gate_starts_now_and_a_known_one_goes_on() -> None:
    known = state(Verdict.UNDECIDED, observed=MINUTE)
    started = begin(order(states={"errors": known, "forgotten": known}, observed_ms=42))
    assert started.states == {"errors": known, "orders": GateState(watermark_ms=NOW_MS)}
    assert (started.watermark_ms, started.observed_ms) == (NOW_MS, 42)


@pytest.mark.parametrize(
    ("late_ms", "ticks"),
    [
        (-1, None),
        (0, None),
        (POLL_MS - 1, None),
        (POLL_MS, (1, 1)),
        (2 * POLL_MS - 1, (1, 1)),
        (3 * POLL_MS + 1, (1, 3)),
    ],
)
def test_what_is_due_are_the_ticks_since_the_watermark(late_ms: int, ticks: tuple[int, int] | None) -> None:
    asked = due(order(), GateState(watermark_ms=NOW_MS), NOW_MS + late_ms)
    assert asked == (None if ticks is None else tuple(NOW_MS + tick * POLL_MS for tick in ticks))


def test_a_long_absence_is_caught_up_in_bites() -> None:
    asked = due(order(), GateState(watermark_ms=NOW_MS), NOW_MS + 7 * 86_400_000)
    assert asked == (NOW_MS + POLL_MS, NOW_MS + MOST_TICKS * POLL_MS)


def test_ticks_from_before_the_watch_are_evidence_but_not_bake() -> None:
    before = GateState(watermark_ms=NOW_MS - 2 * POLL_MS)
    ticks: dict[int, Vector] = {NOW_MS + tick * POLL_MS: {"": 0.0} for tick in (-1, 0, 1, 2)}
    assert fold_gate(order(), "errors", before, ticks).observed_ms == 2 * POLL_MS
    assert fold_gate(order(bake=None), "errors", before, ticks).observed_ms == 0


def test_ticks_are_folded_oldest_first_whatever_their_order() -> None:
    ticks: dict[int, Vector] = {NOW_MS + tick * POLL_MS: {"": 0.1} for tick in (3, 1, 2)}
    assert fold_gate(order(), "errors", GateState(watermark_ms=NOW_MS), ticks).active == {"": NOW_MS + POLL_MS}


def test_a_breach_that_nobody_was_awake_for_is_not_excused_by_what_came_later() -> None:
    ticks: dict[int, Vector] = {NOW_MS + tick * POLL_MS: {"": 0.1 if tick < 9 else 0.0} for tick in range(1, 20)}
    fresh = GateState(watermark_ms=NOW_MS)
    assert fold_gate(order(), "errors", fresh, ticks).verdict is Verdict.BREACHED
    assert fold_gate(order(acknowledged=("errors",)), "errors", fresh, ticks).verdict is Verdict.HEALTHY


# ── What cannot be seen ─────────────────────────────────────────────────────────────────────────


def test_everything_that_answers_is_seen() -> None:
    assert unseen(order(), watching(), {}, NOW_MS) == {}


def test_a_gate_without_data_is_unseen_since_its_first_empty_answer() -> None:
    empty = state(Verdict.NO_DATA, blind_since_ms=NOW_MS - 9_000)
    found = unseen(order(), watching({"errors": empty}), {}, NOW_MS)
    assert found == {"gate errors": Unseen(since_ms=NOW_MS - 9_000, reason=empty.sentence)}


def test_a_gate_without_an_answer_is_unseen_since_its_last_one() -> None:
    last = state(watermark_ms=NOW_MS - 4_000)
    found = unseen(order(), watching({"errors": last}), {"errors": "HTTP 503"}, NOW_MS)
    assert found == {"gate errors": Unseen(since_ms=NOW_MS - 4_000, reason="HTTP 503")}


def test_an_error_after_empty_answers_does_not_start_the_blindness_anew() -> None:
    empty = state(Verdict.NO_DATA, blind_since_ms=NOW_MS - 60_000)
    found = unseen(order(), watching({"errors": empty}), {"errors": "HTTP 503"}, NOW_MS)
    assert found["gate errors"].since_ms == NOW_MS - 60_000


def test_the_first_failure_after_a_worker_was_away_does_not_use_up_the_patience() -> None:
    hour_ago = NOW_MS - 3_600_000
    back = watching({"errors": state(watermark_ms=hour_ago)}, late_ms=3_600_000)
    found = unseen(order(), back, {"errors": "connection refused"}, NOW_MS)
    assert found["gate errors"].since_ms == NOW_MS
    assert end(order(), back.model_copy(update={"unseen": found})) is None


def test_a_metrics_server_that_makes_every_poll_late_uses_up_the_patience_all_the_same() -> None:
    asked, now_ms = watching({"errors": state(watermark_ms=NOW_MS)}), NOW_MS
    for late_ms in (0, *[15_000] * 30):
        now_ms += POLL_MS + late_ms
        asked = asked.model_copy(update={"late_ms": late_ms})
        asked = asked.model_copy(update={"unseen": unseen(order(), asked, {"errors": "no answer"}, now_ms)})
    ended = conclude(order(), asked, None, now_ms)
    assert ended is not None
    assert ended.why == "no-data"


def test_a_route_is_unseen_since_the_first_look_that_failed() -> None:
    first = unseen(order(), watching(), {ROUTE: "refused"}, NOW_MS - 10_000)
    again = unseen(order(), watching(unseen=first), {ROUTE: "timed out"}, NOW_MS)
    assert again == {ROUTE: Unseen(since_ms=NOW_MS - 10_000, reason="timed out")}


def test_what_is_seen_again_is_forgotten() -> None:
    assert unseen(order(), watching(unseen=blind(ROUTE, 60)), {}, NOW_MS) == {}


# ── When it is over: the worst news first ───────────────────────────────────────────────────────


def test_a_watch_without_news_goes_on() -> None:
    assert end(order(bake=2 * MINUTE), watching()) is None
    assert end(order(bake=None), watching()) is None


def test_a_breach_is_the_worst_news() -> None:
    bad = watching({"orders": state(Verdict.BREACHED)}, unseen=blind(ROUTE, 9_999))
    assert end(order(), bad, drift="someone moved it") == ("breached", "orders", bad.states["orders"].sentence)


def test_drift_is_worse_than_silence() -> None:
    assert end(order(), watching(unseen=blind(ROUTE, 9_999)), drift="moved") == ("drifted", None, "moved")


def test_a_bake_that_only_waits_for_a_routes_proof_is_looked_at_again_soon() -> None:
    unproven = blind(ROUTE, 1)
    assert ripe(order(), watching(unseen=unproven))
    assert not ripe(order(), watching()), "it is over"
    assert not ripe(order(bake=None), watching(unseen=unproven)), "there is no bake"
    assert not ripe(order(), watching(unseen=unproven | blind("gate errors", 1))), "more is missing than a proof"
    assert not ripe(order(), watching({"errors": state(observed=MINUTE / 2)}, unseen=unproven)), "it is not over yet"


def test_silence_is_worse_than_a_bake_that_is_done() -> None:
    ended = end(order(), watching(unseen=blind(ROUTE, 300)))
    assert ended == ("no-data", None, f"{ROUTE}, for 5m: no answer (limit 5m)")


def test_what_somebody_has_acknowledged_is_no_news() -> None:
    held = order(bake=None, acknowledged=("errors", "drift", "no-data"), announced_blind=None)
    bad = watching({"errors": state(Verdict.BREACHED)}, unseen=blind(ROUTE, 9_999))
    assert end(held, bad, drift="moved") is None
    assert why(held, watching({"orders": state(Verdict.BREACHED)})) == "breached"  # nobody has, of the other gate


@pytest.mark.parametrize(("seconds", "news"), [(14.9, None), (15, "blind"), (299.9, "blind"), (300, "no-data")])
def test_blindness_is_announced_after_a_quarter_minute_and_acted_on_after_the_policy_s_patience(
    seconds: float, news: str | None
) -> None:
    assert why(order(), watching(unseen=blind("gate errors", seconds))) == news


def test_a_slow_poll_is_given_three_turns_before_blindness_is_announced() -> None:
    slow = order(poll=timedelta(seconds=20))
    assert end(slow, watching(unseen=blind(ROUTE, 59))) is None
    assert end(slow, watching(unseen=blind(ROUTE, 60))) == ("blind", None, f"{ROUTE}: no answer")


def test_a_quick_poll_does_not_make_blindness_news_any_sooner() -> None:
    quick = order(poll=timedelta(seconds=1))
    assert end(quick, watching(unseen=blind(ROUTE, 14))) is None
    assert why(quick, watching(unseen=blind(ROUTE, 15))) == "blind"


def test_the_longest_blindness_counts() -> None:
    both = blind("gate errors", 20) | blind("gate orders", 400)
    assert why(order(), watching(unseen=both)) == "no-data"


@pytest.mark.parametrize("announced", [True, None])
def test_blindness_is_announced_once_but_patience_still_ends(announced: bool | None) -> None:
    told = order(announced_blind=announced)
    assert end(told, watching(unseen=blind(ROUTE, 60))) is None
    assert why(told, watching(unseen=blind(ROUTE, 300))) == "no-data"


def test_seeing_again_is_news_only_if_blindness_was() -> None:
    assert end(order(announced_blind=True), watching()) == ("sighted", None, "")
    assert end(order(announced_blind=False), watching()) == ("baked", None, "")
    assert end(order(announced_blind=None), watching()) == ("baked", None, "")


def test_whoever_resumes_gives_missing_data_the_whole_patience_again() -> None:
    long_blind = watching(unseen=blind("gate errors", 9_999))
    assert end(order(announced_blind=True, patient_since_ms=NOW_MS - HOLD_MS + 1), long_blind) is None
    assert end(order(announced_blind=True, patient_since_ms=NOW_MS - HOLD_MS), long_blind) is not None


# ── A bake is done when every gate has seen all of it and says healthy ─────────────────────────


def test_a_bake_takes_as_long_as_its_least_observed_gate() -> None:
    short = watching({"orders": state(observed=MINUTE - timedelta(milliseconds=1))})
    assert end(order(), short) is None
    assert end(order(), watching()) == ("baked", None, "")


@pytest.mark.parametrize("verdict", [Verdict.UNDECIDED, Verdict.NO_DATA])
def test_a_bake_is_extended_until_every_gate_says_healthy(verdict: Verdict) -> None:
    unsure = state(verdict, observed=2 * MINUTE)
    assert end(order(announced_blind=None), watching({"errors": unsure})) is None


def test_a_bake_does_not_end_on_yesterday_s_answer() -> None:
    """The gate was healthy when it last answered; now its server does not."""
    assert end(order(), watching(unseen=blind("gate errors", 1))) is None


def test_a_bake_does_not_end_while_a_route_cannot_be_seen() -> None:
    assert end(order(), watching(unseen=blind(ROUTE, 1))) is None


def test_a_bake_does_not_end_while_ticks_of_an_absence_are_still_to_be_caught_up() -> None:
    """An hour is asked for in bites; the first bite may be healthy and the second one not."""
    behind = state(observed=2 * MINUTE, watermark_ms=NOW_MS - POLL_MS)
    assert end(order(), watching({"errors": behind})) is None
    assert end(order(), watching({"errors": behind}, watermark_ms=NOW_MS - 1)) == ("baked", None, "")


def test_without_gates_the_clock_alone_decides() -> None:
    plain = order(gates={}, states={})
    empty = Watching(watermark_ms=NOW_MS, observed_ms=59_999)
    assert end(plain, empty) is None
    assert end(plain, empty.model_copy(update={"observed_ms": 60_000})) == ("baked", None, "")


def test_a_watch_that_only_watches_never_says_baked() -> None:
    assert end(order(bake=None), watching({"errors": state(observed=99 * MINUTE)})) is None


# ── Always ──────────────────────────────────────────────────────────────────────────────────────

verdicts = st.sampled_from(list(Verdict))


@given(
    st.dictionaries(st.sampled_from(["errors", "orders"]), verdicts, min_size=2),
    st.integers(0, 120),
    st.sets(st.sampled_from(["gate errors", ROUTE])),
    st.sets(st.sampled_from(["errors", "orders", "drift", "no-data"])),
    st.sampled_from([None, "moved"]),
    st.booleans() | st.none(),
    st.sampled_from([None, MINUTE]),
)
@HEAVY
def test_no_watch_says_baked_unless_every_gate_is_seen_to_be_healthy(
    said: dict[str, Verdict],
    seconds: int,
    hidden: set[str],
    acknowledged: set[str],
    drift: str | None,
    announced: bool | None,
    bake: timedelta | None,
) -> None:
    states = {name: state(verdict, observed=timedelta(seconds=seconds)) for name, verdict in said.items()}
    asked = order(bake=bake, acknowledged=tuple(acknowledged), announced_blind=announced)
    gaps = {name: Unseen(since_ms=NOW_MS - 1000 * seconds, reason="?") for name in hidden}
    ended: Watched | None = conclude(asked, watching(states, unseen=gaps), drift, NOW_MS)
    if ended is not None and ended.why == "baked":
        assert set(said.values()) == {Verdict.HEALTHY}
        assert not hidden
        assert bake is not None
        assert seconds >= 60
    if drift and "drift" not in acknowledged:
        assert ended is not None


def test_a_dead_candidate_sends_the_traffic_back_after_two_polls_whatever_its_gates_remember() -> None:
    def dead_for(lasted_ms: int) -> Watching:
        return watching().model_copy(update={"dead": {ROUTE: NOW_MS - lasted_ms}})

    assert why(order(), dead_for(2 * POLL_MS - 1)) != "breached"
    found = end(order(), dead_for(2 * POLL_MS))
    assert found is not None
    assert found[:2] == ("breached", None)
    assert "no member of the candidate pool is healthy" in found[2]
