"""A fortune of 1 is bet piece by piece; none of it appears from nowhere, and it rarely grows by luck."""

from itertools import pairwise
from math import exp, inf, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from rollout.judge.evidence import CAP, RESERVE, Batch, Evidence, Test, update
from rollout.judge.merge import schedule
from rollout.judge.mixture import MOST, NO_CAP, Mixture
from rollout.judge.odds import whose
from tests.rollout.given import HEAVY, LIGHT

HOUR_MS = 3_600_000
SPANS = st.lists(st.integers(0, 4 * HOUR_MS), max_size=8)
EMPTY = (0, 0, 0, 0)


def test_it_is_worth_1_before_anything_was_seen() -> None:
    assert Mixture().value == 1
    assert Evidence().value == 1


def test_what_is_placed_is_multiplied_and_the_rest_stays() -> None:
    there = Mixture().after(0.5, [log(2), log(4)])
    assert there.worth == pytest.approx((1.0, 2.0))
    assert there.rest == 0.5
    assert there.value == pytest.approx(1.5 + 0.5)


def test_it_is_placed_before_the_observation_and_then_multiplied_again_and_again() -> None:
    there = Mixture().after(0.5, [log(2)]).after(0.25, [log(2)])
    assert there.worth == pytest.approx(((0.5 * 2 + 0.25) * 2,))


def test_no_more_is_placed_than_there_is() -> None:
    there = Mixture().after(0.7, [0.0]).after(0.7, [0.0]).after(1.0, [0.0])
    assert (there.worth, there.rest) == ((1.0,), 0.0)


def test_the_logarithms_are_divided_and_then_capped() -> None:
    assert Mixture().after(1.0, [6.0], phi=3.0, cap=2.5).worth == pytest.approx((exp(2.0),))
    assert Mixture().after(1.0, [6.0], phi=2.0, cap=2.5).worth == pytest.approx((exp(2.5),))
    assert Mixture().after(1.0, [-6.0], phi=2.0, cap=2.5).worth == pytest.approx((exp(-3.0),))


def test_it_never_becomes_infinite_and_still_comes_down() -> None:
    rich = Mixture()
    for _ in range(9):
        rich = rich.after(1.0, [1e9, 0.0])
    assert rich.worth == (MOST, 1.0)
    assert rich.value < inf
    assert rich.after(0.0, [-NO_CAP, 0.0]).worth[0] < MOST


def test_the_number_of_alternatives_cannot_change_on_the_way() -> None:
    with pytest.raises(ValueError, match="argument"):
        Mixture().after(0.5, [0.0, 0.0]).after(0.5, [0.0])


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(-50, 50), st.floats(1, 20)), max_size=12))
@LIGHT
def test_it_survives_the_wire_to_the_last_bit(moves: list[tuple[float, float, float]]) -> None:
    there, written = Mixture(), TypeAdapter(Mixture)
    for mass, seen, phi in moves:
        there = there.after(mass, [seen, -seen / 3], phi)
    assert written.validate_json(written.dump_json(there)) == there


# ── Mass is spent once, however long it takes ───────────────────────────────────────────────────


def bets(bakes: list[int], spans: list[list[int]]) -> list[Evidence]:
    """Stages as scheduled, baked as it happened; nothing is ever seen, so that only mass moves."""
    placed, known, every = schedule(bakes), Evidence(), []
    for stage, (start, took) in enumerate(zip(placed.starts, spans, strict=False)):
        test = Test(stage=stage, start=start, spread=placed.spread, planned_ms=placed.planned_ms)
        for span in took:
            known = update(test, known, Batch(span, *EMPTY))
            every.append(known)
    return every


@given(st.lists(st.integers(1, 2 * HOUR_MS), min_size=1, max_size=7), st.lists(SPANS, min_size=1, max_size=7))
@HEAVY
def test_no_mass_is_created_however_the_bakes_go(bakes: list[int], spans: list[list[int]]) -> None:
    """Empty scrapes, bakes of no length, and extensions far beyond what was planned."""
    before = 1.0
    for known in bets(bakes, spans):
        for mixture in (known.worse, known.above):
            assert 0 <= mixture.rest <= before
            assert mixture.value == pytest.approx(1, abs=1e-12)
            assert mixture.worth[0] <= 1
        before = known.worse.rest


def test_a_bake_that_goes_as_planned_leaves_the_reserve() -> None:
    on_time = bets([HOUR_MS, HOUR_MS], [[HOUR_MS // 4] * 4] * 2)
    assert on_time[3].worse.rest == pytest.approx(1 - 0.45 - 0.10)
    assert on_time[-1].worse.rest == pytest.approx(RESERVE)


def test_a_bake_that_takes_ever_longer_never_runs_out_of_bets() -> None:
    late = [known.worse.rest for known in bets([HOUR_MS], [[HOUR_MS] * 30])]
    assert late[0] == pytest.approx(RESERVE)
    assert all(after < before for before, after in pairwise(late))
    assert late[-1] == pytest.approx(RESERVE / 30)


def test_half_of_an_only_stages_mass_is_bet_before_its_first_scrape() -> None:
    assert bets([HOUR_MS], [[0]])[0].worse.rest == 0.5


def test_the_same_stage_does_not_release_its_start_twice() -> None:
    first, second = bets([HOUR_MS, HOUR_MS], [[0, 0]])
    assert first.worse.rest == second.worse.rest == 0.55


# ── Ville's promise ─────────────────────────────────────────────────────────────────────────────

PATHS, LOOKS, ALPHA = 2000, 100, 0.05
BLAME = (1.25, tuple(1.25 * part for part in (1.5, 2, 3, 5, 9)))
PROVE = (2.0, (0.7, 1.0, 1.25))


def ever(p_c: float, p_b: float, asked: tuple[float, tuple[float, ...]], *, paths: int = PATHS) -> float:
    """Share of paths that ever reach 1/α when looked at after every batch."""
    draw = np.random.default_rng(3)
    trials = draw.poisson((40, 160), (paths, LOOKS, 2))
    events = draw.binomial(trials, (p_c, p_b))
    every: list[list[list[int]]] = np.concatenate([trials, events], axis=2).tolist()
    reached = [path for path in every if reaches(path, asked)]
    return len(reached) / paths


def reaches(path: list[list[int]], asked: tuple[float, tuple[float, ...]]) -> bool:
    null, ratios = asked
    there, mass = Mixture(), 0.5
    for n_c, n_b, x_c, x_b in path:
        there, mass = there.after(mass, whose(n_c, x_c, n_b, x_b, null, ratios)), 0.45 / LOOKS
        if there.value >= 1 / ALPHA:
            return True
    return False


def noise(paths: int) -> float:
    """Three standard deviations of a share that is α."""
    return 3 * sqrt(ALPHA * (1 - ALPHA) / paths)


def test_a_candidate_on_the_margin_is_seldom_blamed_at_any_of_a_hundred_looks() -> None:
    assert ever(0.0625, 0.05, BLAME) <= ALPHA + noise(PATHS)


def test_a_candidate_on_the_limit_is_seldom_called_proven_at_any_of_a_hundred_looks() -> None:
    assert ever(0.1, 0.05, PROVE) <= ALPHA + noise(PATHS)


def test_the_same_looks_see_what_is_bad_and_what_is_fine() -> None:
    assert ever(0.15, 0.05, BLAME, paths=100) == 1
    assert ever(0.05, 0.05, PROVE, paths=100) > 0.9


def test_the_real_arithmetic_keeps_the_promise_too() -> None:
    """Everything as in a rollout, with floor and cap: 300 paths of 60 scrapes."""
    draw = np.random.default_rng(11)
    test = Test(alpha=ALPHA, planned_ms=60 * 15_000, floor=0.02)
    blamed = 0
    for _ in range(300):
        counts = [draw.poisson(40, 60), draw.poisson(160, 60)]
        events = [draw.binomial(n, p) for n, p in zip(counts, (0.0625, 0.05), strict=True)]
        known = Evidence()
        for n_c, n_b, x_c, x_b in np.stack([*counts, *events], axis=1).tolist():
            known = update(test, known, Batch(15_000, n_c, x_c, n_b, x_b))
            if known.value >= 1 / ALPHA:
                blamed += 1
                break
    assert blamed / 300 <= ALPHA + noise(300)


def test_one_scrape_alone_never_decides() -> None:
    """Whatever the burst: half the mass is bet, and what it can win at once is capped below 1/α."""
    for alpha in (0.05, 0.01, 0.001, 1e-5):
        burst = update(Test(alpha=alpha), Evidence(), Batch(15_000, 5000, 5000, 95_000, 0))
        assert burst.value < 1 / alpha
        assert update(Test(alpha=alpha), burst, Batch(15_000, 5000, 5000, 95_000, 0)).value >= 1 / alpha or alpha > 0.01
    assert CAP < 1
