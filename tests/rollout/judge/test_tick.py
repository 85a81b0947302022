"""What a `for:` rule makes of words and excuses, and of sources that cannot be asked about the past."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.judge.threshold import Excuse, Tick, Vector, fold
from rollout.judge.verdict import GateState, Verdict
from tests.rollout.given import LIGHT, NOW_MS, gate

STEP_MS = 15_000
OPEN = Excuse("of 3 requests only", decided=False)
FINE = Excuse("stable has 0.09", decided=True)
NOW = gate(**{"for": 0})


def after(*answers: Vector | Tick, most_ms: int | None = None) -> GateState:
    state = GateState(watermark_ms=NOW_MS)
    for tick, answer in enumerate(answers, 1):
        state = fold(NOW, state, NOW_MS + tick * STEP_MS, answer, counting=True, most_ms=most_ms)
    return state


def test_a_bad_value_that_is_excused_is_healthy_and_the_sentence_says_why() -> None:
    state = after(Tick({"": 0.1}, excuses={"": FINE}))
    assert state.verdict is Verdict.HEALTHY
    assert state.sentence == "0.1, but stable has 0.09 (limit: above 0.05)"
    assert state.active == {}


def test_a_value_of_which_nothing_can_be_said_is_undecided_however_good() -> None:
    state = after(Tick({"": 0.0}, excuses={"": OPEN}))
    assert state.verdict is Verdict.UNDECIDED
    assert state.sentence == "0, but of 3 requests only (limit: above 0.05)"
    assert state.observed_ms == STEP_MS


def test_one_label_set_s_excuse_is_not_another_s() -> None:
    state = after(Tick({"a": 0.9, "b": 0.1}, excuses={"a": OPEN}))
    assert (state.verdict, list(state.active)) == (Verdict.BREACHED, ["b"])
    assert state.sentence == "0.1 for b, beyond its limit for 0s (limit: above 0.05)"


def test_an_excuse_starts_the_clock_from_zero() -> None:
    rule, state = gate(**{"for": "30s"}), GateState(watermark_ms=NOW_MS)
    bad, excused = Tick({"": 0.1}), Tick({"": 0.1}, excuses={"": OPEN})
    said = ""
    for tick, answer in enumerate([bad, bad, excused, bad, bad, bad], 1):
        state = fold(rule, state, NOW_MS + tick * STEP_MS, answer, counting=True)
        said += state.verdict.value[0]
    assert said == "uuuuub"


def test_words_take_the_number_s_place() -> None:
    assert after(Tick({"": 0.01}, said="status 200")).sentence == "status 200, limit above 0.05"
    assert after(Tick({"": 0.1}, said="status 503")).sentence == "status 503 (limit: above 0.05)"
    assert after(Tick({}, said="nobody knows")).sentence == "nobody knows"
    assert after(Tick({})).sentence == "the query answers nothing"


def test_words_say_how_long_where_that_matters() -> None:
    state = fold(gate(), GateState(watermark_ms=NOW_MS), NOW_MS + 1, Tick({"": 1}, said="status 503"), counting=True)
    assert state.sentence == "status 503, beyond its limit for 0s (limit: above 0.05 for 2m)"


@pytest.mark.parametrize(("most_ms", "observed_ms"), [(None, STEP_MS), (STEP_MS, STEP_MS), (4000, 4000), (0, 0)])
def test_one_tick_adds_no_more_than_was_watched(most_ms: int | None, observed_ms: int) -> None:
    assert after({"": 0.01}, most_ms=most_ms).observed_ms == observed_ms


ticks = st.builds(
    Tick,
    st.dictionaries(st.sampled_from("abc"), st.sampled_from([0.0, 0.04, 0.06, 0.9, float("nan")])),
    excuses=st.dictionaries(st.sampled_from("abc"), st.sampled_from([OPEN, FINE])),
)


@given(st.lists(ticks, min_size=1, max_size=10))
@LIGHT
def test_without_excuses_it_is_never_better(history: list[Tick]) -> None:
    rank = {Verdict.NO_DATA: 0, Verdict.HEALTHY: 0, Verdict.UNDECIDED: 1, Verdict.BREACHED: 2}
    excused, bare = after(*history), after(*(tick.vector for tick in history))
    assert set(excused.active) <= set(bare.active)
    if not any(excuse == OPEN for excuse in history[-1].excuses.values()):
        assert rank[excused.verdict] <= rank[bare.verdict]
    assert (excused.verdict is Verdict.NO_DATA) == (bare.verdict is Verdict.NO_DATA)
