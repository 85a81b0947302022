"""Users fall to the sides of an experiment by a hash: any other split is a fault, and is never one by chance."""

from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.judge import split
from rollout.judge.evidence import Batch
from rollout.judge.sample_ratio import ALPHA, BETS, SampleRatio, grouped, log_bets, sample_ratio
from tests.rollout.given import LIGHT

COUNTS = st.integers(0, 10**9)


@given(COUNTS, COUNTS, st.integers(0, 10_000).map(lambda hundredths: hundredths / 10_000))
@LIGHT
def test_evidence_is_a_finite_number_whatever_was_counted(candidate: int, stable: int, share: float) -> None:
    found = sample_ratio(candidate, stable, share)
    assert 0 <= found.evidence <= 1e300
    assert "nan" not in found.sentence
    assert SampleRatio.model_validate_json(found.model_dump_json()) == found


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([0.05, 0.25, 0.5]))
@LIGHT
def test_it_reads_the_same_from_the_other_side(candidate: int, stable: int, share: float) -> None:
    one, other = sample_ratio(candidate, stable, share), sample_ratio(stable, candidate, 1 - share)
    assert one.evidence == pytest.approx(other.evidence, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5])
@pytest.mark.parametrize("users", [1, 2, 9, 300])
def test_by_chance_it_is_expected_to_win_nothing(users: int, share: float) -> None:
    """All outcomes: E is 1 on average."""
    chances = [comb(users, ours) * share**ours * (1 - share) ** (users - ours) for ours in range(users + 1)]
    found = [sample_ratio(ours, users - ours, share).evidence for ours in range(users + 1)]
    assert sum(p * e for p, e in zip(chances, found, strict=True)) == pytest.approx(1, abs=1e-6)


@given(st.integers(0, 3000), st.integers(0, 3000), st.sampled_from([0.05, 0.5]))
@LIGHT
def test_the_next_user_is_a_fair_bet(candidate: int, stable: int, share: float) -> None:
    """A martingale: what makes it true at every look and not only at the end."""
    now = sample_ratio(candidate, stable, share).evidence
    ours, theirs = sample_ratio(candidate + 1, stable, share), sample_ratio(candidate, stable + 1, share)
    if now < 1e200:
        assert share * ours.evidence + (1 - share) * theirs.evidence == pytest.approx(now, rel=1e-7)


def test_a_right_split_is_not_doubted_at_any_look() -> None:
    """400 experiments, 250 looks each, against 1 in 20: Ville's limit, where a look's own test fails in a third."""
    draw = np.random.default_rng(3)
    ever = book = 0
    for _ in range(400):
        ours = np.cumsum(draw.binomial(40, 0.5, 250))
        off = np.abs(ours - 20 * np.arange(1, 251)) / np.sqrt(10 * np.arange(1, 251))
        book += bool((off > 1.96).any())
        looks = np.flatnonzero(off > 2).tolist()
        ever += any(sample_ratio(int(ours[at]), 40 * (at + 1) - int(ours[at]), 0.5).evidence >= 20 for at in looks)
    assert ever / 400 <= 0.05
    assert book / 400 > 0.25


@pytest.mark.parametrize(
    ("lost", "users"), [(0.2, 5_000), (0.1, 20_000), (0.04, 120_000), (0.01, 2_000_000), (0.002, 60_000_000)]
)
def test_a_side_that_loses_users_is_found(lost: float, users: int) -> None:
    """So many of the candidate's are never counted; and the most likely outcome with half as many is not enough."""
    ours = round(users * (1 - lost) / (2 - lost))
    assert sample_ratio(ours, users - ours, 0.5).wrong
    assert not sample_ratio(ours // 4, (users - ours) // 4, 0.5).wrong


def test_a_split_that_turns_wrong_after_a_week_is_found() -> None:
    assert not sample_ratio(500_000, 500_000, 0.5).wrong
    assert sample_ratio(500_000 + 140_000, 500_000 + 150_000, 0.5).wrong


def test_what_requests_are_forgiven_users_are_not() -> None:
    """48 % of 40 000: a few busy visitors, or users who went missing."""
    requests = split.Split()
    for _ in range(41):
        batch = Batch(15_000, 480, 0, 520, 0)
        requests = split.update(requests, batch, since_ms=0, share=0.5, forced=False)
    assert split.unbalanced(requests, 0.5) is None
    assert sample_ratio(requests.candidate, requests.stable, 0.5).wrong


@pytest.mark.parametrize(("candidate", "stable", "share"), [(0, 0, 0.5), (900, 0, 1.0), (0, 900, 0.0)])
def test_where_nothing_is_split_nothing_is_wrong(candidate: int, stable: int, share: float) -> None:
    found = sample_ratio(candidate, stable, share)
    assert found.evidence == pytest.approx(1)
    assert not found.wrong


def test_the_alarm_is_at_one_over_alpha() -> None:
    enough, little = (SampleRatio(candidate=9, stable=1, share=0.5, evidence=part / ALPHA).wrong for part in (1, 0.99))
    assert (enough, little) == (True, False)


def test_a_bet_that_knows_the_share_bets_nothing() -> None:
    assert log_bets(40, 60, 0.5, (1e8,)) == pytest.approx(100 * log(0.5), abs=1e-4)
    assert exp(log_bets(1, 0, 0.2, BETS)) == pytest.approx(0.2)


def test_the_sentences_have_the_numbers() -> None:
    assert sample_ratio(9669, 10_444, 0.5).sentence == (
        "sample ratio: 48.1 % of 20 113 users got the candidate, 50 % should: comparisons mean nothing"
    )
    assert sample_ratio(9835, 10_278, 0.5, counted="visitors").sentence == (
        "sample ratio: 48.9 % of 20 113 visitors got the candidate, 50 % should: no more than chance"
    )
    assert sample_ratio(0, 0, 0.5).sentence == "sample ratio: no users were counted yet"
    assert [grouped(n) for n in (7, 999, 1000, 1_234_567)] == ["7", "999", "1 000", "1 234 567"]
