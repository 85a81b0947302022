"""What becomes of a flag of Unleash, request by request; no server is asked.

The golden files of `unleash/` hold what the admin API showed, the write, and what is sent.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.flags.unleash.evaluation import PROBES, difference, feature_in, implausible
from activities.flags.unleash.permission import lacking
from activities.flags.unleash.strategy import Mark, Patch, Switch, found, healthy, holds, no_off, patched, steps
from activities.ports import Write
from rollout.errors import Misconfigured, RouteRejected
from rollout.routes.flags import UnleashRoute

GOLDEN = sorted((Path(__file__).parent / "unleash").glob("*.json"))
OWNER = "rollout:prod/checkout"
ROUTE = UnleashRoute(connection="flags", key="new-checkout", environment="production")
MARK = "[Sluice default/production/new-checkout: epoch 3, held by rollout:prod/checkout]"


def gradual(share: Any = "5", title: str | None = None, **fields: Any) -> dict[str, Any]:
    parameters = {"rollout": share, "stickiness": "userId", "groupId": "new-checkout"}
    strategy = {"id": "01ABC", "name": "flexibleRollout", "title": title, "disabled": False}
    return {**strategy, "parameters": parameters, "constraints": [], "segments": [], **fields}


def feature(*strategies: dict[str, Any], on: bool = True) -> dict[str, Any]:
    here = {"name": "production", "enabled": on, "strategies": list(strategies)}
    return {"name": "new-checkout", "archived": False, "environments": [here, {"name": "development"}]}


def write(percent: float = 25, epoch: int = 4, **fields: Any) -> Write:
    return Write(percent=percent, epoch=epoch, owner=OWNER, **fields)


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_golden_requests(file: Path) -> None:
    case = json.loads(file.read_text())
    route = ROUTE.model_copy(update=case.get("route", {}))
    sent = [
        {"patch": step.strategy, "operations": list(step.operations)}
        if isinstance(step, Patch)
        else {"switch": "on" if step.on else "off"}
        for step in steps(found(case["found"], route), route, Write(**case["write"]))
    ]
    assert sent == case["sent"]


@given(
    title=st.text(max_size=30).filter(lambda each: "[" not in each),
    epoch=st.integers(1, 10**12),
    owner=st.none() | st.from_regex(r"[a-z]+:[A-Za-z0-9._ -]+/[A-Za-z0-9._-]+", fullmatch=True),
    was_off=st.booleans(),
)
def test_a_mark_survives_the_title_and_the_title_the_mark(
    title: str, epoch: int, owner: str | None, was_off: bool
) -> None:
    mark = Mark(epoch, owner, was_off)
    shown = found(feature(gradual(title=f"{title} {mark.text(ROUTE.place)}")), ROUTE)
    assert shown.mark == mark
    for percent, release in ((7, True), (0, False)):
        again = Write(percent=percent, epoch=epoch + 1, owner=owner or OWNER, release=release)
        done = steps(shown, ROUTE, again)
        after = patched(shown.strategy, tuple(each for each in done if isinstance(each, Patch)))
        assert after["title"].startswith(title.strip())
        assert after["title"].count("[Sluice") == 1


def test_a_mark_that_came_with_a_copy_is_not_ours() -> None:
    copied = found(feature(gradual(title=f"Slowly {MARK.replace('production', 'development')}")), ROUTE)
    assert copied.mark == Mark()
    (patch,) = steps(copied, ROUTE, write(5, 1))
    assert isinstance(patch, Patch)
    title = {each["path"]: each["value"] for each in patch.operations if each["op"] == "add"}["/title"]
    assert title == f"Slowly {MARK.replace('epoch 3', 'epoch 1')}"


@pytest.mark.parametrize(
    ("strategies", "words"),
    [
        ((), "has no enabled strategy, which means everybody"),
        ((gradual(disabled=True),), "has no enabled strategy"),
        (({"name": "default", "title": None},), r"has 1 enabled strategy \(default\)"),
        ((gradual(title="One"), gradual(title="Two")), r"has 2 enabled strategies, which add up \(One, Two\)"),
    ],
)
def test_strategies_that_do_not_add_up_to_a_share_are_refused(strategies: Any, words: str) -> None:
    for raising in (write(25), write(0), write(0, release=True)):
        with pytest.raises(Misconfigured, match=f"{words}.*exactly one must be enabled"):
            steps(found(feature(*strategies), ROUTE), ROUTE, raising)
    off = found(feature(*strategies, on=False), ROUTE)
    assert steps(off, ROUTE, write(5, release=True)) == ()  # nobody is given it, and there is nothing of ours
    assert difference({"enabled": False, "strategies": [{}, {}]}, off) is None


def test_a_strategy_that_somebody_added_keeps_no_way_back_but_every_raise() -> None:
    both = found(feature(gradual("25", MARK), {"name": "default", "title": "Everybody!"}), ROUTE)
    with pytest.raises(Misconfigured, match=r"which add up \(.*, Everybody!\)"):
        steps(both, ROUTE, write(50))
    (patch,) = steps(both, ROUTE, write(0))
    assert isinstance(patch, Patch)
    assert {"op": "add", "path": "/parameters/rollout", "value": "0"} in patch.operations


@pytest.mark.parametrize("there", ["150", "-1", "abc", "", "12.5", " 25", None, 25])
def test_a_share_that_is_no_whole_percent_is_known_as_such_and_replaced(there: Any) -> None:
    odd = found(feature(gradual(there, MARK)), ROUTE)
    assert (odd.share, odd.percent) == (None, 0)
    (patch,) = steps(odd, ROUTE, write(25))
    assert isinstance(patch, Patch)
    assert {"op": "add", "path": "/parameters/rollout", "value": "25"} in patch.operations


def test_a_percent_between_two_whole_ones_is_refused() -> None:
    with pytest.raises(Misconfigured, match=r"whole percents only, not 0\.25 %"):
        steps(found(feature(gradual()), ROUTE), ROUTE, write(0.25))


def test_users_are_never_dealt_out_anew() -> None:
    by_session = ROUTE.model_copy(update={"stickiness": "sessionId"})
    with pytest.raises(Misconfigured, match="by userId, the spec wants sessionId: a change at 5 % would deal"):
        steps(found(feature(gradual("5")), by_session), by_session, write(25))
    for harmless in (feature(gradual("0")), feature(gradual("100")), feature(gradual("5"), on=False)):
        assert steps(found(harmless, by_session), by_session, write(25, 9))
    at_random = gradual()
    at_random["parameters"]["stickiness"] = "random"
    with pytest.raises(Misconfigured, match="drawn anew at every look"):
        steps(found(feature(at_random), ROUTE), ROUTE, write(25))
    assert steps(found(feature(at_random), ROUTE), ROUTE, write(0))


def test_what_was_switched_off_since_our_last_write_is_not_switched_on_again() -> None:
    killed = found(feature(gradual("5", MARK), on=False), ROUTE)
    for raising in (write(5, 3), write(25), write(5, 9)):
        with pytest.raises(RouteRejected, match="was switched off since our last write"):
            steps(killed, ROUTE, raising)
    assert not any(isinstance(each, Switch) for each in steps(killed, ROUTE, write(0)))


def test_a_write_that_was_cut_in_the_middle_is_finished_from_where_it_is() -> None:
    wanted, now = write(25, 1), found(feature(gradual("50", "Slowly"), on=False), ROUTE)
    every = steps(now, ROUTE, wanted)
    assert [type(each) for each in every] == [Patch, Switch, Patch]
    strategy, on = now.strategy, False
    for done in every:
        if isinstance(done, Patch):
            strategy = patched(strategy, (done,))
        else:
            on = done.on
        left = steps(found(feature(strategy, on=on), ROUTE), ROUTE, wanted)
        assert left == every[every.index(done) + 1 :]
        assert found(feature(strategy, on=on), ROUTE).percent in {0, 25}
    assert holds(found(feature(strategy), ROUTE), wanted)


def test_only_on_and_off_are_variations() -> None:
    assert healthy(ROUTE) == {"candidate": 1, "stable": 1}
    other = ROUTE.model_copy(update={"candidate": "blue", "stable": "green"})
    assert healthy(other) == {}
    with pytest.raises(Misconfigured, match="no variation 'blue'"):
        steps(found(feature(gradual()), other), other, write(25))
    assert "off is not 'green'" in (no_off(other) or "")
    assert no_off(ROUTE) is None


def test_an_environment_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(Misconfigured, match="no environment staging there; it has development, production"):
        found(feature(gradual()), ROUTE.model_copy(update={"environment": "staging"}))
    with pytest.raises(Misconfigured, match="archived"):
        found(feature(gradual()) | {"archived": True}, ROUTE)


def test_what_applications_are_given_must_be_what_is_written() -> None:
    now = found(feature(gradual("25")), ROUTE)
    here = {"name": "new-checkout", "enabled": True, "strategies": [gradual("25")]}
    assert difference(here, now) is None
    assert difference(here | {"enabled": False}, now) == "applications are still told that it is off"
    assert difference(here | {"strategies": [gradual("5")]}, now) == "applications are still given rollout '5'"
    assert difference(here | {"strategies": []}, now) == "applications are given 0 strategies"
    given = {"features": [here], "query": {"environment": "production"}}
    assert feature_in(given, ROUTE) == here
    assert feature_in(given | {"query": {"environment": "development"}}, ROUTE) == (
        "the client token is one of environment development, not production"
    )
    assert "are not given new-checkout" in str(feature_in(given | {"features": []}, ROUTE))


def test_a_share_of_invented_users_is_doubted_only_if_it_is_out_of_the_question() -> None:
    assert [implausible(seen, 0) is None for seen in (0, 1)] == [True, False]
    assert [implausible(seen, 100) is None for seen in (len(PROBES), len(PROBES) - 1)] == [True, False]
    assert [implausible(seen, 25) is None for seen in (0, 21, 22, 50, 82, 83, 200)] == [
        False,
        False,
        *[True] * 3,
        False,
        False,
    ]
    assert implausible(0, 1) is None


@pytest.mark.parametrize(
    ("permissions", "requests", "words"),
    [
        (["ADMIN"], [{"environment": "production", "changeRequestEnabled": True}], None),
        (["UPDATE_FEATURE_STRATEGY", "UPDATE_FEATURE_ENVIRONMENT"], [], None),
        (["UPDATE_FEATURE_STRATEGY"], [], "lacks the permission UPDATE_FEATURE_ENVIRONMENT in default/production"),
        (
            ["UPDATE_FEATURE_STRATEGY", "UPDATE_FEATURE_ENVIRONMENT"],
            [{"environment": "production", "changeRequestEnabled": True}],
            "must be approved by a change request",
        ),
        (
            ["UPDATE_FEATURE_STRATEGY", "UPDATE_FEATURE_ENVIRONMENT", "SKIP_CHANGE_REQUEST"],
            [{"environment": "production", "changeRequestEnabled": True}],
            None,
        ),
        (
            ["UPDATE_FEATURE_STRATEGY", "UPDATE_FEATURE_ENVIRONMENT"],
            [{"environment": "development", "changeRequestEnabled": True}, {"environment": "production"}],
            None,
        ),
    ],
)
def test_why_a_flag_could_not_be_changed(permissions: list[str], requests: list[Any], words: str | None) -> None:
    may = [{"permission": each, "project": "default", "environment": "production"} for each in permissions]
    elsewhere = {"permission": "ADMIN", "project": "another"}
    found_out = lacking([*may, elsewhere], requests, ROUTE).off
    assert (words is None) == (found_out is None)
    assert (words or "") in (found_out or "")


def test_what_only_keeps_the_share_from_being_changed_keeps_nobody_from_switching_off() -> None:
    lacks = lacking([{"permission": "UPDATE_FEATURE_ENVIRONMENT"}], [], ROUTE)
    assert lacks.off is None
    assert "lacks the permission UPDATE_FEATURE_STRATEGY in" in (lacks.share or "")


def test_the_way_back_behind_the_switch_goes_by_what_is_there() -> None:
    at_random = gradual("50", MARK)
    at_random["parameters"]["stickiness"] = "random"
    (patch,) = steps(found(feature(at_random, on=False), ROUTE), ROUTE, write(25, release=True))
    assert isinstance(patch, Patch)
    assert {each["path"] for each in patch.operations if each["op"] == "add"} == {"/parameters/rollout", "/title"}
