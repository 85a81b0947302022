"""The candidate's pods against stable's: blocks, bets, and what missing samples do (nothing)."""

import random
from itertools import product
from math import inf, nan, prod
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from rollout.gates.ceiling import CeilingGate
from rollout.judge.bets import ENOUGH, STAKES, Bets, compared
from rollout.judge.ceiling import fold, unfit
from rollout.judge.threshold import Vector
from rollout.judge.verdict import GateState, Verdict
from tests.rollout.given import HEAVY, LIGHT, NOW_MS

GATE = CeilingGate(query="memory", worse_than=0.2)
STEP_MS = 15_000
WIRE = TypeAdapter(Bets)


def pods(candidates: list[float], stables: list[float]) -> Vector:
    sides = {"canary": candidates, "stable": stables}
    return {
        f'{{pod="{side}-{number}", version="{side}"}}': value
        for side, values in sides.items()
        for number, value in enumerate(values)
    }


GOOD = pods([1.0], [1.0, 1.0, 1.0])
BAD = pods([2.0], [1.0, 1.0, 1.0])
NOTHING: Vector = {}


def run(history: list[Vector], bets: Bets | None = None, gate: CeilingGate = GATE) -> tuple[GateState, Bets]:
    state, bets = GateState(watermark_ms=NOW_MS), bets or Bets()
    for tick, vector in enumerate(history, 1):
        state, bets = fold(gate, state, bets, NOW_MS + tick * STEP_MS, vector, counting=True)
    return state, bets


def blocks(*each: Vector) -> list[Vector]:
    """Four ticks a block."""
    return [vector for vector in each for _ in range(4)]


# ── Bets ────────────────────────────────────────────────────────────────────────────────────────


def brute_force(outcomes: list[bool]) -> float:
    """The formula of analysis.md §3.4, as it is written there."""
    return sum(prod(1 + stake * (2 * int(bad) - 1) for bad in outcomes) for stake in STAKES) / 4


@given(st.lists(st.booleans(), max_size=60))
@LIGHT
def test_the_e_value_is_that_of_the_formula_in_any_order(outcomes: list[bool]) -> None:
    bets = Bets(bad=sum(outcomes), good=len(outcomes) - sum(outcomes))
    assert bets.value == pytest.approx(brute_force(outcomes), rel=1e-9)


def test_thirteen_bad_blocks_are_enough_and_twelve_are_not() -> None:
    assert Bets(bad=12).value < ENOUGH <= Bets(bad=13).value


def test_a_fair_coin_s_mean_fortune_is_one() -> None:
    for length in range(1, 11):
        mean = sum(brute_force(list(each)) for each in product([False, True], repeat=length)) / 2**length
        assert mean == pytest.approx(1)


def test_however_long_it_goes_on_no_number_overflows() -> None:
    assert Bets(bad=10**6).value > ENOUGH
    assert 0 <= Bets(good=10**6).value < 1


def test_at_the_edge_of_the_null_hypothesis_one_in_a_thousand_is_blamed() -> None:
    draw, blamed = random.Random(20261122), 0  # noqa: S311 - a simulation
    for _ in range(3000):
        bad = good = 0
        for _ in range(120):
            bad, good = (bad + 1, good) if draw.random() < 0.5 else (bad, good + 1)
            if bad - good >= 8 and Bets(bad=bad, good=good).value >= ENOUGH:
                blamed += 1
                break
    assert blamed <= 9  # 3 are expected at most; more than 9 has a chance below 0.2 %


def test_equal_pods_are_hardly_ever_worse_let_alone_blamed() -> None:
    draw, worse = random.Random(7), 0  # noqa: S311 - a simulation
    for _ in range(400):
        own, others = ({str(pod): (draw.gauss(1, 0.1),) for pod in range(size)} for size in (2, 8))
        worse += compared(own, others, 0.2)[0]
    assert worse / 400 < 0.1


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5), min_size=3, max_size=6))
@LIGHT
def test_the_quarter_is_the_usual_one(pods_of_stable: list[list[float]]) -> None:
    ordered = sorted(median(samples) for samples in pods_of_stable)
    place = 0.75 * (len(ordered) - 1)
    low = ordered[int(place)]
    high = ordered[min(int(place) + 1, len(ordered) - 1)]
    samples = {str(number): tuple(values) for number, values in enumerate(pods_of_stable)}
    _, own, quarter = compared({"c": (3.0, 1.0, 2.0)}, samples, 0.2)
    assert own == 2.0
    assert quarter == pytest.approx(low + (place % 1) * (high - low), abs=1e-6)


def test_below_zero_more_is_still_more() -> None:
    stables = {str(pod): (-10.0,) for pod in range(3)}
    assert not compared({"c": (-9.0,)}, stables, 0.2)[0]
    assert compared({"c": (-7.0,)}, stables, 0.2)[0]


def test_a_tie_is_not_worse() -> None:
    assert not compared({"c": (0.0,)}, {str(pod): (0.0,) for pod in range(3)}, 0.2)[0]


# ── Blocks ──────────────────────────────────────────────────────────────────────────────────────


def test_a_block_is_judged_at_its_end() -> None:
    state, bets = run(blocks(BAD)[:3])
    assert (state.verdict, bets.bad, bets.last) == (Verdict.UNDECIDED, 0, None)
    assert state.sentence == f"the first block of 1m is not over, limit {GATE.limit}"
    state, bets = run(blocks(BAD))
    assert (state.verdict, bets.bad, bets.last) == (Verdict.UNDECIDED, 1, "bad")
    assert (bets.candidates, bets.stables) == ({}, {})


def test_a_candidate_like_stable_is_healthy() -> None:
    state, bets = run(blocks(GOOD, GOOD))
    assert (state.verdict, bets.good, state.observed_ms) == (Verdict.HEALTHY, 2, 8 * STEP_MS)
    assert state.sentence == (
        f"1 against stable's 1; worse in 0 of 2 blocks, evidence 0.2194 of 1000 (limit: {GATE.limit})"
    )


def test_thirteen_bad_minutes_hold() -> None:
    state, _ = run(blocks(*[BAD] * 12))
    assert state.verdict is Verdict.UNDECIDED
    state, _ = run(blocks(*[BAD] * 13))
    assert state.verdict is Verdict.BREACHED
    assert "2 against stable's 1; worse in 13 of 13 blocks, evidence 1888 of 1000" in state.sentence
    assert "evidence over 10000 of 1000" in run(blocks(BAD), Bets(bad=30))[0].sentence


def test_one_sick_pod_of_three_is_not_the_median() -> None:
    _, bets = run(blocks(pods([9.0, 1.0, 1.0], [1.0, 1.0, 1.0])))
    assert bets.last == "good"


def test_one_high_sample_is_not_a_pod_s_median() -> None:
    _, bets = run([BAD, GOOD, GOOD, GOOD])
    assert bets.last == "good"


@pytest.mark.parametrize(
    ("vector", "sentence"),
    [
        (NOTHING, "the query answers nothing"),
        (pods([], [1.0] * 3), 'no pod of the candidate answers (version="canary")'),
        (pods([nan, inf], [1.0] * 3), 'no pod of the candidate answers (version="canary")'),
        (pods([1.0], [1.0] * 2), '2 of stable\'s pods answer (version="stable"), 3 are needed to compare'),
        ({"": 1.0}, 'no pod of the candidate answers (version="canary")'),
    ],
)
def test_what_cannot_be_compared_is_no_data(vector: Vector, sentence: str) -> None:
    state, bets = run(blocks(vector, vector))
    assert (state.verdict, state.sentence, state.observed_ms) == (Verdict.NO_DATA, sentence, 0)
    assert state.blind_since_ms == NOW_MS + STEP_MS
    assert (bets.bad, bets.good, bets.last) == (0, 0, "skipped")
    assert unfit(GATE, vector) == sentence


def test_a_block_with_a_hole_is_skipped_and_not_counted_as_good() -> None:
    state, bets = run([*blocks(GOOD), GOOD, pods([], [1.0] * 3), GOOD, GOOD])
    assert (bets.good, bets.bad, bets.last, state.verdict) == (1, 0, "skipped", Verdict.UNDECIDED)
    assert "the last block lacked samples and is not counted" in state.sentence


def test_ticks_that_never_came_close_their_block_late() -> None:
    state, bets = run(blocks(BAD)[:3])
    late = NOW_MS + 60_000 * 5 + STEP_MS
    state, bets = fold(GATE, state, bets, late, GOOD, counting=True)
    assert (bets.bad, bets.good, bets.since_ms) == (1, 0, NOW_MS + 5 * 60_000)
    assert list(bets.candidates.values()) == [(1.0,)]


def test_a_late_tick_at_a_block_s_end_ends_it() -> None:
    state, bets = run(blocks(GOOD)[:3])
    _, bets = fold(GATE, state, bets, NOW_MS + 60_000 * 5, BAD, counting=True)
    assert (bets.bad, bets.good, bets.last, bets.since_ms) == (1, 1, "bad", NOW_MS + 5 * 60_000)
    assert bets.candidates == {}


def test_time_only_moves_forward() -> None:
    state, bets = run([GOOD])
    with pytest.raises(ValueError, match="is not after the watermark"):
        fold(GATE, state, bets, state.watermark_ms, GOOD, counting=True)


def test_a_ceiling_of_its_own_is_no_bet() -> None:
    with pytest.raises(ValueError, match="judged as a threshold"):
        run([GOOD], gate=CeilingGate(query="x", above=1))


def test_nothing_counts_while_nobody_bakes() -> None:
    state, bets = fold(GATE, GateState(watermark_ms=NOW_MS), Bets(), NOW_MS + STEP_MS, GOOD, counting=False)
    assert (state.observed_ms, bool(bets.candidates)) == (0, True)


# ── Always ──────────────────────────────────────────────────────────────────────────────────────

levels = st.sampled_from([0.0, 1.0, 1.1, 1.3, 2.0, nan, inf]) | st.floats(0, 10)
histories = st.lists(
    st.builds(pods, st.lists(levels, max_size=3), st.lists(levels, min_size=2, max_size=5)), min_size=1, max_size=40
)


@given(histories, st.integers(0, 40), st.integers(0, 20))
@HEAVY
def test_what_was_written_down_half_way_goes_on_as_if_nothing_had_happened(
    history: list[Vector], cut: int, bad: int
) -> None:
    state, bets = GateState(watermark_ms=NOW_MS), Bets(bad=bad)
    for tick, vector in enumerate(history, 1):
        if tick == cut:
            bets = WIRE.validate_json(WIRE.dump_json(bets))
            state = GateState.model_validate_json(state.model_dump_json())
        state, bets = fold(GATE, state, bets, NOW_MS + tick * STEP_MS, vector, counting=True)
    assert (state, bets) == run(history, Bets(bad=bad))


@given(histories, st.integers(0, 13), st.floats(0, 5))
@HEAVY
def test_worse_candidates_never_turn_a_breach_into_health(history: list[Vector], bad: int, more: float) -> None:
    worse = [{pod: value + more if "canary" in pod else value for pod, value in vector.items()} for vector in history]
    _, before = run(history, Bets(bad=bad))
    after, bets = run(worse, Bets(bad=bad))
    assert bets.bad >= before.bad
    assert bets.bad + bets.good == before.bad + before.good
    if before.value >= ENOUGH:
        assert after.verdict is Verdict.BREACHED


@given(histories, st.integers(0, 20))
@HEAVY
def test_taking_the_candidate_away_moves_no_bet(history: list[Vector], bad: int) -> None:
    gone = [{pod: value for pod, value in vector.items() if "stable" in pod} for vector in history]
    state, bets = run(gone, Bets(bad=bad))
    assert (bets.bad, bets.good, state.observed_ms) == (bad, 0, 0)
    assert state.verdict in {Verdict.NO_DATA, Verdict.BREACHED}
