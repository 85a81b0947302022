"""A `kayenta` gate's judgements: what they say, and what silence, holds and absences do."""

from datetime import timedelta
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.gates import KayentaGate
from rollout.judge.canary import Points, Question, due, entered, fold, polled, settled
from rollout.judge.judgements import Window, times
from rollout.judge.verdict import GateState, Verdict
from tests.rollout.given import HEAVY, LIGHT, MINUTE, NOW_MS

BAKE, POLL_MS, MINUTE_MS = 60 * MINUTE, 5_000, 60_000
LATENCY = {"name": "latency", "candidate": "c", "stable": "s", "direction": "increase"}
LIMIT = "(limit: score not above 75 at an interim, or below 95 at the end, judged every 20m)"
NOISE = (3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0)
SIDES = ("candidate", "stable")

World = dict[str, list[float]]
"""`latency candidate` → a value for each minute of the stage, repeated for ever; missing: silence."""


def gate(*metrics: dict[str, Any], **changes: Any) -> KayentaGate:
    asked = metrics or ({},)
    named = [LATENCY | ({"name": f"m{number}"} if number else {}) | each for number, each in enumerate(asked)]
    return KayentaGate.model_validate({"metrics": named} | changes)


def question(asked: KayentaGate | None = None, **changes: Any) -> Question:
    return Question(asked or gate(), BAKE, NOW_MS, NOW_MS, POLL_MS)._replace(**changes)


def seen(asked: KayentaGate, window: Window, world: World) -> dict[str, Points]:
    def side(name: str) -> tuple[float, ...]:
        values = world.get(name, [nan])
        return tuple(values[(at_ms - NOW_MS) // MINUTE_MS % len(values)] for at_ms in times(asked, window))

    return {m.name: Points(side(f"{m.name} candidate"), side(f"{m.name} stable")) for m in asked.metrics}


def poll(asked: Question, state: GateState, now_ms: int, world: World, *, tolerated: bool = False) -> GateState:
    """What `activities/canary.py` does, with a metrics store in memory."""
    state = entered(asked, state)
    for window in due(asked, state, now_ms):
        if settled(state, tolerated=tolerated):
            break
        state = fold(asked, state, window, seen(asked.gate, window, world))
    return polled(asked, state, now_ms)


def at(minute: float) -> int:
    return NOW_MS + round(minute * MINUTE_MS)


def watch(asked: Question, world: World, *polls: float, tolerated: bool = False) -> GateState:
    """Poll at these minutes of the stage."""
    state = GateState(watermark_ms=NOW_MS)
    for minute in polls:
        state = poll(asked, state, at(minute), world, tolerated=tolerated)
    return state


def steady(candidate: float = 0, stable: float = 0, name: str = "latency") -> World:
    """Noise around two levels; the sides meet it at different minutes."""
    return {
        f"{name} candidate": [candidate + each for each in NOISE],
        f"{name} stable": [stable + each for each in reversed(NOISE)],
    }


GOOD, BAD = steady(), steady(candidate=20)
REGULAR = (1, 20, 40, 60)

# ── What judgements say ─────────────────────────────────────────────────────────────────────────


def test_before_the_first_judgement_nothing_is_known() -> None:
    state = watch(question(), GOOD, 1, 19.9)
    assert (state.verdict, state.enough, state.passes) == (Verdict.UNDECIDED, False, False)
    assert state.sentence == f"the first of 3 judgements is due 20m into the stage, limit {gate().limit}"


def test_a_good_interim_is_no_health() -> None:
    state = watch(question(), GOOD, 1, 20, 39)
    assert (state.verdict, state.passes) == (Verdict.UNDECIDED, False)
    assert state.sentence == f"score 100 in judgement 1 of 3, 20m into the stage; the next one is due at 40m {LIMIT}"
    assert state.canary is not None
    assert (state.canary.done, state.canary.score, state.canary.labels) == (1, 100, {"latency": "Pass"})


def test_a_good_end_is() -> None:
    state = watch(question(), GOOD, *REGULAR)
    assert (state.verdict, state.passes) == (Verdict.HEALTHY, True)
    assert state.sentence == f"score 100 in judgement 3 of 3, 1h into the stage {LIMIT}"


def test_a_bad_candidate_is_breached_at_the_first_judgement() -> None:
    state = watch(question(), BAD, 1, 20)
    assert state.verdict is Verdict.BREACHED
    assert state.sentence == (
        "score 0 in judgement 1 of 3, 20m into the stage: latency (high: shift 19.5 (17 to 21), effect 5.56) " + LIMIT
    )


def test_between_marginal_and_pass_the_analysis_goes_on_and_fails_at_the_end() -> None:
    metrics: list[dict[str, Any]] = [{} for _ in range(5)]
    world = BAD | {name: side for number in range(1, 5) for name, side in steady(name=f"m{number}").items()}
    asked = question(gate(*metrics))
    assert watch(asked, world, 1, 20, 40).verdict is Verdict.UNDECIDED
    state = watch(asked, world, *REGULAR)
    assert (state.verdict, state.canary and state.canary.score) == (Verdict.BREACHED, 80)
    assert "judgement 3 of 3, 1h into the stage: latency (high: " in state.sentence


def test_a_score_at_marginal_fails_an_interim_as_in_kayenta() -> None:
    world = BAD | steady(name="m1")
    assert watch(question(gate({}, {}, marginal=50)), world, 1, 20).verdict is Verdict.BREACHED
    assert watch(question(gate({}, {}, marginal=49)), world, 1, 20).verdict is Verdict.UNDECIDED


def test_a_score_at_pass_passes_the_end() -> None:
    world = BAD | steady(name="m1")
    asked = {"weights": {"m1": 95}, "marginal": 75}
    assert watch(question(gate({}, {}, **asked)), world, *REGULAR).verdict is Verdict.HEALTHY
    assert watch(question(gate({}, {}, **asked | {"pass": 95.1})), world, *REGULAR).verdict is Verdict.BREACHED


def test_a_critical_metric_alone_is_enough_and_is_named_first() -> None:
    world = BAD | {name: side for number in (1, 2) for name, side in steady(20, name=f"m{number}").items()}
    state = watch(question(gate({}, {}, {"critical": True}, marginal=10)), world, 1, 20)
    assert state.verdict is Verdict.BREACHED
    assert "judgement 1 of 3, 20m into the stage: m2 (critically high: " in state.sentence
    assert "; a critical metric failed (limit: " in state.sentence


def test_only_the_gravest_of_many_are_shown() -> None:
    world = {name: side for number in range(1, 6) for name, side in steady(20, name=f"m{number}").items()} | BAD
    assert " and 3 more; " not in watch(question(gate({}, {}, {})), world, 1, 20).sentence
    assert " and 3 more (limit" in watch(question(gate(*[{}] * 6)), world, 1, 20).sentence


def test_the_words_of_the_gate_reach_the_judge() -> None:
    low = steady(stable=20)
    assert watch(question(gate({"direction": "increase"})), low, *REGULAR).verdict is Verdict.HEALTHY
    assert watch(question(gate({"direction": "decrease"})), low, 1, 20).verdict is Verdict.BREACHED
    mild = {"effect": {"allowed_increase": 7}}
    assert watch(question(gate(mild)), BAD, *REGULAR).verdict is Verdict.HEALTHY
    cles = {"effect": {"measure": "cles", "allowed_increase": 0.98}}
    assert watch(question(gate(cles)), BAD, 1, 20).verdict is Verdict.BREACHED
    assert watch(question(gate(cles)), steady(candidate=4), *REGULAR).verdict is Verdict.HEALTHY
    assert watch(question(), steady(candidate=4), 1, 20).verdict is Verdict.BREACHED
    burst = BAD | {"latency candidate": [*BAD["latency candidate"] * 2, 20.0, 21.0, 22.0, 50_000.0]}
    large = {"effect": {"allowed_increase": 50}}
    assert watch(question(gate(large)), burst, 1, 20).verdict is Verdict.BREACHED
    assert watch(question(gate(large | {"outliers": "remove"})), burst, 1, 20).verdict is Verdict.UNDECIDED
    world = BAD | steady(name="m1")
    for bound, score in ((5, 0), (7, 50)):
        grave = {"critical": True, "effect": {"critical_increase": bound}}
        judged = watch(question(gate(grave, {})), world, 1, 20).canary
        assert judged is not None
        assert judged.score == score
    zeros = {"latency candidate": [nan], "latency stable": [5.0, 6.0]}
    assert watch(question(gate({"nan": "replace"})), zeros, *REGULAR).verdict is Verdict.HEALTHY
    assert watch(question(gate({"nan": "replace", "direction": "either"})), zeros, 1, 20).verdict is Verdict.BREACHED


# ── Silence ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("missing", ["remove", "replace"])
def test_no_point_at_all_is_no_data(missing: str) -> None:
    state = watch(question(gate({"nan": missing}, {"critical": True})), {}, 1, 20, 21)
    assert (state.verdict, state.blind_since_ms) == (Verdict.NO_DATA, at(20))
    assert state.sentence == (
        "no metric has a single point, neither of the candidate nor of stable, in the window that ended 20m into the "
        "stage"
    )
    assert state.canary is not None
    assert (state.canary.done, state.canary.score) == (0, None)


@pytest.mark.parametrize("points", [[inf], [1e301, 2.0]])
def test_what_cannot_be_ranked_is_no_data_though_kayenta_says_100(points: list[float]) -> None:
    world = {"latency candidate": points, "latency stable": [1.0, 2.0]}
    state = watch(question(gate({}, {})), world, *REGULAR)
    assert (state.verdict, state.blind_since_ms) == (Verdict.NO_DATA, at(20))
    assert "no metric can be compared: one point a side, or an infinite value" in state.sentence


def test_a_candidate_that_is_silent_alone_fails_as_in_kayenta() -> None:
    state = watch(question(), {"latency stable": [1.0, 2.0]}, 1, 20)
    assert state.verdict is Verdict.BREACHED
    assert state.sentence == (
        "score 0 in judgement 1 of 3, 20m into the stage: latency (no data of the candidate); "
        f"half of the metrics or more have no data {LIMIT}"
    )


def test_one_silent_metric_of_three_does_not_count_unless_it_must() -> None:
    world = GOOD | steady(name="m1")
    assert watch(question(gate({}, {}, {})), world, *REGULAR).verdict is Verdict.HEALTHY
    needed = watch(question(gate({}, {}, {"must_have_data": True}, marginal=50)), world, 1, 20)
    assert needed.canary is not None
    assert needed.canary.score == pytest.approx(66.67)
    critical = watch(question(gate({}, {}, {"critical": True})), world, 1, 20)
    assert critical.verdict is Verdict.BREACHED
    assert "m2 (critical, no data of the candidate and stable)" in critical.sentence


def test_points_that_come_late_are_judged() -> None:
    asked = question()
    blind = watch(asked, {}, 1, 20)
    assert poll(asked, blind, at(20.1), GOOD).canary == watch(asked, GOOD, 1, 20).canary
    assert poll(asked, blind, at(20.1), GOOD).blind_since_ms is None


def test_a_silent_window_is_left_behind_when_the_next_one_has_data() -> None:
    gap = {name: [nan] * 20 + side * 5 for name, side in GOOD.items()}
    asked = question(gate(lookback="20m"))
    assert watch(asked, gap, 1, 20, 30).verdict is Verdict.NO_DATA
    state = watch(asked, gap, 1, 20, 30, 40)
    assert (state.verdict, state.canary and state.canary.done, state.blind_since_ms) == (Verdict.UNDECIDED, 2, None)


def test_a_silent_end_is_judged_again_every_interval_so_that_the_stage_can_end() -> None:
    gap = {name: (side * 5)[:40] + [nan] * 40 + side * 5 for name, side in GOOD.items()}
    asked = question(gate(lookback="20m"))
    assert watch(asked, gap, *REGULAR, 70).verdict is Verdict.NO_DATA
    assert watch(asked, gap, *REGULAR, 80, 99).blind_since_ms == at(60)
    state = watch(asked, gap, *REGULAR, 80, 100)
    assert state.verdict is Verdict.HEALTHY
    assert "score 100 in judgement 5 of 5, 1h40m into the stage (limit" in state.sentence


# ── Time ────────────────────────────────────────────────────────────────────────────────────────


def test_the_bake_clock_counts_polls_two_at_most() -> None:
    assert watch(question(), GOOD, 1 / 12, 2 / 12).observed_ms == 2 * POLL_MS
    assert watch(question(), GOOD, 1 / 12, 10).observed_ms == 3 * POLL_MS


def test_the_bake_clock_stands_still_while_the_last_window_had_no_data() -> None:
    before = watch(question(), {}, 1, 19.95)
    after = watch(question(), {}, 1, 19.95, 20, 20.1, 20.2)
    assert (after.observed_ms, after.watermark_ms) == (before.observed_ms, at(20.2))


def test_what_passed_before_this_watch_does_not_count() -> None:
    state = poll(question(since_ms=at(5)), GateState(watermark_ms=at(1)), at(5) + 2000, GOOD)
    assert state.observed_ms == 2000


def test_while_nobody_bakes_nothing_is_judged_and_the_last_answer_stands() -> None:
    held = question(lifetime=None)
    for before in (watch(question(), GOOD, *REGULAR), watch(question(), GOOD, 1, 20), watch(question(), BAD, 1, 20)):
        after = poll(held, before, at(90), BAD)
        assert after == before.model_copy(update={"watermark_ms": at(90)})
    fresh = poll(held, GateState(watermark_ms=NOW_MS), at(90), GOOD)
    assert (fresh.verdict, fresh.observed_ms, fresh.canary) == (Verdict.UNDECIDED, 0, None)
    assert fresh.sentence == "nothing is judged while no bake runs"


def test_after_a_hold_its_judgements_are_made_up_for() -> None:
    held = poll(question(lifetime=None), watch(question(), GOOD, 1, 20), at(90), GOOD)
    resumed = poll(question(since_ms=at(90)), held, at(90.1), GOOD)
    assert resumed.verdict is Verdict.HEALTHY
    assert resumed.canary == watch(question(), GOOD, *REGULAR).canary
    assert resumed.observed_ms == held.observed_ms + 6_000


def test_another_stage_begins_anew() -> None:
    done = watch(question(), GOOD, *REGULAR).model_copy(update={"observed_ms": 0})
    state = poll(question(since_ms=at(61), arrived_ms=at(61)), done, at(61.1), GOOD)
    assert (state.verdict, state.passes, state.canary and state.canary.done) == (Verdict.UNDECIDED, False, 0)


def test_after_the_end_nothing_is_judged_any_more() -> None:
    state = watch(question(), GOOD, *REGULAR)
    assert poll(question(), state, at(200), BAD).verdict is Verdict.HEALTHY


def test_a_breach_that_a_person_resumed_from_is_followed_by_the_next_judgement() -> None:
    recovering = BAD | {"latency candidate": [50.0] * 20 + list(NOISE) * 20}
    asked = question(gate(lookback="20m"))
    breached = watch(asked, recovering, 1, 20)
    assert breached.verdict is Verdict.BREACHED
    assert poll(asked, breached, at(39), recovering, tolerated=True).verdict is Verdict.BREACHED
    assert poll(asked, breached, at(40), recovering, tolerated=True).verdict is Verdict.UNDECIDED
    assert poll(asked, breached, at(60), recovering, tolerated=True).verdict is Verdict.HEALTHY


def test_what_came_after_a_breach_is_no_excuse() -> None:
    recovering = BAD | {"latency candidate": [50.0] * 20 + [0.0] * 400}
    asked = question(gate(lookback="20m"))
    awake, away = watch(asked, recovering, 1, 20), watch(asked, recovering, 1, 300)
    assert (away.verdict, away.canary, away.sentence) == (Verdict.BREACHED, awake.canary, awake.sentence)


# ── Always ──────────────────────────────────────────────────────────────────────────────────────

levels = st.sampled_from([0.0, 1.0, 1.0, 2.0, 3.0, 8.0, nan, nan, inf])
worlds = st.dictionaries(
    st.sampled_from(["latency candidate", "latency stable", "m1 candidate", "m1 stable"]),
    st.lists(levels, min_size=1, max_size=80),
)
gates = st.builds(
    gate,
    st.fixed_dictionaries({"nan": st.sampled_from(["remove", "replace"]), "critical": st.booleans()}),
    st.fixed_dictionaries({"direction": st.sampled_from(["either", "increase"]), "must_have_data": st.booleans()}),
    lookback=st.sampled_from([timedelta(0), 10 * MINUTE]),
    warm_up=st.sampled_from([timedelta(0), 3 * MINUTE]),
    interval=st.sampled_from([10 * MINUTE, 25 * MINUTE]),
    marginal=st.sampled_from([0.0, 50.0, 75.0]),
)


def answer(state: GateState) -> object:
    return state.model_dump(exclude={"watermark_ms", "observed_ms"})


@given(gates, worlds, st.lists(st.integers(1, 30), min_size=1, max_size=10), st.integers(0, 10), st.booleans())
@HEAVY
def test_a_worker_that_was_away_and_crashed_says_the_same_as_one_that_was_not(
    asked: KayentaGate, world: World, gaps: list[int], crash_at: int, tolerated: bool
) -> None:
    end, minute = sum(gaps), 0
    state = GateState(watermark_ms=NOW_MS)
    for number, gap in enumerate(gaps):
        minute += gap
        state = poll(question(asked), state, at(minute), world, tolerated=tolerated)
        if number == crash_at:
            state = GateState.model_validate_json(state.model_dump_json())
    regular = watch(question(asked), world, *range(1, end + 1), tolerated=tolerated)
    assert answer(state) == answer(regular)


@given(gates, worlds, st.integers(1, 200))
@LIGHT
def test_nothing_is_healthy_before_the_end_or_without_a_single_point(
    asked: KayentaGate, world: World, minute: int
) -> None:
    state = watch(question(asked), world, *range(1, minute + 1))
    if state.verdict is Verdict.HEALTHY:
        assert minute >= 50 + asked.warm_up / MINUTE
        assert state.canary is not None
        assert state.canary.ended
        assert set(state.canary.labels.values()) & {"Pass", "High", "Low"}
        assert any(each == each for side in world.values() for each in side)  # noqa: PLR0124 - not NaN
    assert (state.verdict is Verdict.NO_DATA) == (state.blind_since_ms is not None)
    assert not state.enough
