"""One evaluation after the other: what a `for:` rule knows, says and counts."""

from datetime import timedelta
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.gates import ThresholdGate
from rollout.judge.threshold import Vector, fold, text_seconds
from rollout.judge.verdict import GateState, Verdict
from tests.rollout.given import HEAVY, LIGHT, NOW_MS, gate

STEP_MS = 15_000
BAD: Vector = {"": 0.1}
GOOD: Vector = {"": 0.01}
NAN: Vector = {"": nan}
NOTHING: Vector = {}
LETTER = {
    Verdict.HEALTHY: "h",
    Verdict.UNDECIDED: "u",
    Verdict.BREACHED: "B",
    Verdict.NO_DATA: "-",
}
RANK = {Verdict.NO_DATA: 0, Verdict.HEALTHY: 0, Verdict.UNDECIDED: 1, Verdict.BREACHED: 2}

values = st.sampled_from([0.0, 0.05, 0.0500001, 0.06, 0.9, nan, inf, -inf]) | st.floats()
vectors = st.dictionaries(st.sampled_from(["", '{pod="a"}', '{pod="b"}']), values, max_size=3)
histories = st.lists(vectors | st.sampled_from([BAD, BAD, GOOD]), min_size=1, max_size=25)
limits = st.builds(
    lambda for_s, side: gate(**{"above": None, side: 0.05, "for": for_s}),
    st.sampled_from([0, 15, 20, 45, 120]),
    st.sampled_from(["above", "below"]),
)


def start() -> GateState:
    return GateState(watermark_ms=NOW_MS)


def run(rule: ThresholdGate, history: list[Vector | None], *, counting: bool = True) -> list[GateState]:
    """The state after every evaluation, 15 s apart; None is an evaluation that failed and never reached the fold."""
    states, state = [], start()
    for tick, vector in enumerate(history, 1):
        if vector is not None:
            state = fold(rule, state, NOW_MS + tick * STEP_MS, vector, counting=counting)
        states.append(state)
    return states


def letters(rule: ThresholdGate, history: list[Vector | None]) -> str:
    return "".join(LETTER[state.verdict] for state in run(rule, history))


# ── `for:` ──────────────────────────────────────────────────────────────────────────────────────


def test_two_minutes_at_15_seconds_need_nine_bad_evaluations() -> None:
    assert letters(gate(**{"for": "2m"}), [GOOD, *[BAD] * 10, GOOD]) == "huuuuuuuuBBh"


def test_without_for_the_first_bad_evaluation_fires() -> None:
    assert letters(gate(**{"for": 0}), [GOOD, BAD, GOOD, BAD]) == "hBhB"


@pytest.mark.parametrize(("pause", "letter"), [(GOOD, "h"), (NAN, "-"), (NOTHING, "-"), ({"": 0.05}, "h")])
def test_whatever_is_not_bad_starts_the_clock_from_zero(pause: Vector, letter: str) -> None:
    assert letters(gate(**{"for": "1m"}), [*[BAD] * 4, pause, *[BAD] * 5]) == f"uuuu{letter}uuuuB"


def test_a_rule_that_fires_falls_silent_at_the_first_evaluation_that_is_not_bad() -> None:
    assert letters(gate(**{"for": "15s"}), [BAD, BAD, BAD, NOTHING, BAD, BAD, GOOD]) == "uBB-uBh"


def test_every_label_set_has_its_own_clock() -> None:
    turns: list[Vector | None] = [{"a": 0.1, "b": 0.0}, {"a": 0.0, "b": 0.1}] * 4
    assert letters(gate(**{"for": "15s"}), turns) == "uuuuuuuu"
    assert letters(gate(**{"for": "15s"}), [{"a": 0.1, "b": 0.0}, {"a": 0.1}, {"b": 0.1}]) == "uBu"


def test_a_failed_evaluation_leaves_the_state_alone_while_the_clock_runs_on() -> None:
    assert letters(gate(**{"for": "2m"}), [BAD, *[None] * 7, BAD]) == "uuuuuuuuB"
    before, after = run(gate(), [BAD, None])
    assert before == after


def test_infinity_is_beyond_the_limit_on_its_side_and_nothing_to_judge_on_the_other() -> None:
    assert letters(gate(above=1, **{"for": 0}), [{"": inf}, {"": -inf}]) == "B-"
    assert letters(gate(above=None, below=1, **{"for": 0}), [{"": inf}, {"": -inf}]) == "-B"


def test_time_only_moves_forward() -> None:
    state = fold(gate(), start(), NOW_MS + STEP_MS, BAD, counting=True)
    for at_ms in (NOW_MS + STEP_MS, NOW_MS):
        with pytest.raises(
            ValueError, match=rf"^evaluation at {at_ms} ms is not after the watermark {NOW_MS + STEP_MS} ms$"
        ):
            fold(gate(), state, at_ms, BAD, counting=True)


# ── What it counts ──────────────────────────────────────────────────────────────────────────────


def test_only_time_with_data_counts_towards_the_bake() -> None:
    states = run(gate(), [GOOD, NAN, NOTHING, GOOD, BAD])
    assert [state.observed_ms // STEP_MS for state in states] == [1, 1, 1, 2, 3]


def test_nothing_counts_while_nobody_bakes() -> None:
    assert run(gate(), [GOOD, BAD, GOOD], counting=False)[-1].observed_ms == 0


def test_blindness_counts_from_the_first_evaluation_without_data() -> None:
    states = run(gate(), [GOOD, NAN, NOTHING, None, NAN, GOOD, NOTHING])
    first = NOW_MS + 2 * STEP_MS
    assert [state.blind_since_ms for state in states] == [
        None,
        first,
        first,
        first,
        first,
        None,
        NOW_MS + 7 * STEP_MS,
    ]


# ── What it says ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("history", "sentence"),
    [
        ([GOOD], "0.01, limit above 0.05 for 2m"),
        ([BAD, BAD, BAD], "0.1, beyond its limit for 30s (limit: above 0.05 for 2m)"),
        ([NOTHING], "the query answers nothing"),
        ([NAN], "the query answers NaN: nothing to count yet"),
        (
            [{'{pod="a"}': 0.2, '{pod="b"}': 0.3}],
            '0.3 for {pod="b"}, beyond its limit for 0s (limit: above 0.05 for 2m)',
        ),
        ([{"a": 0.01, "b": nan}], "0.01 for a, limit above 0.05 for 2m"),
        ([{"": inf}], "inf, beyond its limit for 0s (limit: above 0.05 for 2m)"),
        ([{"": 0.123456789}], "0.1235, beyond its limit for 0s (limit: above 0.05 for 2m)"),
    ],
)
def test_the_sentence_has_the_worst_value_and_the_limit(history: list[Vector | None], sentence: str) -> None:
    assert run(gate(), history)[-1].sentence == sentence


def test_the_worst_of_a_gate_that_minds_low_values_is_the_lowest() -> None:
    low = gate(above=None, below=1, **{"for": 0})
    assert run(low, [{"a": 0.5, "b": 0.2}])[-1].sentence == "0.2 for b, beyond its limit for 0s (limit: below 1)"


def test_seconds_are_shown_whole() -> None:
    assert text_seconds(125_999) == "2m5s"


# ── Always ──────────────────────────────────────────────────────────────────────────────────────


@given(limits, histories, st.integers(0, 25))
@LIGHT
def test_a_state_that_was_written_down_half_way_goes_on_as_if_nothing_had_happened(
    rule: ThresholdGate, history: list[Vector], cut: int
) -> None:
    state = start()
    for tick, vector in enumerate(history, 1):
        if tick == cut:
            state = GateState.model_validate_json(state.model_dump_json())
        state = fold(rule, state, NOW_MS + tick * STEP_MS, vector, counting=True)
    assert state == run(rule, list(history))[-1]


@st.composite
def worsened(draw: st.DrawFn) -> tuple[ThresholdGate, list[Vector], list[Vector]]:
    """A rule, a history, and one in which every number is as bad or worse, and there may be more of them."""
    rule, history = draw(limits), draw(histories)
    sign = 1 if rule.above is not None else -1
    more = st.floats(0, 10)
    worse = [
        draw(vectors) | {labels: value + sign * draw(more) for labels, value in vector.items()} for vector in history
    ]
    return rule, history, worse


@given(worsened())
@HEAVY
def test_worse_data_never_turn_a_breach_into_health(case: tuple[ThresholdGate, list[Vector], list[Vector]]) -> None:
    rule, history, worse = case
    ranks = [RANK[state.verdict] for state in run(rule, list(history))]
    assert all(RANK[after.verdict] >= before for before, after in zip(ranks, run(rule, list(worse)), strict=True))


@given(limits, st.lists(st.dictionaries(st.sampled_from("ab"), st.just(nan)), min_size=1, max_size=25))
@LIGHT
def test_no_data_never_pass(rule: ThresholdGate, history: list[Vector]) -> None:
    for state in run(rule, list(history)):
        assert state.verdict is Verdict.NO_DATA
        assert state.observed_ms == 0
        assert state.blind_since_ms == NOW_MS + STEP_MS


@given(limits, histories)
@HEAVY
def test_the_state_is_sound_after_every_evaluation(rule: ThresholdGate, history: list[Vector]) -> None:
    before = start()
    for state, vector in zip(run(rule, list(history)), history, strict=True):
        bad = {labels for labels, value in vector.items() if rule.is_bad(value)}
        assert set(state.active) == bad
        assert (state.verdict is Verdict.NO_DATA) == (state.blind_since_ms is not None)
        assert (state.verdict in {Verdict.BREACHED, Verdict.UNDECIDED}) == bool(bad)
        assert before.observed_ms <= state.observed_ms <= state.watermark_ms - NOW_MS
        assert all(since <= state.watermark_ms for since in state.active.values())
        assert state.sentence
        before = state


@given(limits, histories)
@LIGHT
def test_a_breach_is_exactly_a_label_set_that_was_bad_for_long_enough(
    rule: ThresholdGate, history: list[Vector]
) -> None:
    needed = rule.for_ / timedelta(milliseconds=STEP_MS)
    for tick, state in enumerate(run(rule, list(history))):
        streaks = dict.fromkeys(history[tick], 0)
        for labels in streaks:
            for vector in reversed(history[: tick + 1]):
                if not rule.is_bad(vector.get(labels, nan)):
                    break
                streaks[labels] += 1
        fires = any(streak and streak - 1 >= needed for streak in streaks.values())
        assert (state.verdict is Verdict.BREACHED) == fires
