"""A spec that parses can be planned; one that does not is answered with the sentence that helps."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.complaints import read_spec
from rollout.gates import ThresholdGate
from rollout.spec import RolloutSpec
from tests.rollout.generated import json_values, written_specs
from tests.rollout.given import ARTICLE, LIGHT, ladder, spec, written

ONE_LIMIT = "a threshold gate needs one of `above` and `below` (or a query that ends in `> number` or `< number`)"
EXAMPLES = "write a duration such as 90s, 5m, 1h30m, PT5M or a number of seconds"
ROUTES = (
    "unknown kind; known are envoy, nginx, haproxy, alb, ecs, lambda-alias, gateway-api, ingress-nginx, istio, "
    "replicas, rolling-update, launchdarkly, unleash, flagd"
)
ROUTE = {"kind": "envoy", "connection": "edge-1", "service": "checkout"}
ALB = {
    "kind": "alb",
    "load_balancer": "shop",
    "connection": "aws",
    "candidate": "shop-green",
    "stable": "shop-blue",
}
GATE = {"query": "x", "above": 1}
ERRORS = {"kind": "error-ratio", "requests": "r", "errors": "e"}
ORDERS = {"kind": "proportion", "trials": "t", "successes": "s", "bad": "down"}
STICKY: dict[str, Any] = ROUTE | {"sticky": {}}

KINDS = ROUTES.removeprefix("unknown kind; known are ")


def complaints(whole: object) -> list[str]:
    with pytest.raises(ValueError, match=r"^the spec is not valid:\n") as refused:
        read_spec((whole,))
    return str(refused.value).splitlines()[1:]


def stages(*wanted: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A spec without gates, so that only its ladder can be wrong."""
    return written(strategy=ladder(*wanted), gates={}, **changes)


def route(**fields: Any) -> dict[str, Any]:
    return written(routes=[ROUTE | fields])


def one_gate(**fields: Any) -> dict[str, Any]:
    return written(strategy=None, gates={"errors": GATE | fields})


# ── What a spec means ───────────────────────────────────────────────────────────────────────────


def test_the_least_spec_is_the_usual_ladder_on_one_route() -> None:
    least = spec(strategy=None, gates=None, approvals=None)
    assert [stage.percent for stage in least.strategy.stages] == [5, 25, 50, 100]
    assert [stage.title for stage in least.strategy.stages] == ["5 %", "25 %", "50 %", "100 %"]
    assert least.workflow_id == "rollout:prod/checkout"


def test_the_defaults_are_the_documented_ones() -> None:
    policy = spec().policy
    assert policy.model_dump(mode="json", by_alias=True) == {
        "poll": "PT5S",
        "false_rollback": 0.01,
        "undecided": "advance",
        "no_data": {"hold": "PT5M", "then": "rollback"},
        "drift": "hold",
        "max_duration": "P1D",
        "prove_within": "PT10S",
        "drain": "PT30S",
        "ready_within": "PT2M",
        "restore": "capped",
        "alarm_after": "PT1M",
    }
    approval = spec().strategy.stages[0].approval
    assert approval is not None
    assert (approval.then, approval.before) == ("rollback", False)


def test_a_stage_watches_all_gates_unless_it_names_some() -> None:
    wanted = spec()
    assert [list(wanted.gates_of(stage)) for stage in wanted.strategy.stages] == [
        ["errors", "conversion"],
        ["errors", "conversion"],
        ["errors"],
    ]


def test_a_standing_gate_is_watched_also_where_it_is_not_named() -> None:
    wanted = spec(
        strategy=ladder({"percent": 5, "gates": ["errors"]}, {"percent": 100, "gates": []}),
        gates={"errors": GATE, "pods": GATE | {"standing": True}},
    )
    assert [list(wanted.gates_of(stage)) for stage in wanted.strategy.stages] == [["errors", "pods"], ["pods"]]


def test_a_pasted_alerting_rule_is_a_gate() -> None:
    pasted = spec(strategy=None, gates={"errors": {"query": f"{ARTICLE} > 0.05", "for": "2m"}}).gates["errors"]
    assert isinstance(pasted, ThresholdGate)
    assert (pasted.query, pasted.above, pasted.for_) == (ARTICLE, 0.05, timedelta(minutes=2))


def test_the_pools_are_named_after_the_service_unless_they_are_named() -> None:
    assert [(r.candidate_pool, r.stable_pool) for r in spec().routes] == [("checkout-candidate", "checkout-stable")]
    named = spec(routes=[ROUTE | {"candidate": "new", "stable": "old"}]).routes[0]
    assert (named.candidate_pool, named.stable_pool) == ("new", "old")
    assert str(named) == "envoy edge-1/checkout"


# ── Unknown, missing, of the wrong kind ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("whole", "where"),
    [
        (written(servce="checkout"), "servce"),
        (written(release={"candidate": "2", "stable": "1", "sha": "9f8d"}), "release.sha"),
        (written(strategy={"kind": "canary", "steps": []}), "strategy.steps"),
        (stages({"percent": 100, "wait": "5m"}), "strategy.stages[0].wait"),
        (stages({"percent": 100, "approval": {"by": ["qa"]}}), "strategy.stages[0].approval.by"),
        (route(weight=3), "routes[0].weight"),
        (route(header={"value": "x"}), "routes[0].header.value"),
        (one_gate(conection="prometheus"), "gates.errors.conection"),
        (written(approvals={"person": ["qa"]}), "approvals.person"),
        (written(policy={"pol": "5s"}), "policy.pol"),
        (written(policy={"no_data": {"wait": "5m"}}), "policy.no_data.wait"),
    ],
)
def test_an_unknown_field_is_refused_at_every_level(whole: dict[str, Any], where: str) -> None:
    assert complaints(whole) == [f"{where}: unknown field; remove it or mend its spelling"]


def test_everything_that_is_missing_is_named_at_once() -> None:
    assert complaints({}) == [
        "service: is missing",
        "environment: is missing",
        "release: is missing",
        "routes: is missing",
    ]


@pytest.mark.parametrize(
    ("whole", "sentence"),
    [
        (route(kind="apache"), f"routes[0].kind: {ROUTES} (got 'apache')"),
        (written(routes=[{"connection": "edge-1"}]), "routes[0].kind: is missing; " + ROUTES.split("; ")[1]),
        (
            written(strategy={"kind": "big-bang"}),
            "strategy.kind: unknown kind; known are canary, blue-green, rolling, flag (got 'big-bang')",
        ),
        (
            written(policy={"undecided": "pass"}),
            "policy.undecided: Input should be 'advance', 'extend' or 'hold' (got 'pass')",
        ),
        (
            written(policy={"false_rollback": 0.5}),
            "policy.false_rollback: Input should be less than or equal to 0.2 (got 0.5)",
        ),
        (written(policy={"false_rollback": 0}), "policy.false_rollback: Input should be greater than 0 (got 0)"),
        (one_gate(on_breach="ignore"), "gates.errors.on_breach: Input should be 'rollback' or 'hold' (got 'ignore')"),
        (written(schema=2), "schema: Input should be 1 (got 2)"),
        (written(policy={"drift": "adopt"}), "policy.drift: Input should be 'hold' or 'reassert' (got 'adopt')"),
        (
            written(policy={"no_data": {"then": "pass"}}),
            "policy.no_data.then: Input should be 'rollback' or 'hold' (got 'pass')",
        ),
        (written(strategy="canary"), "strategy: Input should be a JSON object (got 'canary')"),
        (written(gates=["errors"]), "gates: Input should be a JSON object (got ['errors'])"),
        (
            written(service="check out"),
            "service: String should match pattern '^[A-Za-z0-9][A-Za-z0-9._-]*$' (got 'check out')",
        ),
        (
            written(environment="prod/eu"),
            "environment: String should match pattern '^[A-Za-z0-9][A-Za-z0-9._-]*$' (got 'prod/eu')",
        ),
        (
            written(strategy=None, gates={"a/b": GATE}),
            "gates.a/b: String should match pattern '^[A-Za-z0-9][A-Za-z0-9 ._-]*$' (got 'a/b')",
        ),
        (
            one_gate(above=None),
            f"gates.errors: {ONE_LIMIT}",
        ),
    ],
)
def test_a_wrong_value_is_shown_with_what_is_allowed(whole: dict[str, Any], sentence: str) -> None:
    assert complaints(whole) == [sentence]


# ── The ladder ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("whole", "sentence"),
    [
        (
            stages({"percent": 25}, {"percent": 25, "name": "again"}, {"percent": 100}),
            "strategy: percents must strictly rise: 25 % comes after 25 %",
        ),
        (
            stages({"percent": 25}, {"percent": 5}, {"percent": 100}),
            "strategy: percents must strictly rise: 5 % comes after 25 %",
        ),
        (stages({"percent": 5}, {"percent": 50}), "strategy: the last stage must be 100 %, not 50 %"),
        (stages(), "strategy.stages: List should have at least 1 item, not 0 (got [])"),
        (
            stages(*({"percent": index + 1} for index in range(51))),
            "strategy.stages: List should have at most 50 items, not 51",
        ),
        (
            stages({"percent": 5, "name": "half"}, {"percent": 100, "name": "half"}),
            "strategy: stage names must differ: half is there twice",
        ),
    ],
)
def test_a_ladder_rises_to_the_end(whole: dict[str, Any], sentence: str) -> None:
    assert complaints(whole) == [sentence]


@pytest.mark.parametrize(
    ("percent", "sentence"),
    [
        (0, "Input should be greater than 0 (got 0)"),
        (-5, "Input should be greater than or equal to 0 (got -5)"),
        (105, "Input should be less than or equal to 100 (got 105)"),
        (0.125, "use at most two decimals (got 0.125)"),
        (5e-9, "use at most two decimals (got 5e-09)"),
        (99.999999, "use at most two decimals (got 99.999999)"),
        ("5%", "Input should be a valid number, unable to parse string as a number (got '5%')"),
    ],
)
def test_a_percent_is_above_0_up_to_100_in_steps_of_a_hundredth(percent: object, sentence: str) -> None:
    first, *others = complaints(stages({"percent": percent}, {"percent": 100, "name": "all"}))
    assert first == f"strategy.stages[0].percent: {sentence}"
    assert others == []


@given(st.integers(1, 10_000))
@LIGHT
def test_every_hundredth_of_a_percent_can_be_written(hundredths: int) -> None:
    percent = hundredths / 100
    below = [] if percent == 100 else [{"percent": percent, "name": "low"}]
    assert spec(strategy=ladder(*below, {"percent": 100, "bake": "1h"})).strategy.stages[0].percent == percent


@pytest.mark.parametrize("bake", ["0s", "9.999s"])
def test_a_bake_in_which_a_gate_could_see_nothing_is_refused(bake: str) -> None:
    shown = "0s" if bake == "0s" else "9.999s"
    assert complaints(written(strategy=ladder({"percent": 100, "bake": bake}))) == [
        f"strategy.stages[0] (100 %).bake: {shown} is shorter than two polls of 5s: it could see nothing"
    ]


def test_a_bake_without_gates_may_be_as_short_as_one_likes() -> None:
    assert spec(strategy=ladder({"percent": 100, "bake": 0}), gates=None).strategy.stages[0].bake == timedelta(0)


@pytest.mark.parametrize(
    ("whole", "sentence"),
    [
        (
            stages({"percent": 100, "bake": "long"}),
            f"strategy.stages[0].bake: {EXAMPLES} (got 'long')",
        ),
        (written(policy={"poll": "0.5s"}), "policy.poll: polls must be at least 1s apart (got '0.5s')"),
        (
            written(policy={"max_duration": "400d"}),
            "policy.max_duration: Input should be less than or equal to 365 days (got 400d)",
        ),
        (
            written(policy={"ready_within": "3s"}),
            "policy.ready_within: 10s to 365d is possible (got '3s')",
        ),
        (
            written(routes=[ALB | {"sticky": {"ttl": "8d"}}]),
            "routes[0].sticky.ttl: 1s to 7d is possible (got '8d')",
        ),
    ],
)
def test_a_time_that_makes_no_sense_is_refused(whole: dict[str, Any], sentence: str) -> None:
    assert complaints(whole) == [sentence]


# ── Names that refer to each other ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("whole", "sentence"),
    [
        (
            written(strategy=ladder({"percent": 100, "name": "all", "gates": ["erors"]})),
            "strategy.stages[0] (all).gates: 'erors' is not one of gates: conversion, errors",
        ),
        (
            stages({"percent": 100, "gates": ["errors"]}),
            "strategy.stages[0] (100 %).gates: 'errors' is not one of gates: none are defined",
        ),
        (
            written(strategy=ladder({"percent": 100, "gates": ["errors"]})),
            "gates.conversion is watched by no stage: name it in a stage's `gates`, or set `standing: true`",
        ),
        (
            stages({"percent": 100, "approval": {"from": ["sre"]}}),
            "strategy.stages[0] (100 %).approval.from: 'sre' is not one of approvals.people: qa",
        ),
        (
            stages({"percent": 100, "approval": {"from": ["sre"]}}, approvals={}),
            "strategy.stages[0] (100 %).approval.from: 'sre' is not one of approvals.people: none are defined",
        ),
        (written(routes=[ROUTE, ROUTE]), "routes name envoy edge-1/checkout twice"),
        (written(routes=[]), "routes: List should have at least 1 item, not 0 (got [])"),
        (
            route(candidate="web", stable="web"),
            "routes[0]: candidate and stable are the same pool, web: there is nothing to split",
        ),
        (
            route(header={"candidate": "yes", "stable": "yes"}),
            "routes[0].header: header X-Canary cannot force both candidate and stable by the same value 'yes'",
        ),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(whole: dict[str, Any], sentence: str) -> None:
    assert complaints(whole) == [sentence]


def test_every_mistake_is_told_at_once_and_none_twice() -> None:
    both = written(service=None, policy={"poll": "never"}, routes=[ROUTE | {"weight": 3}])
    assert [sentence.split(":")[0] for sentence in complaints(both)] == ["service", "routes[0].weight", "policy.poll"]


# ── Blue-green ──────────────────────────────────────────────────────────────────────────────────

COLOURS: dict[str, Any] = {"kind": "blue-green", "preview": "5m", "bake": "20m"}
SMOKE = {"kind": "probe", "connection": "edge", "path": "/healthz"}


def test_blue_green_is_a_look_at_zero_and_one_step() -> None:
    wanted = spec(strategy=COLOURS | {"approval": {"from": ["qa"]}})
    assert [(stage.title, stage.percent, stage.bake) for stage in wanted.strategy.stages] == [
        ("preview", 0, timedelta(minutes=5)),
        ("switched", 100, timedelta(minutes=20)),
    ]
    assert [stage.approval is not None for stage in wanted.strategy.stages] == [True, False]
    assert RolloutSpec.model_validate_json(wanted.model_dump_json(by_alias=True)) == wanted


def test_without_traffic_only_gates_that_ask_by_themselves_are_watched() -> None:
    gates = {"hard": GATE | {"standing": True}, "smoke": SMOKE, "errors": ERRORS}
    wanted = spec(strategy=COLOURS, gates=gates | {"errors": GATE})
    preview, switched = wanted.strategy.stages
    assert list(wanted.gates_of(preview)) == ["smoke"]
    assert list(wanted.gates_of(switched)) == ["hard", "smoke", "errors"]
    named = spec(strategy=COLOURS | {"preview_gates": ["hard"]}, gates=gates | {"errors": GATE})
    assert list(named.gates_of(named.strategy.stages[0])) == ["hard"]


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        ({"preview_gates": ["errors"]}, "strategy (preview).gates: errors compares stable with the candidate, which"),
        ({"gates": ["errors"]}, "strategy (switched).gates: errors compares the candidate with stable, which has no"),
        ({"gates": ["smoke"]}, "gates.errors is watched by no stage: name it in a stage's `gates`, or set"),
        ({"bake": "9s"}, "strategy (switched).bake: 9s is shorter than two polls of 5s: it could see nothing"),
    ],
)
def test_blue_green_says_what_could_see_nothing(strategy: dict[str, Any], sentence: str) -> None:
    (complaint,) = complaints(written(strategy=COLOURS | strategy, gates={"smoke": SMOKE, "errors": ERRORS}))
    assert complaint.startswith(sentence)


def test_users_whom_a_load_balancer_keeps_are_let_go_before_a_bake_ends() -> None:
    rule = {"kind": "alb", "connection": "aws", "load_balancer": "shop", "candidate": "green", "stable": "blue"}
    (complaint,) = complaints(written(routes=[rule | {"sticky": {"ttl": "11m"}}]))
    assert complaint.startswith("alb aws/shop:443 rule default: users stay on a target group for 11m, longer than the")
    assert spec(routes=[rule | {"sticky": {"ttl": "10m"}}]).routes[0].sticky_users


# ── Gates that count ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["latenzy", "", 3, None, ["latency"]])
def test_an_unknown_kind_of_gate_is_answered_with_the_known_ones(kind: object) -> None:
    (sentence,) = complaints(one_gate(kind=kind))
    assert sentence.startswith(
        "gates.errors.kind: unknown kind; known are threshold, error-ratio, latency, proportion, "
    )
    assert sentence.endswith(f" (got {kind!r})")


def test_a_gate_that_compares_is_not_watched_where_stable_has_no_traffic() -> None:
    wanted = spec(strategy=None, gates={"errors": ERRORS, "rule": GATE, "pods": ERRORS | {"standing": True}})
    assert [list(wanted.gates_of(stage)) for stage in wanted.strategy.stages] == [
        *[["errors", "rule", "pods"]] * 3,
        ["rule"],
    ]


def test_a_gate_that_compares_cannot_be_named_at_100_percent() -> None:
    alone = written(strategy=ladder({"percent": 5}, {"percent": 100, "gates": ["errors"]}), gates={"errors": ERRORS})
    assert complaints(alone) == [
        (
            "strategy.stages[1] (100 %).gates: errors compares the candidate with stable, which has no traffic "
            "at 100 %; leave it out here, or make this stage 99 % and add one at 100 %"
        )
    ]
    almost = ladder({"percent": 99, "gates": ["errors"]}, {"percent": 100, "gates": []})
    assert spec(strategy=almost, gates={"errors": ERRORS}).gates["errors"].compares


def test_users_can_only_be_compared_where_they_stay() -> None:
    assert complaints(written(strategy=None, gates={"orders": ORDERS})) == [
        "gates.orders compares users, but envoy edge-1/checkout sends every request anew; set `sticky` on the route"
    ]
    one_of_two = [STICKY, ROUTE | {"service": "web"}]
    (sentence,) = complaints(written(strategy=None, gates={"orders": ORDERS}, routes=one_of_two))
    assert "envoy edge-1/web sends every request anew" in sentence
    assert spec(strategy=None, gates={"orders": ORDERS}, routes=[STICKY]).gates["orders"].on_breach == "hold"


@pytest.mark.parametrize(("matures", "refused"), [("4m59s", False), ("5m", True), ("1d", True)])
def test_successes_must_come_before_any_bake_that_watches_them_is_over(matures: str, refused: bool) -> None:
    stages_ = ladder({"percent": 5, "bake": "5m"}, {"percent": 50, "bake": "10m"}, {"percent": 100, "bake": "2d"})
    whole = written(strategy=stages_, gates={"orders": ORDERS | {"matures_in": matures}}, routes=[STICKY])
    if not refused:
        assert RolloutSpec.model_validate(whole).gates["orders"].compares
        return
    assert complaints(whole) == [
        (f"gates.orders.matures_in: {matures} is not shorter than the bake of 5 %, 5m: it could say nothing there")
    ]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"margin": 2, "proof": 2},
            "gates.errors: proof (2) must be greater than margin (2), or nothing lies between them",
        ),
        ({"proof": 1.2}, "gates.errors: proof (1.2) must be greater than margin (1.25), or nothing lies between them"),
        (
            {"versions": {"candidate": "v2", "stable": "v2"}},
            "gates.errors.versions: candidate and stable have the same value 'v2' of label version",
        ),
        (
            {"versions": {"stable": "canary"}},
            "gates.errors.versions: candidate and stable have the same value 'canary' of label version",
        ),
        ({"margin": 1}, "gates.errors.margin: Input should be greater than 1 (got 1)"),
        ({"weight": 0}, "gates.errors.weight: Input should be greater than or equal to 0.01 (got 0)"),
        ({"min_requests": 0}, "gates.errors.min_requests: Input should be greater than or equal to 1 (got 0)"),
        ({"ignore_below": 1}, "gates.errors.ignore_below: Input should be less than or equal to 0.4 (got 1)"),
        ({"require": "luck"}, "gates.errors.require: Input should be 'proof' (got 'luck')"),
        (
            {"requests": "rate(r[5m])"},
            (
                'gates.errors.requests: a plain selector such as name{label="value"} is wanted '
                "(no rate(), sum() or [5m]), not 'rate(r[5m])' (got 'rate(r[5m])')"
            ),
        ),
    ],
)
def test_a_gate_that_could_not_decide_is_refused(fields: dict[str, Any], sentence: str) -> None:
    assert complaints(written(strategy=None, gates={"errors": ERRORS | fields})) == [sentence]


@pytest.mark.parametrize("standing", [False, True])
def test_a_gate_that_compares_and_has_no_stage_below_100_percent_is_refused(standing: bool) -> None:
    whole = written(strategy=ladder({"percent": 100}), gates={"errors": ERRORS | {"standing": standing}})
    assert complaints(whole) == [
        (
            "gates.errors is watched by no stage: name it in a stage's `gates`, or set `standing: true` "
            "(at 100 % stable has no traffic to compare with)"
        )
    ]


@pytest.mark.parametrize("odd", [0.5, 0, 1001, "guess", True, None, [2]])
def test_a_dispersion_that_makes_no_sense_is_one_complaint_about_the_field(odd: object) -> None:
    (sentence,) = complaints(written(strategy=None, gates={"errors": ERRORS | {"dispersion": odd}}))
    assert sentence.startswith("gates.errors.dispersion: must be auto, or a number from 1 to 1000")


@pytest.mark.parametrize("fine", ["auto", 1, 2.5, 1000])
def test_a_dispersion_is_auto_or_a_number(fine: object) -> None:
    gate = spec(strategy=None, gates={"errors": ERRORS | {"dispersion": fine}}).gates["errors"]
    assert gate.model_dump()["dispersion"] == fine


# ── Whatever a workflow may be started with ─────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ((), "a rollout needs exactly one input, the spec as a JSON object, but none was given"),
        ((None,), "a rollout needs exactly one input, the spec as a JSON object, but none was given"),
        ((written(), 1), "a rollout needs exactly one input, the spec as a JSON object, but 2 were given"),
        ((1,), "the spec must be a JSON object, not '1'"),
        (([],), "the spec must be a JSON object, not '[]'"),
        (("schema: 1\nservice: checkout",), "the spec must be a JSON object, not 'schema: 1\\nservice: checkout'"),
        (("x" * 5000,), f"the spec must be a JSON object, not '{'x' * 60}'"),
    ],
)
def test_an_input_that_is_no_spec_is_answered_with_a_sentence(inputs: tuple[object, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^(a rollout needs|the spec must be)") as refused:
        read_spec(inputs)
    assert str(refused.value) == sentence


@given(st.sampled_from(sorted(written(policy={}, schema=1, requested_by="ana"))), json_values)
@LIGHT
def test_no_value_of_any_field_gets_past_the_reader(field: str, value: object) -> None:
    with suppress(ValueError):  # and nothing else: anything else would leave the workflow stuck
        read_spec((written() | {field: value},))


# ── Reading and writing ─────────────────────────────────────────────────────────────────────────


@given(written_specs())
@LIGHT
def test_a_spec_that_is_rendered_and_read_is_the_same_spec(whole: dict[str, Any]) -> None:
    there = RolloutSpec.model_validate(whole)
    rendered = there.model_dump(by_alias=True, mode="json")
    back = RolloutSpec.model_validate(rendered)
    assert back == there
    assert back.model_dump(by_alias=True, mode="json") == rendered
    assert RolloutSpec.model_validate_json(there.model_dump_json()) == there


@given(written_specs())
@LIGHT
def test_the_percents_of_every_spec_rise_strictly_and_end_at_100(whole: dict[str, Any]) -> None:
    percents = [stage.percent for stage in RolloutSpec.model_validate(whole).strategy.stages]
    assert percents == sorted(set(percents))
    assert percents[0] > 0
    assert percents[-1] == 100
