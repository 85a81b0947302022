"""What a write makes of a rule: golden requests, and properties of the weights."""

import copy
import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.ports import Write
from activities.routers.alb import marks, split_rules, views
from rollout.errors import Misconfigured
from rollout.routes import AlbRoute
from tests.activities.routers.alb_rules import (
    BLUE,
    GREEN,
    GROUPS,
    OLD,
    PERCENTS,
    ROUTE,
    Json,
    default_rule,
    forward,
    site_of,
)

GOLDEN = sorted((Path(__file__).parent / "alb").glob("*.json"))
SHARES = st.dictionaries(st.sampled_from([BLUE, GREEN, OLD]), st.integers(0, 999), min_size=1)
BEFORE = st.lists(st.sampled_from(["authenticate-cognito", "authenticate-oidc", "jwt-validation"]), max_size=3)


def made(case: Json) -> Json:
    """What a write makes of a rule, as a golden file says it."""
    route, write = AlbRoute.model_validate(case["route"]), Write.model_validate(case["write"])
    header = write.header and not write.release and route.header is not None
    mark = marks.mark_of(write, header=header)
    wanted = views.wanted(site_of(case["rule"], case["tags"]), route, mark, refer=header)
    return wanted.model_dump(mode="json")


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_the_rule_becomes_what_the_golden_file_says(file: Path) -> None:
    case = json.loads(file.read_bytes())
    before = copy.deepcopy(case)
    assert made(case) == case["expected"], json.dumps(made(case), indent=2)
    assert case == before


@given(PERCENTS)
def test_weights_are_what_aws_takes_and_as_near_as_a_hundredth_of_a_percent(percent: float) -> None:
    candidate, stable = split_rules.weights(percent)
    assert 0 <= candidate <= 999
    assert 0 <= stable <= 999
    assert abs(100 * candidate / (candidate + stable) - percent) <= 0.0126
    assert (candidate == 0) == (percent == 0)
    assert (stable == 0) == (percent == 100)


@pytest.mark.parametrize(
    ("percent", "weights"),
    [(0, (0, 1)), (0.1, (1, 999)), (0.25, (1, 399)), (1, (1, 99)), (5, (1, 19)), (50, (1, 1)), (99, (99, 1))],
)
def test_the_smallest_weights_are_taken(percent: float, weights: tuple[int, int]) -> None:
    assert split_rules.weights(percent) == weights


@pytest.mark.parametrize("percent", [0.01, 0.05, 99.95, 99.99])
def test_a_share_that_no_weight_gives_is_refused_and_never_rounded_away(percent: float) -> None:
    with pytest.raises(ValueError, match=r"the least is 0\.1 %"):
        split_rules.weights(percent)
    write = {"percent": percent, "epoch": 1, "owner": "me"}
    route = ROUTE.model_dump(mode="json", exclude_none=True)
    with pytest.raises(Misconfigured, match="cannot be at"):
        made({"route": route, "rule": default_rule(forward({BLUE: 1})), "tags": {}, "write": write})


@given(SHARES, PERCENTS, st.booleans())
def test_what_was_written_is_read_back(found: dict[str, int], percent: float, refer: bool) -> None:
    actions = split_rules.split([forward(found)], GROUPS, percent, {}, refer=refer)
    assert split_rules.percent_of(actions, GROUPS, [percent]) == percent
    written = split_rules.forwarded(actions)
    assert sum(split_rules.weighed(written, GROUPS)) > 0
    assert written.get(OLD) == found.get(OLD)
    assert split_rules.same(split_rules.split(actions, GROUPS, percent, {}, refer=refer), actions)


@given(BEFORE, SHARES, PERCENTS)
def test_every_other_action_stays_as_it_is_and_where_it_is(
    kinds: list[str], found: dict[str, int], percent: float
) -> None:
    others = [
        {"Type": kind, "Order": at, "AuthenticateOidcConfig": {"Scope": kind}} for at, kind in enumerate(kinds, 1)
    ]
    actions = [*others, {**forward(found), "Order": 9}]
    kept = copy.deepcopy(actions)
    made = split_rules.split(actions, GROUPS, percent, {}, refer=True)
    assert actions == kept
    for action in made:
        if action["Type"] == "authenticate-oidc":
            assert action["AuthenticateOidcConfig"].pop("UseExistingClientSecret")
    assert made[:-1] == others
    assert (made[-1]["Type"], made[-1]["Order"]) == ("forward", 9)


def test_a_percent_that_nobody_wrote_is_rounded_to_two_decimals() -> None:
    assert split_rules.percent_of([forward({GREEN: 1, BLUE: 2})], GROUPS) == 33.33
    assert split_rules.percent_of([forward({GREEN: 1, BLUE: 1})], GROUPS, [50.01]) == 50.01
    assert split_rules.percent_of([forward({GREEN: 0, BLUE: 0})], GROUPS) == 0
    assert split_rules.percent_of([forward({OLD: 1})], GROUPS) == 0


def test_two_ways_to_say_the_same_are_the_same() -> None:
    both = {"Type": "forward", "TargetGroupArn": BLUE, **forward({BLUE: 1}, Enabled=False), "Order": 1}
    short = {"Type": "forward", "TargetGroupArn": BLUE}
    assert split_rules.same([both], [short])
    assert split_rules.same([forward({BLUE: 1}, Enabled=False, DurationSeconds=60)], [short])
    assert not split_rules.same([forward({BLUE: 1}, Enabled=True, DurationSeconds=60)], [short])
    assert not split_rules.same([forward({BLUE: 1, GREEN: 0})], [short])
    assert split_rules.traffic([forward({BLUE: 1, GREEN: 0})]) == split_rules.traffic([short])
    assert split_rules.traffic([forward({BLUE: 2, GREEN: 2})]).shares == {BLUE: Fraction(1, 2), GREEN: Fraction(1, 2)}
