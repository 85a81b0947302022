"""Who else moves a rule: refused where somebody owns it, named where it was put back."""

import pytest

from activities.routers.alb import views
from activities.routers.alb.marks import Mark
from tests.activities.routers.alb_rules import (
    BALANCER,
    BLUE,
    GREEN,
    LISTENER,
    OLD,
    PATH,
    ROUTE,
    default_rule,
    forward,
    site_of,
)


@pytest.mark.parametrize("key", ["elbv2.k8s.aws/cluster", "ingress.k8s.aws/stack", "ingress.k8s.aws/resource"])
@pytest.mark.parametrize("where", [BALANCER, LISTENER])
def test_what_the_load_balancer_controller_owns_is_refused(key: str, where: str) -> None:
    site = site_of(default_rule(forward({BLUE: 1})))
    site.tags[where] = {key: "prod"}
    reason = str(views.unfit(site, ROUTE))
    assert "AWS load balancer controller" in reason
    assert "Ingress or HTTPRoute" in reason


def test_what_ecs_moves_is_refused() -> None:
    site = site_of(default_rule(forward({BLUE: 1})), {"AmazonECSManaged": "true"})
    assert "moved by ECS or CodeDeploy" in str(views.unfit(site, ROUTE))


def test_a_third_group_with_traffic_is_refused_and_one_without_is_not() -> None:
    with_traffic, without = forward({BLUE: 1, OLD: 1}), forward({BLUE: 1, OLD: 0})
    assert "checkout-old" in str(views.unfit(site_of(default_rule(with_traffic)), ROUTE))
    assert views.unfit(site_of(default_rule(without)), ROUTE) is None


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({"aws:cloudformation:stack-name": "shop-prod"}, "CloudFormation stack shop-prod"),
        ({"ManagedBy": "Terraform"}, "ignore_changes = [default_action]"),
        ({"managed-by": "terraform"}, "ignore_changes = [default_action]"),
        ({"Team": "terraform"}, ""),
    ],
)
def test_drift_names_who_may_have_put_it_back(tags: dict[str, str], named: str) -> None:
    mark = Mark(epoch=3, percent=5, owner="me", at=1)
    site = site_of(default_rule(forward({BLUE: 1})), {mark.key: mark.tag()["Value"], **tags})
    reason = str(views.wrong(site, ROUTE))
    assert reason.startswith("its rule says checkout-blue 1; epoch 3 wrote checkout-blue 19, checkout-green 1")
    assert named in reason
    assert views.unfit(site, ROUTE) is None


def test_a_rule_that_is_not_the_default_names_terraforms_other_field() -> None:
    rule = {"RuleArn": "arn:r/2", "Priority": "5", "Conditions": [PATH], "Actions": [forward({BLUE: 1})]}
    mark = Mark(epoch=3, percent=5, owner="me", at=1)
    site = site_of(rule, {mark.key: mark.tag()["Value"], "managed_by": "terraform"})
    assert "ignore_changes = [action]" in str(views.wrong(site, ROUTE))


def test_stickiness_that_somebody_switched_on_is_drift() -> None:
    mark = Mark(epoch=3, percent=0, owner="me", at=1)
    rule = default_rule(forward({BLUE: 1, GREEN: 0}, Enabled=True, DurationSeconds=60))
    site = site_of(rule, {mark.key: mark.tag()["Value"], "sluice:sticky-before": "off"})
    assert views.wrong(site, ROUTE) == "stickiness of its rule is on for 60 s; epoch 3 wrote off"


def test_all_weights_zero_is_never_in_force() -> None:
    site = site_of(default_rule(forward({BLUE: 0, GREEN: 0})))
    assert "all zero" in str(views.wrong(site, ROUTE))
