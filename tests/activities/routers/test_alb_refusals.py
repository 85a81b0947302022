"""What a load balancer has no room for, or others' rules forbid: said before the start, with what to change."""

from typing import Any

import aiohttp
import pytest

from activities.routers.alb import AlbRouter, views
from activities.routers.alb.marks import Mark
from rollout.errors import Misconfigured, NotPermitted
from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_incidents import AlbIncidents, Workers, back, marks, raised
from tests.activities.routers.alb_rules import BLUE, HEADER, PATH, ROUTE, Json, default_rule, forward, site_of
from tests.activities.routers.alb_stand import OTHER, AlbStand, alb_route
from tests.activities.routers.contract import HEADER as FORCED
from tests.activities.routers.contract import proven

WITH_HEADER = ROUTE.model_copy(update={"header": HEADER})


def numbered(priority: int, *conditions: Json) -> Json:
    return {
        "RuleArn": f"arn:r/{priority}",
        "Priority": str(priority),
        "Conditions": list(conditions),
        "Actions": [forward({BLUE: 1})],
    }


@pytest.mark.parametrize(
    ("rule", "others", "said"),
    [
        (
            numbered(200, PATH),
            [199],
            "between rule 199 and rule 200 are needed: number rule 200 higher, or rule 199 lower",
        ),
        (numbered(200, PATH), [198, 100], "between rule 198 and rule 200"),
        (numbered(2, PATH), [], "before 2 are needed: number it higher"),
        (default_rule(forward({BLUE: 1})), [49_999], "number rule 49999 49998 or lower"),
    ],
)
def test_without_two_priorities_before_the_next_rule_the_start_is_refused(
    rule: Json, others: list[int], said: str
) -> None:
    site = site_of(rule, others=[numbered(each, PATH) for each in others])
    assert said in str(views.unfit(site, WITH_HEADER))
    assert views.unfit(site, ROUTE) is None


def test_two_priorities_are_enough() -> None:
    site = site_of(numbered(200, PATH), others=[numbered(197, PATH)])
    assert views.unfit(site, WITH_HEADER) is None


@pytest.mark.parametrize("values", [4, 5])
def test_a_rule_with_five_values_cannot_be_copied(values: int) -> None:
    paths = [f"/{number}" for number in range(values)]
    condition = {"Field": "path-pattern", "Values": paths, "PathPatternConfig": {"Values": paths}}
    found = views.unfit(site_of(numbered(200, condition)), WITH_HEADER)
    assert (found is None) == (values == 4)
    if found:
        assert "5 values of 5, and the forced header needs one more" in found


@pytest.mark.parametrize("rules", [98, 99])
def test_a_hundred_rules_are_the_most(rules: int) -> None:
    others = [numbered(each + 300, PATH) for each in range(rules - 1)]
    found = views.unfit(site_of(numbered(200, PATH), others=others), WITH_HEADER)
    assert (found is None) == (rules == 98)
    assert found is None or "99 rules of 100" in found


@pytest.mark.parametrize("tags", [47, 48])
def test_three_tags_must_be_free(tags: int) -> None:
    theirs = {f"team-{number}": "x" for number in range(tags)}
    ours = {"sluice:epoch-3": Mark(epoch=3).tag()["Value"], "sluice:sticky-before": "unset", "aws:x": "y"}
    found = views.unfit(site_of(default_rule(forward({BLUE: 1})), {**theirs, **ours}), ROUTE)
    assert (found is None) == (tags == 47)
    assert found is None or "its listener has 48 tags of 50, and 3 must be free" in found


@pytest.mark.server
class TestRefusals(AlbIncidents):
    async def test_forced_rules_never_jump_over_a_rule_of_the_operator(
        self, aws: SimulatedAws, worker: Workers, stand: AlbStand
    ) -> None:
        stand.add_other_rule()
        forbid(aws, OTHER - 1)
        router = AlbRouter(alb_route(rule=OTHER), worker())
        with pytest.raises(Misconfigured, match="between rule 199 and rule 200 are needed"):
            await router.write(raised(5))
        assert "between rule 199 and rule 200" in str((await router.read()).problem)
        assert await status(f"{aws.url}other/admin", {FORCED.name: FORCED.candidate}) == 403

    async def test_a_rule_that_the_operator_puts_between_is_noticed_and_the_way_back_works(
        self, aws: SimulatedAws, worker: Workers, stand: AlbStand
    ) -> None:
        stand.add_other_rule()
        router = AlbRouter(alb_route(rule=OTHER), worker())
        await router.write(raised(5))
        await proven(router, 5)
        for rule in aws.rules():  # as an operator who makes room for his own
            if rule["Priority"] in {"198", "199"}:
                number = int(rule["Priority"]) - 50
                aws.client("elbv2").set_rule_priorities(
                    RulePriorities=[{"RuleArn": rule["RuleArn"], "Priority": number}]
                )
        forbid(aws, 190)
        state = await router.read()
        assert state.in_force is None
        assert "take requests from others' rules that stand between (190)" in str(state.problem)
        await router.write(raised(5))
        await proven(router, 5)
        assert await status(f"{aws.url}other/admin", {FORCED.name: FORCED.candidate}) == 403
        await router.write(back(2))
        await proven(router, 0)

    async def test_the_way_back_makes_room_for_its_tag(self, aws: SimulatedAws, router: AlbRouter) -> None:
        await router.write(raised(50))
        await proven(router, 50)
        free = 50 - len(marks(aws))
        tags = [{"Key": f"team-{number}", "Value": "x"} for number in range(free)]
        aws.client("elbv2").add_tags(ResourceArns=[aws.listener_arn], Tags=tags)
        await router.write(back(2))
        state = await proven(router, 0)
        assert (state.owner, state.epoch) == (None, 2)
        assert "and 3 must be free" in str(state.problem)  # preflight of the next rollout refuses

    async def test_who_may_not_create_rules_is_told_of_the_tag(self, aws: SimulatedAws, router: AlbRouter) -> None:
        aws.fault(deny=["CreateRule"])
        with pytest.raises(NotPermitted, match="wants the listener to have the tag sluice=managed"):
            await router.write(raised(5))


def forbid(aws: SimulatedAws, priority: int) -> None:
    fixed: Any = {"StatusCode": "403", "ContentType": "text/plain", "MessageBody": "no"}
    aws.client("elbv2").create_rule(
        ListenerArn=aws.listener_arn,
        Priority=priority,
        Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/other/admin*"]}}],
        Actions=[{"Type": "fixed-response", "FixedResponseConfig": fixed}],
    )


async def status(url: str, headers: dict[str, str]) -> int:
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        return answer.status
