"""Elastic Load Balancing in front of moto's: checks, pages, truthful health, and names that stay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from testbed.aws import contract
from testbed.aws.account import WHOLE_PAGE, default_rule_arn, listener_of, load_balancer_of
from testbed.aws.contract import invalid, normal, page
from testbed.aws.wire import Call, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from testbed.aws.account import Account, Target
    from testbed.aws.faults import Injector
    from testbed.aws.health import Health
    from testbed.aws.moto import Moto
    from testbed.aws.wire import Params

    Handler = Callable[[Params], Awaitable[Params]]

_PAGED: Final = {  # operation → list, identity
    "DescribeLoadBalancers": ("LoadBalancers", "LoadBalancerArn"),
    "DescribeListeners": ("Listeners", "ListenerArn"),
    "DescribeTargetGroups": ("TargetGroups", "TargetGroupArn"),
}
_DEFAULT_DRAINING_S: Final = 300.0


class LoadBalancing:
    """Answers the operations of elbv2."""

    def __init__(
        self, moto: Moto, account: Account, health: Health, injector: Injector, moved: Callable[[], Awaitable[None]]
    ) -> None:
        """Take what it needs.

        Args:
            moto: keeps what is written.
            account: what the gate knows.
            health: of the targets.
            injector: for the faults that concern answers.
            moved: awaited when rules, groups or targets have changed.
        """
        self._moto, self._account, self._health, self._injector, self._moved = moto, account, health, injector, moved
        self._one_writer = asyncio.Lock()
        self._readers: dict[str, Handler] = {
            "DescribeRules": self._describe_rules,
            "DescribeTags": self._describe_tags,
            "DescribeTargetHealth": self._describe_target_health,
        }
        self._writers: dict[str, Handler] = {
            "CreateRule": self._create_rule,
            "ModifyRule": self._modify_rule,
            "DeleteRule": self._delete_rule,
            "SetRulePriorities": self._set_rule_priorities,
            "ModifyListener": self._modify_listener,
            "CreateListener": self._create_listener,
            "AddTags": self._add_tags,
            "RemoveTags": self._remove_tags,
            "RegisterTargets": self._register,
            "DeregisterTargets": self._deregister,
        }

    async def handle(self, call: Call) -> Params:
        """Answer a call.

        Raises:
            Refusal: AWS's refusal, or moto's.
        """
        if call.operation in _PAGED:
            return await self._paged(call.operation, call.params)
        if reader := self._readers.get(call.operation):
            return await reader(call.params)
        if call.operation.startswith("Describe"):
            return await self._moto.ask("elbv2", call.operation, call.params)
        async with self._one_writer:
            if writer := self._writers.get(call.operation):
                return await writer(call.params)
            answer = await self._moto.ask("elbv2", call.operation, call.params)
            await self._relearn()
            return answer

    async def refresh(self) -> None:
        """Learn what was written past the gate, straight to moto."""
        async with self._one_writer:
            await self._relearn()

    async def _relearn(self) -> None:
        await self._account.refresh()
        await self._moved()

    async def _paged(self, operation: str, params: Params) -> Params:
        whole = {key: value for key, value in params.items() if key not in {"PageSize", "Marker"}}
        answer = await self._moto.ask("elbv2", operation, {**whole, "PageSize": WHOLE_PAGE})
        name, key = _PAGED[operation]
        items = [self._shown(operation, item) for item in answer[name]]
        found, marker = page(params, items, key, self._injector.faults.page_size)
        return {name: found, "NextMarker": marker}

    def _shown(self, operation: str, item: Params) -> Params:
        if operation == "DescribeListeners":
            return {**item, "DefaultActions": [normal(action) for action in item["DefaultActions"]]}
        if operation == "DescribeTargetGroups":
            return {**item, "LoadBalancerArns": self._account.balancers_using(item["TargetGroupArn"])}
        return item

    async def _describe_rules(self, params: Params) -> Params:
        if arns := params.get("RuleArns"):
            rules = [self._account.rule(arn) for arn in arns]
        elif listener := params.get("ListenerArn"):
            if listener not in self._account.rules:
                raise Refusal("ListenerNotFound", f"One or more listeners not found: {listener}")
            rules = self._account.rules[listener]
        else:
            raise invalid("You must specify either listener ARNs or rule ARNs")
        found, marker = page(params, rules, "RuleArn", self._injector.faults.page_size)
        return {"Rules": found, "NextMarker": marker}

    async def _describe_tags(self, params: Params) -> Params:
        arns = params.get("ResourceArns") or []
        if len(arns) > contract.MAX_ARNS_OF_TAGS:
            raise invalid(f"At most {contract.MAX_ARNS_OF_TAGS} resources can be described at once")
        found = await self._tags(arns)
        return {
            "TagDescriptions": [
                {"ResourceArn": arn, "Tags": [{"Key": key, "Value": value} for key, value in found[arn].items()]}
                for arn in arns
            ]
        }

    async def _describe_target_health(self, params: Params) -> Params:
        group = self._group(params)
        asked = [self._target(group, target) for target in params.get("Targets") or []]
        lie = self._injector.faults.lying_health
        return {"TargetHealthDescriptions": self._health.describe(group["TargetGroupArn"], asked or None, lie=lie)}

    async def _create_rule(self, params: Params) -> Params:
        listener = params["ListenerArn"]
        if listener not in self._account.rules:
            raise Refusal("ListenerNotFound", f"One or more listeners not found: {listener}")
        contract.check_conditions(params.get("Conditions") or [])
        self._check_actions(listener, params.get("Actions") or [])
        contract.check_priority(params["Priority"], [rule["Priority"] for rule in self._account.rules[listener]])
        balancer = load_balancer_of(listener)
        mine = [rules for each, rules in self._account.rules.items() if load_balancer_of(each) == balancer]
        if sum(len(rules) - 1 for rules in mine) >= contract.MAX_RULES:
            raise Refusal("TooManyRules", f"The load balancer has {contract.MAX_RULES} rules already")
        contract.check_tags(params.get("Tags") or [], {})
        answer = await self._moto.ask("elbv2", "CreateRule", contract.untagged(params))
        self._keep(answer["Rules"][0]["RuleArn"], params.get("Tags") or [])
        await self._follow(listener)
        return {"Rules": [self._account.rule(rule["RuleArn"]) for rule in answer["Rules"]]}

    async def _modify_rule(self, params: Params) -> Params:
        arn = params["RuleArn"]
        self._refuse_default(arn, "modified")
        if params.get("Conditions") is not None:
            contract.check_conditions(params["Conditions"])
        if params.get("Actions") is not None:
            self._check_actions(listener_of(arn), params["Actions"])
        await self._moto.ask("elbv2", "ModifyRule", params)
        await self._follow(listener_of(arn))
        answer = {"Rules": [self._account.rule(arn)]}
        if self._injector.somebody_writes():
            await self._write_weights(arn)
        return answer

    async def _delete_rule(self, params: Params) -> Params:
        arn = params["RuleArn"]
        self._refuse_default(arn, "deleted")
        await self._moto.ask("elbv2", "DeleteRule", params)
        self._account.kept.tags.pop(arn, None)
        await self._follow(listener_of(arn))
        return {}

    async def _set_rule_priorities(self, params: Params) -> Params:
        pairs = params.get("RulePriorities") or []
        moving = {pair["RuleArn"] for pair in pairs}
        for pair in pairs:
            self._refuse_default(pair["RuleArn"], "given a priority")
            rules = self._account.rules[listener_of(pair["RuleArn"])]
            taken = [rule["Priority"] for rule in rules if rule["RuleArn"] not in moving]
            contract.check_priority(pair["Priority"], taken)
        await self._moto.ask("elbv2", "SetRulePriorities", params)
        for listener in {listener_of(arn) for arn in moving}:
            await self._follow(listener)
        return {"Rules": [self._account.rule(pair["RuleArn"]) for pair in pairs]}

    async def _create_listener(self, params: Params) -> Params:
        balancer_arn = params["LoadBalancerArn"]
        contract.check_actions(params.get("DefaultActions") or [])
        contract.check_tags(params.get("Tags") or [], {})
        self._check_groups(balancer_arn, params["DefaultActions"])
        answer = await self._moto.ask("elbv2", "CreateListener", contract.untagged(params))
        self._keep(answer["Listeners"][0]["ListenerArn"], params.get("Tags") or [])
        await self._relearn()
        return {"Listeners": [self._shown("DescribeListeners", each) for each in answer["Listeners"]]}

    async def _modify_listener(self, params: Params) -> Params:
        arn = params["ListenerArn"]
        if params.get("DefaultActions") is not None:
            self._check_actions(arn, params["DefaultActions"])
        answer = await self._moto.ask("elbv2", "ModifyListener", params)
        await self._follow(arn)
        if self._injector.somebody_writes():
            await self._write_weights(default_rule_arn(arn))
        return {"Listeners": [self._shown("DescribeListeners", each) for each in answer["Listeners"]]}

    async def _add_tags(self, params: Params) -> Params:
        for arn in params["ResourceArns"]:
            mine = await self._tags_of(arn)
            contract.check_tags(params["Tags"], mine)
            if _keeps_tags(arn):
                self._keep(arn, params["Tags"])
            else:
                await self._moto.ask("elbv2", "AddTags", {"ResourceArns": [arn], "Tags": params["Tags"]})
        return {}

    async def _remove_tags(self, params: Params) -> Params:
        for arn in params["ResourceArns"]:
            mine = await self._tags_of(arn)
            if _keeps_tags(arn):
                self._account.kept.tags[arn] = {k: v for k, v in mine.items() if k not in params["TagKeys"]}
                self._account.save()
            else:
                await self._moto.ask("elbv2", "RemoveTags", {"ResourceArns": [arn], "TagKeys": params["TagKeys"]})
        return {}

    async def _register(self, params: Params) -> Params:
        group = self._group(params)
        await self.put(group["TargetGroupArn"], [self._target(group, each) for each in params.get("Targets") or []])
        return {}

    async def _deregister(self, params: Params) -> Params:
        group = self._group(params)
        await self.take_off(
            group["TargetGroupArn"], [self._target(group, each) for each in params.get("Targets") or []]
        )
        return {}

    async def put(self, group_arn: str, targets: list[Target]) -> None:
        """Register targets with a group."""
        self._account.register(group_arn, targets)
        await self._moved()

    async def take_off(self, group_arn: str, targets: list[Target]) -> None:
        """Deregister targets of a group; one that is not there is no error."""
        there = [target for target in self._account.targets(group_arn) if target in targets]
        found = await self._moto.ask("elbv2", "DescribeTargetGroupAttributes", {"TargetGroupArn": group_arn})
        attributes = {each["Key"]: each["Value"] for each in found["Attributes"]}
        delay_s = float(attributes.get("deregistration_delay.timeout_seconds", _DEFAULT_DRAINING_S))
        self._health.drain(group_arn, there, delay_s)
        self._account.deregister(group_arn, there)
        await self._moved()

    async def write_weights(self, rule_arn: str, weights: dict[str, int], sticky_s: int | None) -> None:
        """Write weights as somebody who is not asked for permission: no checks of the actions, no faults.

        Raises:
            Refusal: no such rule, or no group of that name.
        """
        async with self._one_writer:
            await self._write_weights(rule_arn, weights, sticky_s)

    async def _write_weights(
        self, rule_arn: str, weights: dict[str, int] | None = None, sticky_s: int | None = None
    ) -> None:
        groups = []
        for name, weight in (self._injector.faults.writer_weights if weights is None else weights).items():
            arn = self._account.group_named(name)
            if arn is None:
                raise Refusal("TargetGroupNotFound", f"One or more target groups not found: {name}")
            groups.append({"TargetGroupArn": arn, "Weight": weight})
        sticky: dict[str, Any] = {"Enabled": sticky_s is not None}
        if sticky_s is not None:
            sticky["DurationSeconds"] = sticky_s
        actions = [
            {"Type": "forward", "ForwardConfig": {"TargetGroups": groups, "TargetGroupStickinessConfig": sticky}}
        ]
        listener = listener_of(rule_arn)
        if self._account.is_default(rule_arn):
            await self._moto.ask("elbv2", "ModifyListener", {"ListenerArn": listener, "DefaultActions": actions})
        else:
            await self._moto.ask("elbv2", "ModifyRule", {"RuleArn": rule_arn, "Actions": actions})
        await self._follow(listener)

    async def _follow(self, listener_arn: str) -> None:
        await self._account.refresh_rules(listener_arn)
        await self._moved()

    def _check_actions(self, listener_arn: str, actions: list[Params]) -> None:
        contract.check_actions(actions)
        self._check_groups(load_balancer_of(listener_arn), actions)

    def _check_groups(self, balancer_arn: str, actions: list[Params]) -> None:
        forwards = [normal(action) for action in actions if action["Type"] == "forward"]
        for group in (each for action in forwards for each in action["ForwardConfig"]["TargetGroups"]):
            arn = group["TargetGroupArn"]
            if arn not in self._account.groups:
                raise Refusal("TargetGroupNotFound", f"One or more target groups not found: {arn}")
            if self._account.groups[arn]["Protocol"] not in {"HTTP", "HTTPS"}:
                raise Refusal("IncompatibleProtocols", f"{arn} has protocol {self._account.groups[arn]['Protocol']}")
            if set(self._account.balancers_using(arn)) - {balancer_arn}:
                raise Refusal("TargetGroupAssociationLimit", f"{arn} is associated with another load balancer")

    def _refuse_default(self, rule_arn: str, done: str) -> None:
        self._account.rule(rule_arn)
        if self._account.is_default(rule_arn):
            raise Refusal("OperationNotPermitted", f"Default rule '{rule_arn}' cannot be {done}")

    def _keep(self, arn: str, tags: list[Params]) -> None:
        mine = self._account.kept.tags.setdefault(arn, {})
        mine |= {tag["Key"]: tag.get("Value") or "" for tag in tags}
        self._account.save()

    async def _tags_of(self, arn: str) -> dict[str, str]:
        return (await self._tags([arn]))[arn]

    async def _tags(self, arns: list[str]) -> dict[str, dict[str, str]]:
        for arn in arns:
            if ":listener-rule/" in arn:
                self._account.rule(arn)  # refuses one that does not exist
        tags = {arn: dict(self._account.kept.tags.get(arn, {})) for arn in arns if _keeps_tags(arn)}
        if others := [arn for arn in arns if arn not in tags]:
            found = await self._moto.ask("elbv2", "DescribeTags", {"ResourceArns": others})
            tags |= {
                each["ResourceArn"]: {tag["Key"]: tag["Value"] for tag in each["Tags"]}
                for each in found["TagDescriptions"]
            }
        return tags

    def _group(self, params: Params) -> Params:
        arn = params["TargetGroupArn"]
        if arn not in self._account.groups:
            raise Refusal("TargetGroupNotFound", f"One or more target groups not found: {arn}")
        return self._account.groups[arn]

    @staticmethod
    def _target(group: Params, target: Params) -> Target:
        return target["Id"], int(target.get("Port") or group["Port"])


def _keeps_tags(arn: str) -> bool:
    """Whether the gate keeps the tags: moto has none of default rules, and takes 10 where AWS takes 50."""
    return ":listener/" in arn or ":listener-rule/" in arn
