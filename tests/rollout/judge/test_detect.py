"""What a stage can see: against the published table, against the real test played many times, and at low traffic."""

from datetime import timedelta
from math import inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.gates import CountingGate, ErrorRatioGate, LatencyGate, ProportionGate
from rollout.judge.detect import Traffic, bake_for, seconds_to_detect, share_for, smallest_ratio, smallest_share
from rollout.judge.detectable import Detectable, detectable
from rollout.judge.evidence import Batch, Evidence, update
from rollout.judge.evidence import Test as Asked
from rollout.judge.information import bound, growth, moved
from rollout.judge.odds import odds
from tests.rollout.given import LIGHT

ARTICLE = 350 / 60  # requests a second
USUAL = 0.005
TABLE = {  # bake in minutes, percent → smallest ratio at 10, 100, 1000 requests/s
    (5, 5): (11.8, 3.6, 1.9),
    (10, 5): (7.8, 2.8, 1.7),
    (10, 25): (4.3, 2.0, 1.5),
    (10, 50): (4.1, 2.0, 1.5),
    (30, 5): (4.5, 2.1, 1.5),
    (30, 25): (2.8, 1.7, 1.4),
    (60, 5): (3.4, 1.8, 1.4),
    (60, 50): (2.2, 1.5, 1.3),
}
ROWS = [(m, p, rate, r) for (m, p), row in TABLE.items() for rate, r in zip((10, 100, 1000), row, strict=True)]
ERRORS = ErrorRatioGate(requests="r", errors="e")
BOUNCE = ProportionGate.model_validate({"trials": "t", "successes": "s", "bad": "up"})
CONVERSION = ProportionGate.model_validate({"trials": "t", "successes": "s", "bad": "down"})
SLOW = LatencyGate.model_validate({"histogram": "h", "slower_than": "300ms"})
ODDS = Asked(kind="odds", margin=1.1, proof=1.5, floor=None)


@pytest.mark.parametrize(("minutes", "percent", "rate", "ratio"), ROWS)
def test_the_published_table_follows_from_the_bound(minutes: int, percent: int, rate: int, ratio: float) -> None:
    def seconds(times: float) -> float:
        return 1.5 * log(1000) / (rate * bound(Asked(), percent / 100, times * USUAL, USUAL))

    rounding = 0.05 + 1e-9
    assert seconds(ratio + rounding) <= minutes * 60 <= seconds(max(ratio - rounding, 1.2501))


@pytest.mark.parametrize(("minutes", "percent", "rate", "ratio"), ROWS)
def test_what_is_promised_is_the_table_and_two_scrapes_but_never_less_than_our_test_can_do(
    minutes: int, percent: int, rate: int, ratio: float
) -> None:
    found = smallest_ratio(Asked(), Traffic(rate, USUAL), percent / 100, minutes * 60)
    assert found is not None
    assert found >= max(ratio - 0.06, 1.53)  # growth of the first alternative, 1.5 × 1.25, begins there
    assert found <= max(ratio * 1.09, 1.75)


@pytest.mark.parametrize(
    ("rate", "share", "usual", "bake"),
    [(ARTICLE, 0.05, USUAL, 600), (ARTICLE, 0.25, USUAL, 1800), (100, 0.05, USUAL, 600), (100, 0.05, 0.2, 600)],
)
def test_a_candidate_just_so_bad_is_caught_within_about_the_bake(
    rate: float, share: float, usual: float, bake: float
) -> None:
    ratio = smallest_ratio(Asked(), Traffic(rate, usual), share, bake)
    assert ratio is not None
    draw, took = np.random.default_rng(5), []
    for _ in range(40):
        state, at = Evidence(), 0
        while state.value < 1000 and at < 6 * bake:
            at += 15
            n_c, n_b = int(draw.poisson(rate * share * 15)), int(draw.poisson(rate * (1 - share) * 15))
            x_c, x_b = int(draw.binomial(n_c, min(ratio * usual, 1))), int(draw.binomial(n_b, usual))
            state = update(Asked(), state, Batch(15_000, n_c, x_c, n_b, x_b))
        took.append(at)
    assert 0.6 * bake < np.mean(took) < 1.3 * bake


def test_the_article_s_first_stage_sees_only_large_faults_and_says_so() -> None:
    told = detectable("internal QA", "errors", ERRORS, Asked(), Traffic(ARTICLE, USUAL), (5, timedelta(hours=1)))
    assert told.sentence == (
        "5 % for 1h sees errors that are 4.3× stable's (at 350 requests/min, 0.5 %); 2× would need 11h10m"
    )


def test_a_bake_and_a_percent_that_see_twice_as_many_are_told() -> None:
    told = detectable("5 %", "errors", ERRORS, Asked(), Traffic(10, USUAL), (5, timedelta(hours=3)))
    assert told.sentence == (
        "5 % for 3h sees errors that are 2.4× stable's (at 10 requests/s, 0.5 %); 2× would need 6h30m, or 13 %"
    )
    traffic = Traffic(10, USUAL)
    assert seconds_to_detect(Asked(), traffic, 0.13, 2) <= 3 * 3600 < seconds_to_detect(Asked(), traffic, 0.12, 2)
    assert (
        seconds_to_detect(Asked(), traffic, 0.05, 2) <= 6.5 * 3600 < seconds_to_detect(Asked(), traffic, 0.05, 2) + 600
    )


def test_what_is_seen_anyway_needs_no_advice() -> None:
    told = detectable("half", "errors", ERRORS, Asked(), Traffic(1000, USUAL), (50, timedelta(hours=1)))
    assert told.sentence == "50 % for 1h sees errors that are 1.6× stable's (at 1000 requests/s, 0.5 %)"


@pytest.mark.parametrize(
    ("gate", "asked", "traffic", "rung", "sentence"),
    [
        (ERRORS, Asked(), Traffic(0, None), (5, 10), "5 % for 10m: no requests were seen, so nothing can be told"),
        (ERRORS, Asked(), Traffic(9, 0.1), (100, 10), "100 % for 10m has no stable beside it, so it can say nothing"),
        (
            ERRORS,
            Asked(),
            Traffic(ARTICLE, 0.0),
            (5, 10),
            (
                "5 % for 10m sees errors once they are 2.6 % of the candidate's requests "
                "(at 350 requests/min; stable has none)"
            ),
        ),
        (
            ERRORS,
            Asked(),
            Traffic(ARTICLE, None),
            (5, 60),
            (
                "5 % for 1h sees errors once they are 0.8 % of the candidate's requests "
                "(at 350 requests/min; stable's share is not known and taken as none)"
            ),
        ),
        (
            ERRORS,
            Asked(),
            Traffic(0.01, None),
            (5, 1),
            (
                "5 % for 1m sees no errors at all, however many "
                "(at 36 requests/h; stable's share is not known and taken as none)"
            ),
        ),
        (
            SLOW,
            Asked(),
            Traffic(0.01, 0.02),
            (5, 1),
            (
                "5 % for 1m sees no worsening of requests slower than 0.3s at all "
                "(at 36 requests/h, 2 %); 2× would need 67d"
            ),
        ),
        (
            ERRORS,
            Asked(margin=2.5, proof=4),
            Traffic(10, USUAL),
            (5, 60),
            "5 % for 1h sees errors that are 5.6× stable's (at 10 requests/s, 0.5 %); 2× cannot be seen here",
        ),
        (
            BOUNCE,
            ODDS,
            Traffic(100 / 60, 0.4),
            (50, 60),
            "50 % for 1h sees odds of successes that are 1.5× stable's (at 100 trials/min, 40 %)",
        ),
        (
            CONVERSION,
            Asked(kind="odds", bad="down", margin=1.1, proof=1.5, floor=None),
            Traffic(100 / 60, 0.025),
            (50, 60),
            (
                "50 % for 1h sees odds of successes that are 0.33× stable's (at 100 trials/min, 2.5 %); "
                "0.5× would need 2h20m"
            ),
        ),
    ],
)
def test_every_case_has_an_honest_sentence(
    gate: CountingGate, asked: Asked, traffic: Traffic, rung: tuple[float, int], sentence: str
) -> None:
    told = detectable("stage", "gate", gate, asked, traffic, (rung[0], timedelta(minutes=rung[1])))
    assert told.sentence == sentence
    assert Detectable.model_validate_json(told.model_dump_json()).sentence == sentence


def test_nothing_is_seen_without_traffic_without_stable_or_within_the_margin() -> None:
    assert seconds_to_detect(Asked(), Traffic(0, USUAL), 0.05, 2) == inf
    assert seconds_to_detect(Asked(), Traffic(100, USUAL), 0.0, 2) == inf
    assert seconds_to_detect(Asked(), Traffic(100, USUAL), 1.0, 2) == inf
    assert seconds_to_detect(Asked(), Traffic(100, USUAL), 0.05, 1.25) == inf
    assert seconds_to_detect(Asked(), Traffic(100, None), 0.05, 2) == inf
    assert smallest_ratio(Asked(), Traffic(100, 0.0), 0.05, 600) is None
    assert smallest_ratio(Asked(), Traffic(100, 1.0), 0.05, 600) is None
    assert bake_for(Asked(), Traffic(100, USUAL), 0.05, ratio=1.1) is None
    assert share_for(Asked(), Traffic(0.1, USUAL), 600) is None


def test_a_ratio_below_the_floor_is_never_seen() -> None:
    assert seconds_to_detect(Asked(floor=0.02), Traffic(1000, USUAL), 0.05, 3) == inf
    share = smallest_share(Asked(floor=0.02), Traffic(1000, 0.0), 0.05, 3600)
    assert share is not None
    assert share > 0.02


def test_dispersion_alpha_and_a_late_start_cost_time() -> None:
    usually = seconds_to_detect(Asked(), Traffic(100, USUAL, 0), 0.05, 3)
    assert seconds_to_detect(Asked(phi=3), Traffic(100, USUAL, 0), 0.05, 3) == pytest.approx(3 * usually)
    assert seconds_to_detect(Asked(alpha=1e-6), Traffic(100, USUAL, 0), 0.05, 3) == pytest.approx(2 * usually)
    assert usually < seconds_to_detect(Asked(start=0.1), Traffic(100, USUAL, 0), 0.05, 3) < 1.2 * usually
    assert seconds_to_detect(Asked(), Traffic(100, USUAL, 15), 0.05, 3) == pytest.approx(usually + 30)


shares = st.floats(0.001, 0.5)
usuals = st.floats(1e-5, 0.4)
ratios = st.floats(1.3, 30)
questions = st.sampled_from([Asked(), Asked(floor=None), Asked(phi=3), ODDS])


@LIGHT
@given(questions, shares, usuals, ratios, ratios)
def test_a_larger_fault_is_never_seen_later(asked: Asked, share: float, usual: float, one: float, other: float) -> None:
    less, more = sorted((one, other))
    traffic = Traffic(10, usual)
    assert seconds_to_detect(asked, traffic, share, more) <= seconds_to_detect(asked, traffic, share, less) * (1 + 1e-6)


@LIGHT
@given(questions, shares, usuals, ratios)
def test_the_test_never_gains_more_than_the_bound(asked: Asked, share: float, usual: float, ratio: float) -> None:
    p_c = moved(asked, usual, ratio)
    assert growth(asked, share, p_c, usual) <= bound(asked, share, p_c, usual) * (1 + 1e-6) + 1e-12


@LIGHT
@given(questions, shares, usuals, st.floats(60, 86_400))
def test_the_smallest_ratio_just_fits_the_bake(asked: Asked, share: float, usual: float, bake: float) -> None:
    ratio = smallest_ratio(asked, Traffic(10, usual), share, bake)
    if ratio is not None:
        assert seconds_to_detect(asked, Traffic(10, usual), share, ratio) <= bake
        assert seconds_to_detect(asked, Traffic(10, usual), share, ratio * 0.999) > bake


@pytest.mark.parametrize(("usual", "ratio", "share"), [(0.45, 2, 0.05), (0.1, 1.65, 0.5), (0.03, 3, 0.05)])
def test_the_growth_of_proportions_is_that_of_the_exact_test(usual: float, ratio: float, share: float) -> None:
    n_c, n_b = round(20_000 * share), round(20_000 * (1 - share))
    p_c = moved(ODDS, usual, ratio)
    logs = odds(n_c, round(n_c * p_c), n_b, round(n_b * usual), 1.1, tuple([1.1 * r for r in (1.5, 2, 3, 5)]))
    assert max(logs) / 20_000 == pytest.approx(growth(ODDS, share, p_c, usual), rel=0.01)
