"""Flags in a spec: as routes of the ladder `flag`, as mitigations, as experiments."""

from datetime import timedelta
from typing import Any

import pytest

from rollout.complaints import read_spec
from rollout.gates import ErrorRatioGate, Versions
from rollout.plan import Facts, RouteFact, plan, stages
from rollout.queries import longest_range
from rollout.routes import FlagdRoute, LaunchDarklyRoute
from rollout.spec import RolloutSpec
from rollout.strategies import FlagStrategy
from tests.rollout.given import OWNER, ladder, spec, written

FLAG = {"kind": "flagd", "connection": "flags", "key": "new-checkout"}
LAUNCHDARKLY = {"kind": "launchdarkly", "connection": "ld", "project": "web", "environment": "production", "key": "x"}
ERRORS = {"kind": "error-ratio", "requests": "r", "errors": "e"}


def complaint(whole: object) -> str:
    with pytest.raises(ValueError, match=r"^the spec is not valid:\n") as refused:
        read_spec((whole,))
    return "\n".join(str(refused.value).splitlines()[1:])


def flagged(**changes: Any) -> dict[str, Any]:
    """A spec that moves a flag."""
    whole = written(strategy={"kind": "flag"}, routes=[FLAG], gates={"errors": ERRORS})
    return whole | changes


def mitigated(mitigation: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A spec with one mitigation."""
    gates = {"errors": {"query": "sum(rate(x[5m]))", "above": 1}}
    return written(strategy=None, gates=gates, mitigations=[{"when": ["errors"], "flag": FLAG} | mitigation], **changes)


# ── The ladder ──────────────────────────────────────────────────────────────────────────────────


def test_a_flag_climbs_the_usual_ladder_and_its_gates_compare_variations() -> None:
    found = RolloutSpec.model_validate(flagged())
    assert [stage.percent for stage in found.strategy.stages] == [5, 25, 50, 100]
    gate = found.gates["errors"]
    assert isinstance(gate, ErrorRatioGate)
    assert gate.versions == Versions(label="variation", candidate="on", stable="off")


def test_the_variations_are_those_of_the_flag() -> None:
    found = RolloutSpec.model_validate(flagged(routes=[LAUNCHDARKLY]))
    assert isinstance(found.gates["errors"], ErrorRatioGate)
    assert found.gates["errors"].versions == Versions(label="variation", candidate="true", stable="false")


def test_a_gate_may_say_what_else_it_compares() -> None:
    said = {"label": "version", "candidate": "a", "stable": "b"}
    found = RolloutSpec.model_validate(flagged(gates={"errors": ERRORS | {"versions": said}}))
    assert isinstance(found.gates["errors"], ErrorRatioGate)
    assert found.gates["errors"].versions == Versions(label="version", candidate="a", stable="b")


def test_what_was_read_can_be_written_and_read_again() -> None:
    for whole in (flagged(), flagged(strategy={"kind": "flag", "experiment": True, "stages": [{"percent": 50}]})):
        found = RolloutSpec.model_validate(whole)
        assert RolloutSpec.model_validate_json(found.model_dump_json(by_alias=True)) == found


def test_a_ladder_of_flags_on_a_router_and_a_rolling_update_of_flags_are_refused() -> None:
    route = {"kind": "envoy", "connection": "edge", "service": "s"}
    assert "it is no flag; use strategy canary" in complaint(flagged(routes=[route]))
    blue = written(strategy={"kind": "blue-green"}, routes=[FLAG], gates={})
    assert "it is a flag; use strategy flag" in complaint(blue)


def test_a_flag_has_no_pods() -> None:
    pods = {
        "kind": "kubernetes-deployment",
        "connection": "c",
        "namespace": "n",
        "candidate": "a",
        "stable": "b",
    }
    assert "leave `workload` out" in complaint(flagged(workload=pods))


def test_two_variations_must_differ() -> None:
    assert "the same pool, off" in complaint(flagged(gates={}, routes=[FLAG | {"candidate": "off"}]))


# ── Where it begins ─────────────────────────────────────────────────────────────────────────────


def planned(*shares: float, **strategy: Any) -> float:
    keys = [FLAG | {"key": f"flag-{number}"} for number, _ in enumerate(shares)]
    whole = flagged(routes=keys, gates={}, strategy={"kind": "flag", **strategy})
    facts = tuple(RouteFact(route=f"flag-{number}", percent=share) for number, share in enumerate(shares))
    return plan(RolloutSpec.model_validate(whole), Facts(routes=facts), owner=OWNER).start


def test_the_way_back_leads_to_the_share_that_was_read() -> None:
    assert planned(0) == 0
    assert planned(10, stages=[{"percent": 25}, {"percent": 100}]) == 10


def test_stages_begin_above_that_share() -> None:
    with pytest.raises(Exception, match="the flag is at 5 % already: begin the stages above that"):
        planned(5)


def test_flags_that_move_together_begin_together() -> None:
    with pytest.raises(Exception, match=r"flag-1 is at 1 %, another at 2 %"):
        planned(2, 1)


def test_traffic_still_begins_at_nothing() -> None:
    with pytest.raises(Exception, match="already sends 3 %"):
        plan(spec(gates={}, approvals=None, strategy=None), Facts(routes=(RouteFact(route="e", percent=3),)), owner="o")


# ── Experiments ─────────────────────────────────────────────────────────────────────────────────


def test_an_experiment_is_one_split_and_asks_before_it_ships() -> None:
    found = RolloutSpec.model_validate(
        flagged(strategy={"kind": "flag", "experiment": True, "stages": [{"percent": 50, "bake": "14d"}]})
    )
    horizon, ship = stages(found)
    assert (horizon.percent, horizon.bake) == (50, timedelta(days=14))
    assert ship.percent == 100
    assert ship.approval is not None
    assert (ship.approval.before, ship.approval.then) == (True, "rollback")


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ({"experiment": True}, "an experiment has one stage below 100 %"),
        ({"experiment": True, "stages": [{"percent": 50, "early": True}]}, "an experiment's horizon is fixed"),
        (
            {"experiment": True, "stages": [{"percent": 50}, {"percent": 100, "approval": {}}]},
            "an experiment never promotes by itself",
        ),
        ({"users": "seen_total"}, "users are counted in experiments"),
    ],
)
def test_an_experiment_that_is_none_is_refused(strategy: dict[str, Any], said: str) -> None:
    assert said in complaint(flagged(strategy={"kind": "flag", **strategy}))


def test_a_ladder_of_a_flag_may_not_fall() -> None:
    assert "percents must strictly rise" in complaint(
        flagged(strategy=ladder({"percent": 50}, {"percent": 5}) | {"kind": "flag"})
    )


# ── Mitigations ─────────────────────────────────────────────────────────────────────────────────


def test_the_products_own_example_is_a_mitigation() -> None:
    flag = LAUNCHDARKLY | {"key": "new-checkout"}
    (found,) = RolloutSpec.model_validate(mitigated({"flag": flag, "then_watch": "5m"})).mitigations
    assert found.flag == LaunchDarklyRoute.model_validate(flag)
    assert (found.then_watch, found.prove_within) == (timedelta(minutes=5), timedelta(seconds=30))


@pytest.mark.parametrize(
    ("mitigation", "said"),
    [
        ({"when": ["nobody"]}, "'nobody' is not one of gates: errors"),
        ({"then_watch": "5s"}, "5s is shorter than two polls of 5s"),
        ({"then_watch": "1m"}, "1m is shorter than the 5m that gate errors looks back"),
        ({"flag": FLAG | {"kind": "paper"}}, "unknown kind; known are launchdarkly, unleash, flagd"),
        ({"flag": {"kind": "flagd", "connection": "f"}}, "key"),
        ({"when": []}, "when"),
        ({"flag": FLAG | {"key": "a/b"}}, "key"),
    ],
)
def test_a_mitigation_that_could_never_help_is_refused(mitigation: dict[str, Any], said: str) -> None:
    assert said in complaint(mitigated(mitigation))


def test_a_flag_that_the_rollout_moves_itself_is_no_mitigation() -> None:
    whole = flagged(mitigations=[{"when": ["errors"], "flag": FLAG}])
    assert "is moved by this rollout itself" in complaint(whole)


def test_a_gate_that_says_nothing_so_soon_cannot_tell_whether_a_flag_has_helped() -> None:
    slow = {"kind": "proportion", "trials": "t", "successes": "s", "bad": "down", "matures_in": "20m"}
    route = {"kind": "envoy", "connection": "edge-1", "service": "checkout", "sticky": {}}
    stages = ladder({"percent": 50, "bake": "1h"}, {"percent": 100, "bake": "1h"})
    one = {"when": ["orders"], "flag": FLAG, "then_watch": "20m"}
    whole = written(strategy=stages, gates={"orders": slow}, routes=[route], mitigations=[one])
    assert "20m is not longer than the 20m for which gate orders can say nothing" in complaint(whole)
    assert read_spec((whole | {"mitigations": [one | {"then_watch": "21m"}]},)).mitigations


def test_the_same_flag_twice_for_a_gate_is_refused_and_for_another_gate_is_not() -> None:
    gates = {"errors": {"query": "x", "above": 1}, "slow": {"query": "y", "above": 1}}
    one = {"when": ["errors"], "flag": FLAG}
    assert "by an earlier mitigation already" in complaint(written(strategy=None, gates=gates, mitigations=[one, one]))
    both = written(strategy=None, gates=gates, mitigations=[one, one | {"when": ["slow"]}])
    assert len(RolloutSpec.model_validate(both).mitigations) == 2


def test_how_far_a_query_looks_back_is_read_off_it() -> None:
    assert longest_range('sum(rate(x{a="[9h]"}[5m])) / sum(rate(y[1h30m]))') == timedelta(minutes=90)
    assert longest_range("max_over_time(rate(x[1m])[10m:30s])") == timedelta(minutes=10)
    assert longest_range("x > 5 # [3d]") == timedelta()


def test_places_of_flags_tell_them_apart() -> None:
    assert str(FlagdRoute(connection="f", key="k")) == "flagd f/flags/k"
    found = RolloutSpec.model_validate(flagged(routes=[LAUNCHDARKLY]))
    assert str(found.routes[0]) == "launchdarkly ld/web/production/x"
    assert isinstance(found.strategy, FlagStrategy)
