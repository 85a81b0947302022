"""The calls that change a rule, its tags and its forced rules, each as small as AWS has it."""

from collections.abc import Iterable
from contextlib import suppress

from activities.aws import AwsClients, Json, code_of
from activities.routers.alb import forced_rules, marks, views
from activities.routers.alb.finding import Site
from activities.routers.alb.forced_rules import Forced
from activities.routers.alb.marks import Mark
from rollout.errors import Misconfigured, NotPermitted, SluiceError
from rollout.routes import AlbRoute


class Hands:
    """Of one route."""

    def __init__(self, route: AlbRoute, aws: AwsClients) -> None:
        """Take the route and the clients of its connection."""
        self._route, self._aws = route, aws

    async def actions(self, site: Site, actions: list[Json]) -> None:
        """Set the actions of the rule that splits."""
        if site.is_default:
            await self._aws.call("elbv2", "modify_listener", ListenerArn=site.listener, DefaultActions=actions)
        else:
            await self._aws.call("elbv2", "modify_rule", RuleArn=site.rule["RuleArn"], Actions=actions)

    async def tag(self, site: Site, mark: Mark, *, back: bool = False) -> None:
        """Write a mark.

        Args:
            site: as described.
            mark: to write.
            back: of the way back: it waits for no turn, and takes older marks off if AWS has no room for its own.

        Raises:
            SluiceError: AWS's answer, or none.
        """
        tags = [mark.tag(), marks.before(site.sticky_before)]
        try:
            await self._aws.call("elbv2", "add_tags", urgent=back, ResourceArns=[site.marked], Tags=tags)
        except Misconfigured as error:
            old = [each.key for each in site.marks if each.epoch < mark.epoch]
            if code_of(error) != "TooManyTags" or not back or not old:
                raise
            await self._untag(site, old)
            await self._aws.call("elbv2", "add_tags", urgent=back, ResourceArns=[site.marked], Tags=tags)

    async def forget_older(self, site: Site, mark: Mark) -> None:
        """Take older marks off; they hurt nobody, and the next write takes off what is left."""
        if old := [each.key for each in site.marks if each.epoch < mark.epoch]:
            with suppress(SluiceError):
                await self._untag(site, old)

    async def undo(self, site: Site, mark: Mark, made: list[Json]) -> None:
        """Take off the mark of a write that was refused, and the rules that it made; as far as AWS lets us."""
        for rule in made:
            with suppress(SluiceError):
                await self._delete(rule)
        previous = next((each for each in site.marks if each.epoch == mark.epoch), None)
        with suppress(SluiceError):
            if previous:
                await self.tag(site, previous)
            else:
                await self._untag(site, [mark.key])

    async def forced(self, site: Site, wanted: list[Forced], owner: str, made: list[Json]) -> None:
        """Make the forced rules as they should be: first those that are missing, then away with all others.

        Raises:
            Misconfigured: there is no room for them; what was made until then is in `made`.
        """
        standing = [views.standing(site, each) for each in wanted]
        kept = [rule["RuleArn"] for rule in standing if rule]
        spare = [rule for _, rule in site.forced if rule["RuleArn"] not in kept]
        numbers = iter(forced_rules.free_priorities(site.rules, site.rule, ours=[rule for _, rule in site.forced]))
        for each, there in zip(wanted, standing, strict=True):
            if there is None:
                made += await self._create(site, each, numbers, owner)
        for rule in spare:
            await self._delete(rule)

    async def _create(self, site: Site, forced: Forced, numbers: Iterable[int], owner: str) -> list[Json]:
        number = next(iter(numbers), None)
        if number is None:
            ours = [rule for _, rule in site.forced]
            room = forced_rules.room(site.rules, site.rule, ours)
            raise Misconfigured(f"{self._route}: no priority is free for the forced header: {room}")
        request: Json = {
            "ListenerArn": site.listener,
            "Priority": number,
            "Conditions": forced.conditions,
            "Actions": forced.actions,
            "Tags": [*forced_rules.tags(forced.side, site.rule), marks.owner_tag(owner)],
            **({"Transforms": forced.transforms} if forced.transforms else {}),
        }
        try:
            answer = await self._aws.call("elbv2", "create_rule", **request)
        except NotPermitted as error:
            tag = "the policy of deploy/aws wants the listener to have the tag sluice=managed"
            raise NotPermitted(f"{error}; {tag}, or leave `header` out") from error
        except Misconfigured as error:
            if code_of(error) == "TooManyRules":
                msg = "the load balancer has no room for the two rules of the forced header: leave `header` out"
                raise Misconfigured(f"{self._route}: {msg}, or delete two rules; nothing was written") from error
            if code_of(error) == "PriorityInUse":
                # The next number would jump over the rule of whoever took this one.
                todo = f"number that rule so that two priorities are free between it and rule {site.rule['Priority']}"
                raise Misconfigured(f"{self._route}: somebody took priority {number} just now: {todo}") from error
            raise
        return list(answer["Rules"])

    async def _delete(self, rule: Json) -> None:
        try:
            await self._aws.call("elbv2", "delete_rule", RuleArn=rule["RuleArn"])
        except Misconfigured as error:
            if code_of(error) != "RuleNotFound":
                raise

    async def _untag(self, site: Site, keys: list[str]) -> None:
        await self._aws.call("elbv2", "remove_tags", ResourceArns=[site.marked], TagKeys=keys)
