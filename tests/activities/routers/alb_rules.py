"""Rules of a load balancer as AWS describes them, for tests that need no AWS."""

from typing import Any

from hypothesis import strategies as st

from activities.routers.alb.finding import Site
from rollout.routes import AlbRoute, ForcedHeader

Json = dict[str, Any]
GROUP = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/checkout-"
BLUE, GREEN, OLD = f"{GROUP}blue/73e2d6bc24d8a067", f"{GROUP}green/09966783158cda59", f"{GROUP}old/2453ed029918f21f"
GROUPS: Any = {"candidate": GREEN, "stable": BLUE}
LISTENER, BALANCER = (
    "arn:listener",
    "arn:aws:elasticloadbalancing:eu-central-1:1:loadbalancer/app/shop/50dc6c495c0c9188",
)
ROUTE = AlbRoute(connection="cloud", load_balancer="shop", candidate="checkout-green", stable="checkout-blue")
HEADER = ForcedHeader()
PATH = {"Field": "path-pattern", "Values": ["/v2/*"], "PathPatternConfig": {"Values": ["/v2/*"]}}
PERCENTS = st.integers(10, 9990).map(lambda hundredths: hundredths / 100) | st.sampled_from([0.0, 100.0])


def site_of(rule: Json, tags: dict[str, str] | None = None, others: list[Json] | None = None) -> Site:
    marked = LISTENER if rule.get("IsDefault") else rule["RuleArn"]
    return Site(BALANCER, LISTENER, rule, [*(others or []), rule], dict(GROUPS), {marked: tags or {}})


def forward(weights: dict[str, int], **sticky: Any) -> Json:
    config: Json = {"TargetGroups": [{"TargetGroupArn": arn, "Weight": each} for arn, each in weights.items()]}
    if sticky:
        config["TargetGroupStickinessConfig"] = sticky
    return {"Type": "forward", "ForwardConfig": config}


def default_rule(*actions: Json) -> Json:
    return {"RuleArn": "arn:x/y", "Priority": "default", "IsDefault": True, "Conditions": [], "Actions": list(actions)}
