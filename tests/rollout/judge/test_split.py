"""Does the traffic go where it was sent? A black hole is told from a quiet minute, and a wrong split from luck."""

from math import ceil, log, log1p

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from rollout.judge.evidence import Batch
from rollout.judge.split import ALPHA, BLACK_HOLE, PHI, TOLERANCE, Split, black_hole, unbalanced, update
from tests.rollout.given import HEAVY, LIGHT

FIRST = Batch(15_000, 0, 0, 0, 0)
PATHS = 300


def seen(*counts: tuple[int, int], share: float = 0.05, forced: bool = False, stage: int = 0) -> Split:
    """Trials of candidate and stable, scrape by scrape, after the first one of the stage."""
    split = update(Split(), FIRST, since_ms=stage, share=share, forced=forced)
    for n_c, n_b in counts:
        split = update(split, Batch(15_000, n_c, 0, n_b, 0), since_ms=stage, share=share, forced=forced)
    return split


# ── A black hole ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("share", [0.01, 0.05, 0.25, 0.5, 0.99])
def test_a_candidate_that_counts_nothing_is_a_black_hole_once_luck_is_one_in_a_million(share: float) -> None:
    """The chance is (1 - share)^requests; three of them may be of one visitor."""
    needed = ceil(log(BLACK_HOLE) / log1p(-share) * PHI)
    assert (1 - share) ** (needed / PHI) <= BLACK_HOLE
    assert black_hole(seen((0, needed - 1), share=share), share) is None
    assert black_hole(seen((0, needed), share=share), share) == (
        f"routing: the candidate counts nothing while stable counted {needed} requests; "
        f"{100 * share:g} % of the traffic should have reached it"
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10**6)), max_size=6), st.floats(0.001, 1))
@LIGHT
def test_a_candidate_that_counted_anything_last_is_no_black_hole(counts: list[tuple[int, int]], share: float) -> None:
    split = seen(*counts, share=share)
    assert black_hole(split, share) is None or not counts[-1][0]
    assert split.missed == sum(n_b for _, n_b in counts[_last(counts) :])
    assert (split.candidate, split.stable) == (sum(n_c for n_c, _ in counts), sum(n_b for _, n_b in counts))


def _last(counts: list[tuple[int, int]]) -> int:
    """Where the batches begin that follow the candidate's last request."""
    return max([number for number, (n_c, _) in enumerate(counts, start=1) if n_c], default=0)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_without_a_split_there_is_no_black_hole(share: float) -> None:
    assert black_hole(seen((0, 10**9), share=share), share) is None
    assert unbalanced(seen((0, 10**9), share=share), share) is None


# ── Each stage begins anew ──────────────────────────────────────────────────────────────────────


def test_the_first_batch_of_a_stage_began_before_its_percent_and_is_left_out() -> None:
    first = update(Split(), Batch(15_000, 0, 0, 10**6, 0), since_ms=0, share=0.05, forced=False)
    assert (first.candidate, first.stable) == (0, 0)
    assert black_hole(first, 0.05) is None
    assert unbalanced(first, 0.05) is None


def test_what_one_stage_proved_does_not_count_in_the_next() -> None:
    lost = seen(*[(0, 2000)] * 3)
    assert black_hole(lost, 0.05) is not None
    assert unbalanced(lost, 0.05) is not None
    after = update(lost, Batch(15_000, 10, 0, 10**6, 0), since_ms=1, share=0.25, forced=False)
    assert (after.since_ms, after.candidate, after.stable) == (1, 0, 0)
    assert unbalanced(after, 0.25) is None


def test_nothing_is_said_before_anything_was_seen() -> None:
    assert black_hole(Split(), 0.05) is None
    assert unbalanced(Split(), 0.05) is None
    assert unbalanced(seen(), 0.05) is None


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 9000)), max_size=8), st.booleans())
@LIGHT
def test_it_survives_the_wire_to_the_last_bit(counts: list[tuple[int, int]], forced: bool) -> None:
    written = TypeAdapter(Split)
    there = seen(*counts, forced=forced)
    assert repr(written.validate_json(written.dump_json(there))) == repr(there)


# ── A split that is not the commanded one ───────────────────────────────────────────────────────


def found(actual: float, share: float, *, forced: bool = False, requests: int = 200, scrapes: int = 40) -> float:
    """Share of rollouts in which the split is ever doubted; half the paths have visitors who ask three times."""
    draw = np.random.default_rng(9)
    doubted = 0
    for path in range(PATHS):
        cluster = 3 if path % 2 else 1
        split = seen(share=share, forced=forced)
        for n_c in (draw.binomial(requests // cluster, actual, scrapes) * cluster).tolist():
            batch = Batch(15_000, n_c, 0, requests - n_c, 0)
            split = update(split, batch, since_ms=0, share=share, forced=forced)
            if unbalanced(split, share):
                doubted += 1
                break
    return doubted / PATHS


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_split_within_a_quarter_is_not_doubted(share: float) -> None:
    assert found(share, share) == 0
    assert found(share / TOLERANCE, share) == 0
    assert found(min(share * TOLERANCE, 1), share) == 0


@pytest.mark.parametrize(("actual", "share"), [(0.01, 0.05), (0.25, 0.5), (0.15, 0.05), (0.9, 0.5)])
def test_a_split_that_is_far_off_is_doubted_within_minutes(actual: float, share: float) -> None:
    assert found(actual, share) == 1


def test_visitors_who_may_choose_the_candidate_by_a_header_are_no_reason_to_doubt() -> None:
    assert found(0.3, 0.05, forced=True, scrapes=20) == 0
    assert found(0.005, 0.05, forced=True) == 1


def test_a_single_odd_scrape_is_not_enough() -> None:
    assert unbalanced(seen((0, 10**9)), 0.05) is None
    assert unbalanced(seen((10**9, 0)), 0.05) is None
    assert unbalanced(seen((10**9, 0), (10**9, 0)), 0.05) is not None


def test_the_sentence_has_the_numbers() -> None:
    assert unbalanced(seen(*[(500, 500)] * 4), 0.05) == (
        "routing: 50 % of 4000 counted requests were the candidate's, 5 % should be: comparisons mean nothing"
    )


@pytest.mark.parametrize("share", [0.8, 0.9, 0.99])
def test_where_a_quarter_more_would_be_everything_only_less_is_doubted(share: float) -> None:
    assert unbalanced(seen(*[(1000, 0)] * 20, share=share), share) is None
    assert unbalanced(seen(*[(100, 900)] * 20, share=share), share) is not None


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=10), st.floats(0.01, 0.99))
@HEAVY
def test_no_split_is_doubted_from_both_sides(counts: list[tuple[int, int]], share: float) -> None:
    """And an empty scrape says nothing."""
    split = seen(*counts, share=share)
    assert min(split.less.value, split.more.value) < 1 / ALPHA
    assert update(split, FIRST, since_ms=0, share=share, forced=False) == split


# ── What turns wrong later ──────────────────────────────────────────────────────────────────────


def test_a_black_hole_that_opens_after_a_minute_is_one_too() -> None:
    assert black_hole(seen(*[(75, 1425)] * 4, *[(0, 1425)] * 40), 0.05) is not None


@pytest.mark.parametrize("late", [(0, 15_000), (6_000, 9_000)])
def test_a_split_that_turns_wrong_after_ten_good_minutes_is_doubted(late: tuple[int, int]) -> None:
    """At 1000 requests a second every fortune that was bet at the start is 0.0 by then."""
    assert unbalanced(seen(*[(750, 14_250)] * 40, *[late] * 40), 0.05) is not None
