"""Where a route is in AWS: load balancer by name, listener by port, rule, target groups by name, tags.

Names are asked for directly and lists are read to their last page: an account has hundreds of load balancers, a
listener up to a hundred rules, and tags are told for 20 things at a time (argo-rollouts #1963 and #2569 are outages of
that kind). ARNs behind names last, and are believed for a minute; rules and tags only as long as the connection says.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from activities.aws import AwsClients, Json, code_of
from activities.ports import Pool
from activities.routers.alb import forced_rules, marks, split_rules
from activities.routers.alb.marks import Mark
from rollout.errors import Misconfigured, RouterUnreachable
from rollout.routes import AlbRoute

_LASTING_S = 60.0
_TRIES = 3  # at a listener whose rules others delete
_ARNS_OF_TAGS = 20  # as many as AWS takes at once
_CONTROLLERS = ("elbv2.k8s.aws/cluster", "ingress.k8s.aws/stack", "ingress.k8s.aws/resource", "gateway.k8s.aws")
_ECS = ("AmazonECSManaged", "aws:ecs:", "aws:codedeploy")


@dataclass(frozen=True)
class Site:
    """What AWS says about a route at one moment.

    Attributes:
        load_balancer: its ARN.
        listener: its ARN.
        rule: the rule that splits, as described.
        rules: every rule of the listener.
        groups: pool → target group's ARN; one that AWS does not know is missing.
        tags: ARN → its tags, of load balancer, listener, the rule, and whatever might be a forced rule of ours.
    """

    load_balancer: str
    listener: str
    rule: Json
    rules: list[Json]
    groups: dict[Pool, str]
    tags: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def is_default(self) -> bool:
        """Whether it is the listener's default rule: changed by ModifyListener, and without tags of its own."""
        return bool(self.rule.get("IsDefault"))

    @property
    def actions(self) -> list[Json]:
        """The rule's actions, as described."""
        found: list[Json] = self.rule["Actions"]
        return found

    @property
    def marked(self) -> str:
        """ARN of what carries the mark."""
        return self.listener if self.is_default else str(self.rule["RuleArn"])

    @property
    def marks(self) -> list[Mark]:
        """Marks of every write that is known, newest first."""
        return marks.marks(self.tags.get(self.marked, {}))

    @property
    def done(self) -> Mark:
        """The newest write that came to its end; epoch 0 if there was none."""
        return next((mark for mark in self.marks if mark.done), Mark())

    @property
    def forced(self) -> list[tuple[Pool, Json]]:
        """Every forced rule of ours for this one, by the version that it forces."""
        name, found = forced_rules.name_of(self.rule), list[tuple[Pool, Json]]()
        for rule in self.rules:
            tags = self.tags.get(rule["RuleArn"], {})
            if tags.get(forced_rules.OF) == name:
                found.append(("candidate" if tags.get(forced_rules.SIDE) == "candidate" else "stable", rule))
        return found

    @property
    def owner(self) -> str | None:
        """Who holds the route, also by a write that did not end."""
        return self.marks[0].owner if self.marks else None

    @property
    def sticky_before(self) -> Json:
        """How users were kept on a target group before Sluice wrote; what somebody switched on since counts as that."""
        known, now = marks.sticky_before(self.tags.get(self.marked, {})), split_rules.stickiness(self.actions)
        return now if known is None or (self.owner is None and now.get("Enabled")) else known

    def referred(self, group: str) -> bool:
        """Whether any rule names a target group; AWS checks the health of no other."""
        return any(group in split_rules.forwarded(rule["Actions"]) for rule in self.rules)

    def owned(self) -> str | None:
        """Which other program keeps this rule as it wants it, and what to do; None if nobody is known to."""
        for arn, tags in self.tags.items():
            here = {self.load_balancer, self.listener, str(self.rule["RuleArn"])}
            if arn in here and (key := _begins(tags, _CONTROLLERS)):
                todo = "change its Ingress or HTTPRoute, or use a load balancer that it does not own"
                return f"it is owned by the AWS load balancer controller (tag {key}): {todo}"
            if arn in {self.marked, str(self.rule["RuleArn"])} and (key := _begins(tags, _ECS)):
                todo = "let ECS or CodeDeploy deploy it, or switch that off"
                return f"it is moved by ECS or CodeDeploy (tag {key}): {todo}"
        return None

    def suspect(self) -> str:
        """Who may have put a rule back, as far as tags tell, and what to do; begins with a semicolon, or is empty."""
        what = "[default_action]" if self.is_default else "[action]"
        for arn in (self.marked, str(self.rule["RuleArn"]), self.load_balancer):
            tags = self.tags.get(arn, {})
            if stack := tags.get("aws:cloudformation:stack-name"):
                return (
                    f"; CloudFormation stack {stack} sets it at every update of it: hold updates while a rollout runs"
                )
            if any("managed" in key.lower() and "terraform" in value.lower() for key, value in tags.items()):
                return f"; it is managed by Terraform: its resource needs lifecycle {{ ignore_changes = {what} }}"
        return ""


async def find(aws: AwsClients, route: AlbRoute, within_s: float, *, urgent: bool = False) -> Site:
    """Look a route up.

    Args:
        aws: of its connection.
        route: names everything.
        within_s: rules and tags not older than this may come from memory; 0 asks anew.
        urgent: for the way back, which waits for nobody else's looks.

    Raises:
        Misconfigured: one of the names is not there, or the rule does not lead to the pools; says which.
        RouterUnreachable: rules come and go too fast to be described.
        SluiceError: AWS's answer, or none.
    """
    gone: Misconfigured | None = None
    for _ in range(_TRIES):
        try:
            return await _found(aws, route, within_s, urgent=urgent)
        except Misconfigured as error:
            aws.forget("elbv2", lasting=True)  # a name may stand for something else by now
            if code_of(error) != "RuleNotFound":
                raise
            gone = error  # some rule, perhaps nothing of ours, was deleted between the list and its tags
    raise RouterUnreachable(f"{route}: rules of its listener were deleted while they were looked at") from gone


async def _found(aws: AwsClients, route: AlbRoute, within_s: float, *, urgent: bool) -> Site:
    load_balancer = await _load_balancer(aws, route, urgent=urgent)
    listener, groups = await asyncio.gather(
        _listener(aws, route, load_balancer, urgent=urgent), _groups(aws, route, urgent=urgent)
    )
    rules = await aws.pages("elbv2", "describe_rules", within_s=within_s, urgent=urgent, ListenerArn=listener)
    rule = _rule(route, rules)
    if not split_rules.forwarded(rule["Actions"]).keys() & set(groups.values()):
        pools = f"neither {route.stable_pool} nor {route.candidate_pool}"
        raise Misconfigured(f"{route} forwards to {pools}: let it forward to {route.stable_pool}, or name its groups")
    own = [] if rule.get("IsDefault") else [rule["RuleArn"]]
    forced = [each["RuleArn"] for each in rules if each is not rule and forced_rules.might_be(each)]
    tags = await _tags(aws, [load_balancer, listener, *own, *forced], within_s, urgent=urgent)
    return Site(load_balancer, listener, rule, rules, groups, tags)


async def _load_balancer(aws: AwsClients, route: AlbRoute, *, urgent: bool) -> str:
    missing = f"{route}: region {aws.connection.region} has no application load balancer {route.load_balancer}"
    try:
        found = await aws.pages(
            "elbv2", "describe_load_balancers", _LASTING_S, lasting=True, urgent=urgent, Names=[route.load_balancer]
        )
    except Misconfigured as error:
        if code_of(error) != "LoadBalancerNotFound":
            raise
        raise Misconfigured(missing) from error
    for each in found:
        if each.get("Type", "application") == "application":
            return str(each["LoadBalancerArn"])
    raise Misconfigured(missing)


async def _listener(aws: AwsClients, route: AlbRoute, load_balancer: str, *, urgent: bool) -> str:
    found = await aws.pages(
        "elbv2", "describe_listeners", _LASTING_S, lasting=True, urgent=urgent, LoadBalancerArn=load_balancer
    )
    by_port: dict[int, str] = {each["Port"]: each["ListenerArn"] for each in found}
    if route.port not in by_port:
        ports = ", ".join(map(str, sorted(by_port))) or "none"
        raise Misconfigured(f"{route}: the load balancer has no listener on port {route.port}; there are: {ports}")
    return by_port[route.port]


async def _groups(aws: AwsClients, route: AlbRoute, *, urgent: bool) -> dict[Pool, str]:
    names: Mapping[Pool, str] = {"candidate": route.candidate_pool, "stable": route.stable_pool}
    found = await asyncio.gather(*(_group(aws, name, urgent=urgent) for name in names.values()))
    return {pool: arn for pool, arn in zip(names, found, strict=True) if arn}


async def _group(aws: AwsClients, name: str, *, urgent: bool) -> str | None:
    # One by one: a name that does not exist fails the whole call.
    try:
        found = await aws.pages(
            "elbv2", "describe_target_groups", _LASTING_S, lasting=True, urgent=urgent, Names=[name]
        )
    except Misconfigured as error:
        if code_of(error) != "TargetGroupNotFound":
            raise
        return None
    return str(found[0]["TargetGroupArn"]) if found else None


def _rule(route: AlbRoute, rules: list[Json]) -> Json:
    for rule in rules:
        if str(route.rule) in {rule["RuleArn"], rule["Priority"]}:  # the default rule's priority is `default`
            return rule
    known = ", ".join(rule["Priority"] for rule in rules[:10])
    raise Misconfigured(f"{route}: the listener has no such rule; priorities there: {known}{', …' * (len(rules) > 10)}")


async def _tags(aws: AwsClients, arns: list[str], within_s: float, *, urgent: bool) -> dict[str, dict[str, str]]:
    batches = [arns[at : at + _ARNS_OF_TAGS] for at in range(0, len(arns), _ARNS_OF_TAGS)]
    answers = await asyncio.gather(
        *(aws.recent("elbv2", "describe_tags", within_s, urgent=urgent, ResourceArns=batch) for batch in batches)
    )
    described = [each for answer in answers for each in answer.get("TagDescriptions", [])]
    return {each["ResourceArn"]: {tag["Key"]: tag.get("Value", "") for tag in each["Tags"]} for each in described}


def _begins(tags: Mapping[str, str], prefixes: tuple[str, ...]) -> str | None:
    return next((key for key in tags if key.startswith(prefixes)), None)
