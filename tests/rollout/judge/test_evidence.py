"""Evidence is a fold: the same batches give the same bits, on whatever machine, with whatever pauses."""

import subprocess
import sys
from collections.abc import Iterable
from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from rollout.judge.evidence import BETA, CAP, PROOF_CAP, Batch, Evidence, Tally, Test, not_excluded, update
from tests.rollout.given import HEAVY, LIGHT

SCRAPE = 15_000
ODDS = Test(kind="odds", bad="down", margin=1.1, proof=1.5, floor=None, alpha=0.05)
KINDS = (Test(), Test(phi=2.3), Test(floor=None, alpha=0.01), ODDS, Test(kind="odds", floor=None))
WRITTEN = TypeAdapter(Evidence)
ROOT = Path(__file__).parents[3]


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    n_c, n_b = draw(st.integers(0, 400)), draw(st.integers(0, 4000))
    x_c, x_b = draw(st.integers(0, min(n_c, 60))), draw(st.integers(0, min(n_b, 60)))
    return Batch(draw(st.integers(0, 600_000)), n_c, x_c, n_b, x_b)


def folded(test: Test, seen: Iterable[Batch], known: Evidence | None = None) -> Evidence:
    known = known or Evidence()
    for batch in seen:
        known = update(test, known, batch)
    return known


def steady(n_c: int, x_c: int, n_b: int, x_b: int, scrapes: int = 10) -> list[Batch]:
    return [Batch(SCRAPE, n_c, x_c, n_b, x_b)] * scrapes


# ── A fold ──────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(batches(), max_size=8), st.lists(batches(), max_size=8), st.sampled_from(KINDS), st.booleans())
@HEAVY
def test_a_state_that_was_written_and_read_half_way_goes_on_to_the_same_bits(
    first: list[Batch], second: list[Batch], test: Test, moved: bool
) -> None:
    after = Test(**{field: getattr(test, field) for field in Test.__slots__} | {"stage": 1, "start": 0.1})
    half_way = folded(test, first)
    read = WRITTEN.validate_json(WRITTEN.dump_json(half_way))
    assert repr(read) == repr(half_way)
    rest = after if moved else test
    assert repr(folded(rest, second, read)) == repr(folded(rest, second, half_way))


def test_a_test_survives_the_wire() -> None:
    written = TypeAdapter(Test)
    assert [written.validate_json(written.dump_json(test)) for test in KINDS] == list(KINDS)


PROGRAM = """
from rollout.judge.evidence import Batch, Evidence, Test, not_excluded, update
for test in (Test(phi=1.7), Test(kind="odds", bad="down", margin=1.1, proof=1.5, floor=None, alpha=0.05)):
    known = Evidence()
    for at in range(40):
        known = update(test, known, Batch(15_000 + at, 70 + 13 * at % 9, at * 7 % 5, 1400 + at, 3 + at * 11 % 17))
    print(repr(known), repr(not_excluded(test, known.here)))
"""


def test_two_machines_come_to_the_same_bits() -> None:
    """Processes with different hash seeds; what differs between processors is why sums are recorded, not repeated."""
    told = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("0", "4711")
    ]
    assert told[0] == told[1]
    assert told[0].count("Evidence(") == 2


@given(st.lists(batches(), max_size=8), st.sampled_from(KINDS))
@LIGHT
def test_counts_and_time_add_up(seen: list[Batch], test: Test) -> None:
    known = folded(test, seen)
    sums = [sum(column) for column in zip(*seen, strict=True)] or [0] * 5
    assert (known.elapsed_ms, *known.total) == tuple(sums)
    assert known.here == known.total


# ── What moves and what does not ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("test", KINDS)
@pytest.mark.parametrize("side", ["candidate", "stable"])
def test_a_batch_without_one_side_moves_neither_blame_nor_proof(test: Test, side: str) -> None:
    before = folded(test, steady(100, 3, 1900, 19))
    lonely = Batch(0, *((0, 0, 900, 400) if side == "candidate" else (900, 400, 0, 0)))
    after = update(test, before, lonely)
    assert (after.worse, after.fine) == (before.worse, before.fine)
    assert after.total != before.total


def test_an_empty_scrape_only_lets_time_pass() -> None:
    before = folded(Test(), steady(100, 1, 1900, 19))
    after = update(Test(), before, Batch(0, 0, 0, 0, 0))
    assert after == before


def test_a_side_without_requests_for_an_hour_proves_nothing() -> None:
    for counts in ((0, 0, 2000, 40), (2000, 40, 0, 0), (0, 0, 0, 0)):
        known = folded(Test(), steady(*counts, scrapes=240))
        assert not known.proven_fine
        assert known.worse.value == pytest.approx(1)
        assert known.value <= 1 + 1e-9


def test_the_candidate_is_blamed_only_if_it_is_worse_than_stable_and_above_the_floor() -> None:
    rare = folded(Test(floor=0.05), steady(10_000, 30, 10_000, 0, scrapes=40))
    assert rare.worse.value > 1000
    assert rare.above.value < 1
    assert rare.value == rare.above.value
    shared = folded(Test(floor=0.001), steady(1000, 100, 1000, 100, scrapes=40))
    assert shared.above.value > 1000
    assert shared.value == shared.worse.value < 1


def test_without_a_floor_the_comparison_alone_decides() -> None:
    known = folded(Test(floor=None), steady(10_000, 30, 10_000, 0))
    assert known.above.worth == ()
    assert known.value == known.worse.value > 1000


def test_what_one_scrape_may_prove_is_capped_on_both_sides() -> None:
    burst = update(Test(alpha=1e-3), Evidence(), Batch(0, 10_000, 10_000, 10_000, 0))
    assert max(burst.worse.worth) == pytest.approx(0.5 * 1000**CAP)
    assert max(burst.above.worth) == pytest.approx(0.5 * 1000**CAP)
    calm = update(Test(), Evidence(), Batch(0, 10_000, 0, 10_000, 9_000))
    assert max(calm.fine.worth) == pytest.approx(20**CAP)
    assert not calm.proven_fine
    assert update(Test(), calm, Batch(0, 10_000, 0, 10_000, 9_000)).proven_fine
    assert pytest.approx(0.6 * log(1 / BETA)) == PROOF_CAP


def test_dispersion_divides_what_is_learnt() -> None:
    plain, bursty = (folded(Test(phi=phi, floor=None), steady(100, 5, 1900, 19)) for phi in (1, 5))
    assert plain.value > 1e6
    assert 1 < bursty.value < 100


def test_a_new_stage_keeps_the_blame_and_begins_its_proof_anew() -> None:
    first = folded(Test(), steady(1000, 5, 1000, 5, scrapes=40))
    assert first.proven_fine
    second = update(Test(stage=1, start=0.1), first, Batch(SCRAPE, 10, 1, 10, 0))
    assert (second.stage, second.here) == (1, Tally(10, 1, 10, 0))
    assert second.total == first.total.plus(Batch(0, 10, 1, 10, 0))
    assert not second.proven_fine
    assert second.fine.rest == 0
    assert second.worse.rest < first.worse.rest - 0.1


def test_bad_news_of_one_stage_is_not_forgotten_in_the_next() -> None:
    half = folded(Test(), steady(100, 4, 1900, 19, scrapes=3))
    assert 10 < half.value < 1000
    anew = folded(Test(stage=1, start=0.1), steady(500, 20, 1500, 15, scrapes=4))
    carried = folded(Test(stage=1, start=0.1), steady(500, 20, 1500, 15, scrapes=4), half)
    assert carried.value > 10 * anew.value


# ── Directions ──────────────────────────────────────────────────────────────────────────────────


@given(st.lists(batches(), max_size=6))
@LIGHT
def test_fewer_conversions_are_more_failures(seen: list[Batch]) -> None:
    """To the last bit: both ways are one way."""
    failures = [Batch(ms, n_c, n_c - x_c, n_b, n_b - x_b) for ms, n_c, x_c, n_b, x_b in seen]
    down = folded(Test(kind="odds", bad="down", floor=None), seen)
    up = folded(Test(kind="odds", bad="up", floor=None), failures)
    assert (down.worse, down.fine) == (up.worse, up.fine)
    assert down.total.x_c == up.total.n_c - up.total.x_c


def test_more_conversions_are_never_held_against_the_candidate() -> None:
    better = folded(ODDS, steady(1000, 300, 1000, 200, scrapes=30))
    worse = folded(ODDS, steady(1000, 200, 1000, 300, scrapes=30))
    assert better.value < 1
    assert better.proven_fine
    assert worse.value > 1e6
    assert not worse.proven_fine


@given(batches(), st.sampled_from([Test(floor=None), Test(kind="odds", floor=None)]))
@LIGHT
def test_one_more_error_of_the_candidate_is_never_a_better_sign(batch: Batch, test: Test) -> None:
    more = batch._replace(n_c=batch.n_c + 1, n_b=batch.n_b + 1)
    worse, better = (update(test, Evidence(), more._replace(x_c=batch.x_c + one)) for one in (1, 0))
    if test.kind == "odds":  # given the events of both, one more of ours is one less of theirs
        better = update(test, Evidence(), more._replace(x_b=batch.x_b + 1))
    assert worse.worse.value >= better.worse.value - 1e-9
    assert worse.fine.value <= better.fine.value + 1e-9


def test_evidence_of_harm_and_of_health_exclude_each_other() -> None:
    bad, good = folded(Test(), steady(100, 10, 1900, 19)), folded(Test(), steady(1000, 10, 1000, 10, scrapes=40))
    assert (bad.value >= 1000, bad.proven_fine) == (True, False)
    assert (good.value >= 1000, good.proven_fine) == (False, True)


# ── What is not excluded ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("here", [Tally(), Tally(900, 9, 0, 0), Tally(0, 0, 900, 9), Tally(900, 0, 900, 0)])
def test_without_counts_of_both_sides_nothing_is_excluded(here: Tally) -> None:
    assert not_excluded(Test(), here) is None


def test_the_limit_falls_as_counts_grow() -> None:
    limits = [not_excluded(Test(), Tally(50 * n, n, 950 * n, 19 * n)) for n in (1, 2, 4, 8, 16, 32, 64, 256)]
    known = [limit for limit in limits if limit is not None]
    assert len(known) >= 7
    assert known == sorted(known, reverse=True)
    assert known[0] > 5
    assert 1 < known[-1] < 1.5


def test_a_candidate_that_is_surely_better_could_not_be_worse() -> None:
    assert not_excluded(Test(), Tally(10_000, 10, 10_000, 1000)) == 1


def test_dispersion_makes_the_limit_wider() -> None:
    here = Tally(2000, 20, 38_000, 380)
    plain, bursty = not_excluded(Test(), here), not_excluded(Test(phi=3), here)
    assert plain is not None
    assert bursty is not None
    assert 1 < plain < bursty


def test_where_fewer_is_worse_the_limit_speaks_of_fewer() -> None:
    here = Tally(2000, 400, 2000, 410)
    swapped = Tally(here.n_b, here.x_b, here.n_c, here.x_c)
    assert not_excluded(ODDS, here) == not_excluded(Test(), swapped)
    fewer = not_excluded(ODDS, Tally(2000, 300, 2000, 410))
    same = not_excluded(ODDS, here)
    assert fewer is not None
    assert same is not None
    assert fewer > 410 / 300 > 1.3 > same


@pytest.mark.parametrize("truth", [1.0, 1.6])
def test_the_limit_covers_the_truth_at_every_look(truth: float) -> None:
    """200 stages of 30 scrapes, looked at after each: 5 % may ever exclude the truth."""
    draw = np.random.default_rng(5)
    missed = 0
    for _ in range(200):
        x_c, x_b = np.cumsum(draw.binomial((50, 450), (0.02 * truth, 0.02), (30, 2)), axis=0).T.tolist()
        looks = [Tally(50 * n, x_c[n - 1], 450 * n, x_b[n - 1]) for n in range(3, 31, 3)]
        limits = [not_excluded(Test(), here) for here in looks]
        missed += any(limit is not None and limit < truth for limit in limits)
    assert missed / 200 <= BETA + 3 * (BETA * (1 - BETA) / 200) ** 0.5


def test_a_proof_and_the_limit_agree() -> None:
    """The limit has more alternatives and no cap, so it is not the same test; both speak of this stage."""
    known = Evidence()
    while not known.proven_fine:
        known = update(Test(), known, Batch(SCRAPE, 500, 2, 9500, 38))
    limit = not_excluded(Test(), known.here)
    assert limit is not None
    assert 1.5 < limit < 2.5
