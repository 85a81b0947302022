"""The two rules of the forced header: known again, never a way around a login, at free priorities."""

import pytest

from activities.routers.alb import forced_rules, views
from rollout.routes import ForcedHeader
from tests.activities.routers.alb_rules import BLUE, GROUPS, HEADER, PATH, ROUTE, Json, default_rule, forward, site_of


def described(forced: forced_rules.Forced, priority: int) -> Json:
    """As AWS describes what it was given: with empty values, and other order."""
    conditions = [{"Values": [], **each} for each in reversed(forced.conditions)]
    return {"RuleArn": "arn:f/1", "Priority": str(priority), "Conditions": conditions, "Actions": forced.actions}


def test_a_forced_rule_is_known_as_aws_describes_it_and_any_change_is_not() -> None:
    rule = {"RuleArn": "arn:r/2", "Priority": "20", "Conditions": [PATH], "Actions": [forward({BLUE: 1})]}
    candidate, stable = forced_rules.wanted(rule, HEADER, GROUPS)
    assert candidate.fits(described(candidate, 19))
    assert not candidate.fits(described(stable, 19))
    other_path = {**PATH, "PathPatternConfig": {"Values": ["/v3/*"]}}
    assert not candidate.fits({**described(candidate, 19), "Conditions": [other_path, candidate.conditions[1]]})
    assert not candidate.fits({**described(candidate, 19), "Actions": [forward({BLUE: 1})]})
    assert not candidate.fits({**described(candidate, 19), "Transforms": [{"Type": "url-rewrite"}]})


def test_oidc_cannot_be_copied_and_a_way_around_the_login_is_never_made() -> None:
    oidc = {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": {"ClientId": "shop"}}
    rule = default_rule(oidc, {**forward({BLUE: 1}), "Order": 2})
    route = ROUTE.model_copy(update={"header": HEADER})
    with pytest.raises(ValueError, match="OIDC"):
        forced_rules.wanted(rule, HEADER, GROUPS)
    assert "OIDC" in str(views.unfit(site_of(rule), route))
    assert views.unfit(site_of(rule), ROUTE) is None


@pytest.mark.parametrize(
    "header",
    [ForcedHeader(candidate="Yes", stable="yes"), ForcedHeader(name="Host"), ForcedHeader(name="X" * 41)],
)
def test_a_header_that_a_load_balancer_cannot_tell_apart_is_refused(header: ForcedHeader) -> None:
    with pytest.raises(ValueError, match=r"case|Host|X"):
        forced_rules.wanted(default_rule(forward({BLUE: 1})), header, GROUPS)


def test_free_priorities_are_the_nearest_before_the_rule_and_never_beyond_the_next() -> None:
    rule = {"RuleArn": "arn:r/2", "Priority": "9", "Conditions": [PATH], "Actions": [forward({BLUE: 1})]}
    others = [{**rule, "RuleArn": f"arn:r/{number}", "Priority": number} for number in ("5", "2", "12")]
    assert list(forced_rules.free_priorities([rule, *others, default_rule()], rule, ours=[])) == [8, 7, 6]
    ours = {**rule, "RuleArn": "arn:r/8", "Priority": "8"}
    assert list(forced_rules.free_priorities([rule, *others, ours], rule, ours=[ours])) == [7, 6]
    assert forced_rules.free_priorities(others, default_rule(), ours=[])[-1] == 13
    assert forced_rules.free_priorities(others, default_rule(), ours=[])[0] == 50_000
