"""What the gate knows of the account: rules as moto has them, and what moto cannot keep.

moto names a default rule after a Python object (a new name after every change), forgets deregistered targets at once,
knows one port an address, no tags of default rules and 10 of others. These live here and in a file, so that a gate
killed and started again is the same AWS; moto's own memory does not survive moto.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from testbed.aws.contract import normal
from testbed.aws.wire import Refusal

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.aws.moto import Moto
    from testbed.aws.wire import Params

WHOLE_PAGE: Final = 400

Target = tuple[str, int]
"""Address (or instance) and port."""


@dataclass
class Kept:
    """What survives the gate.

    Attributes:
        targets: group's ARN → its registered targets.
        tags: ARN of a listener or a rule → its tags.
        revisions: alias's ARN → RevisionId.
        health: `<group's ARN> <address>:<port>` → state and reason, as last checked.
        services: ECS service's ARN → what moto does not keep of it.
    """

    targets: dict[str, list[list[Any]]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    health: dict[str, list[str]] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)


def default_rule_arn(listener_arn: str) -> str:
    """The ARN of a listener's default rule: one for its whole life, as AWS has it."""
    digest = hashlib.sha256(listener_arn.encode()).hexdigest()[:16]
    return f"{listener_arn.replace(':listener/', ':listener-rule/')}/{digest}"


def listener_of(rule_arn: str) -> str:
    """The ARN of a rule's listener."""
    return rule_arn.replace(":listener-rule/", ":listener/").rpartition("/")[0]


def load_balancer_of(listener_arn: str) -> str:
    """The ARN of a listener's load balancer."""
    return listener_arn.replace(":listener/", ":loadbalancer/").rpartition("/")[0]


def groups_of(rule: Params) -> list[str]:
    """ARNs of the target groups that a rule (in normal form) forwards to, weight 0 included."""
    actions = (action for action in rule["Actions"] if action["Type"] == "forward")
    return [group["TargetGroupArn"] for action in actions for group in action["ForwardConfig"]["TargetGroups"]]


class Account:
    """One account in one region.

    Attributes:
        kept: what moto does not keep.
        listeners: ARN → listener, as described.
        rules: listener's ARN → its rules in normal form, the default one last.
        groups: ARN → target group, as described.
    """

    def __init__(self, moto: Moto, file: Path) -> None:
        self._moto = moto
        self._file = file
        self.kept = Kept(**json.loads(file.read_text(encoding="utf-8"))) if file.exists() else Kept()
        self.listeners: dict[str, Params] = {}
        self.rules: dict[str, list[Params]] = {}
        self.groups: dict[str, Params] = {}

    def save(self) -> None:
        """Write what moto does not keep."""
        draft = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        draft.write_text(json.dumps(vars(self.kept), indent=1) + "\n", encoding="utf-8")
        draft.replace(self._file)

    async def refresh(self) -> None:
        """Learn everything anew from moto; what was known stays known until all of it is there."""
        listeners: dict[str, Params] = {}
        rules: dict[str, list[Params]] = {}
        found = await self._moto.ask("elbv2", "DescribeLoadBalancers", {"PageSize": WHOLE_PAGE})
        for balancer in found["LoadBalancers"]:
            answer = await self._moto.ask(
                "elbv2", "DescribeListeners", {"LoadBalancerArn": balancer["LoadBalancerArn"]}
            )
            for listener in answer["Listeners"]:
                arn = listener["ListenerArn"]
                listeners[arn], rules[arn] = listener, await self._rules_of(arn)
        await self.refresh_groups()
        self.listeners, self.rules = listeners, rules

    async def refresh_groups(self) -> None:
        """Learn the target groups anew."""
        answer = await self._moto.ask("elbv2", "DescribeTargetGroups", {"PageSize": WHOLE_PAGE})
        self.groups = {group["TargetGroupArn"]: group for group in answer["TargetGroups"]}

    async def refresh_rules(self, listener_arn: str) -> None:
        """Learn the rules of a listener anew.

        Raises:
            Refusal: there is no such listener.
        """
        self.rules[listener_arn] = await self._rules_of(listener_arn)

    async def _rules_of(self, listener_arn: str) -> list[Params]:
        answer = await self._moto.ask("elbv2", "DescribeRules", {"ListenerArn": listener_arn, "PageSize": WHOLE_PAGE})
        rules = []
        for rule in answer["Rules"]:
            arn = default_rule_arn(listener_arn) if rule["IsDefault"] else rule["RuleArn"]
            rules.append({**rule, "RuleArn": arn, "Actions": [normal(action) for action in rule["Actions"]]})
        rules.sort(key=lambda rule: (rule["IsDefault"], 0 if rule["IsDefault"] else int(rule["Priority"])))
        return rules

    def rule(self, arn: str) -> Params:
        """A rule.

        Raises:
            Refusal: RuleNotFound.
        """
        for rule in self.rules.get(listener_of(arn), ()):
            if rule["RuleArn"] == arn:
                return rule
        raise Refusal("RuleNotFound", f"One or more rules not found: {arn}")

    def is_default(self, rule_arn: str) -> bool:
        """Whether a rule is a listener's default one."""
        return default_rule_arn(listener_of(rule_arn)) == rule_arn

    def balancers_using(self, group_arn: str) -> list[str]:
        """ARNs of the load balancers whose rules name a group."""
        found = {
            load_balancer_of(listener): None
            for listener, rules in self.rules.items()
            if any(group_arn in groups_of(rule) for rule in rules)
        }
        return list(found)

    def group_named(self, name: str) -> str | None:
        """ARN of the group of that name."""
        return next((arn for arn, group in self.groups.items() if group["TargetGroupName"] == name), None)

    def targets(self, group_arn: str) -> list[Target]:
        """The registered targets of a group."""
        return [(str(address), int(port)) for address, port in self.kept.targets.get(group_arn, [])]

    def register(self, group_arn: str, targets: list[Target]) -> None:
        """Add targets to a group."""
        mine = self.targets(group_arn)
        mine += [target for target in targets if target not in mine]
        self.kept.targets[group_arn] = [list(target) for target in mine]
        self.save()

    def deregister(self, group_arn: str, targets: list[Target]) -> None:
        """Take targets off a group; one that is not there is no error."""
        left = [target for target in self.targets(group_arn) if target not in targets]
        self.kept.targets[group_arn] = [list(target) for target in left]
        self.save()
