"""Polls happen when they can; what a watch sees does not depend on when it looked."""

from itertools import pairwise
from math import nan

from hypothesis import given
from hypothesis import strategies as st

from rollout.judge.threshold import Vector
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import WatchHealth, Watching
from rollout.watch import begin, due, fold_gate, poll_ms
from tests.rollout.given import HEAVY, LIGHT, NOW_MS, gate
from tests.rollout.watches import POLL_MS, order

samples = st.sampled_from([0.0, 0.04, 0.06, 0.9, nan, None])
series = st.lists(samples, min_size=8, max_size=60)


def world(history: list[float | None], at_ms: int) -> Vector:
    """What the metrics store holds for a tick, whenever it is asked."""
    value = history[((at_ms - NOW_MS) // POLL_MS - 1) % len(history)]
    return {} if value is None else {"": value}


def watch(order_: WatchHealth, history: list[float | None], polls: list[int], *, crash_at: int = -1) -> Watching:
    """Poll at these times, Unix milliseconds, until a breach that ends the watch; crash once and go on."""
    now = begin(order_)
    for number, now_ms in enumerate(polls):
        if number == crash_at:
            now = Watching.model_validate_json(now.model_dump_json())
        states = {}
        for name, known in now.states.items():
            while ticks := due(order_, known, now_ms):
                asked = range(ticks[0], ticks[1] + 1, poll_ms(order_))
                known = fold_gate(order_, name, known, {at_ms: world(history, at_ms) for at_ms in asked})  # noqa: PLW2901
                if _over(order_, name, known):
                    break
            states[name] = known
        now = Watching(states=states, watermark_ms=now_ms)
        if any(_over(order_, name, known) for name, known in states.items()):
            break
    return now


def _over(order_: WatchHealth, name: str, known: GateState) -> bool:
    return known.verdict is Verdict.BREACHED and name not in order_.acknowledged


@given(
    series,
    st.lists(st.integers(1, 20 * POLL_MS), min_size=1, max_size=30),
    st.integers(0, 30),
    st.sampled_from([(), ("errors",)]),
)
@HEAVY
def test_polls_at_random_times_and_crashes_see_what_regular_polls_see(
    history: list[float | None], gaps: list[int], crash_at: int, acknowledged: tuple[str, ...]
) -> None:
    rule = order(gates={"errors": gate(**{"for": "15s"})}, acknowledged=acknowledged)
    polls = [NOW_MS + sum(gaps[: count + 1]) for count in range(len(gaps))]
    regular = list(range(NOW_MS + POLL_MS, polls[-1] + 1, POLL_MS))
    assert watch(rule, history, polls, crash_at=crash_at).states == watch(rule, history, regular).states


@given(series, st.lists(st.integers(1, 40), max_size=6), st.integers(0, 40))
@HEAVY
def test_a_state_does_not_depend_on_how_its_ticks_were_cut_into_batches(
    history: list[float | None], cuts: list[int], written_at: int
) -> None:
    rule = order(acknowledged=("errors",))
    ticks = {NOW_MS + tick * POLL_MS: world(history, NOW_MS + tick * POLL_MS) for tick in range(1, 41)}
    whole = fold_gate(rule, "errors", GateState(watermark_ms=NOW_MS), ticks)
    parts = GateState(watermark_ms=NOW_MS)
    for first, last in pairwise(sorted({0, 40, *cuts})):
        batch = {at_ms: ticks[at_ms] for tick in range(first + 1, last + 1) if (at_ms := NOW_MS + tick * POLL_MS)}
        parts = fold_gate(rule, "errors", parts, batch)
        if first <= written_at < last:
            parts = GateState.model_validate_json(parts.model_dump_json())
    assert parts == whole


@given(series, st.integers(1, 60))
@LIGHT
def test_the_bake_clock_counts_every_tick_with_data_once(history: list[float | None], length: int) -> None:
    rule = order(acknowledged=("errors", "orders"))
    seen = watch(rule, history, [NOW_MS + length * POLL_MS]).states["errors"]
    with_data = sum(
        value is not None and value == value  # noqa: PLR0124 - not NaN
        for value in (history[tick % len(history)] for tick in range(length))
    )
    assert seen.observed_ms == with_data * POLL_MS
