"""Gates that ask "is it bad now?": what may be written, what is refused and with which sentence."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from rollout.gates.alert import AlertGate
from rollout.gates.base import AnyGate
from rollout.gates.ceiling import CeilingGate
from rollout.gates.probe import ProbeGate
from rollout.gates.threshold import ThresholdGate
from rollout.gates.web import WebGate
from tests.rollout.given import ARTICLE, gate

PROBE = {"connection": "edge", "path": "/healthz"}
WEB = {"connection": "scores", "path": "/api/score", "pointer": "/score", "above": 1}

NO_TWIN = (
    "stable's query cannot be read off the candidate's: it does not ask for "
    'version="canary"; write it as `unless_baseline`'
)
ONLY_HOLDS = (
    "worse_than can only hold: samples of a gauge are not independent, so no false-alarm rate can be promised; "
    "write `on_breach: hold`, or a limit of its own with `above`"
)


def complaint(kind: type[AnyGate], **fields: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        kind.model_validate(fields)
    return refused.value.errors()[0]["msg"].removeprefix("Value error, ")


# ── threshold: its two options ──────────────────────────────────────────────────────────────────


def test_a_pasted_rule_alone_asks_one_question() -> None:
    pasted = ThresholdGate.model_validate({"query": f"{ARTICLE} > 0.05", "for": "2m"})
    assert pasted.queries == (ARTICLE,)
    assert pasted.baseline is None
    assert pasted.least_requests == 0


@pytest.mark.parametrize(("limit", "least"), [(0.05, 20), (0.01, 100), (0.1, 10), (0.3, 4), (0.003, 334), (5, 1)])
def test_as_many_requests_are_enough_as_keep_one_bad_one_within_the_limit(limit: float, least: int) -> None:
    assert gate(above=limit, requests="n").least_requests == least
    assert gate(above=limit, requests="n", min_requests=7).least_requests == 7


def test_stable_is_asked_the_same_question() -> None:
    both = gate(query=f"{ARTICLE}", requests="n", unless_baseline=True)
    assert both.queries == (ARTICLE, "n", ARTICLE.replace('"canary"', '"stable"'))
    assert both.limit == "above 0.05 for 2m, from 20 requests on, if above 2× stable's"


def test_stable_s_versions_may_have_other_names() -> None:
    named = gate(
        query='x{release="v2"}',
        unless_baseline=True,
        versions={"label": "release", "candidate": "v2", "stable": "v1"},
    )
    assert named.baseline == 'x{release="v1"}'


def test_stable_s_rule_may_be_pasted_too() -> None:
    assert gate(unless_baseline="y > 0.05").baseline == "y"
    assert gate(unless_baseline="y").queries == ("x", "y")
    assert gate(unless_baseline=False).queries == ("x",)


def test_below_is_worse_than_stable_when_it_is_a_part_of_it() -> None:
    low = gate(above=None, below=0.9, unless_baseline="y", baseline_factor=3)
    assert low.is_worse(0.2, 0.9)
    assert not low.is_worse(0.4, 0.9)
    assert low.limit == "below 0.9 for 2m, if below stable's / 3"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"min_requests": 5}, "min_requests needs `requests`, the query that says how many there are"),
        (
            {"above": None, "below": 0.9, "requests": "n"},
            "write min_requests: only a limit `above` a number greater than 0 says by itself how many are enough",
        ),
        (
            {"above": 0, "requests": "n"},
            "write min_requests: only a limit `above` a number greater than 0 says by itself how many are enough",
        ),
        (
            {"unless_baseline": True},
            NO_TWIN,
        ),
        ({"min_requests": 0, "requests": "n"}, "Input should be greater than or equal to 1"),
        ({"unless_baseline": "y", "baseline_factor": 0.5}, "Input should be greater than or equal to 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(fields: dict[str, Any], sentence: str) -> None:
    assert complaint(ThresholdGate, **{"query": "x", "above": 0.05, **fields}) == sentence


# ── ceiling ─────────────────────────────────────────────────────────────────────────────────────


def test_a_ceiling_of_its_own_may_roll_back() -> None:
    own = CeilingGate.model_validate({"query": "memory / limit", "above": 0.9, "for": "5m"})
    assert (own.on_breach, own.limit, own.compares) == ("rollback", "above 0.9 for 5m", False)
    assert own.is_bad(0.91)
    assert not own.is_bad(float("nan"))


@pytest.mark.parametrize("share", ["20%", "20 %", " 20.0% ", 0.2, "0.2"])
def test_a_ceiling_relative_to_stable_only_holds(share: object) -> None:
    relative = CeilingGate.model_validate({"query": "memory", "worse_than": share})
    assert (relative.worse_than, relative.on_breach, relative.compares) == (0.2, "hold", True)
    assert relative.limit == "20 % above stable's upper quarter of pods, in blocks of 1m"
    assert not relative.is_bad(1e9)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "a ceiling gate needs one of `above`, `below` and `worse_than`"),
        ({"above": 1, "worse_than": 0.2}, "a ceiling gate needs one of `above`, `below` and `worse_than`"),
        (
            {"worse_than": 0.2, "on_breach": "rollback"},
            ONLY_HOLDS,
        ),
        (
            {"worse_than": 0.2, "for": "2m"},
            "`for` belongs to `above` and `below`; worse_than counts blocks, see `block`",
        ),
        ({"above": 1, "block": "30s"}, "`block` belongs to `worse_than`; with `above` or `below` write `for`"),
        ({"worse_than": 0.2, "block": "0s"}, "a block must be at least 1s long"),
        ({"worse_than": 20}, "Input should be less than or equal to 10"),
        ({"worse_than": "much%"}, "Input should be a valid number, unable to parse string as a number"),
        ({"worse_than": 0}, "Input should be greater than 0"),
    ],
)
def test_a_ceiling_asks_one_question(fields: dict[str, Any], sentence: str) -> None:
    assert complaint(CeilingGate, query="x", **fields) == sentence


# ── alert ───────────────────────────────────────────────────────────────────────────────────────


def test_rules_are_named_or_found_by_their_annotation() -> None:
    assert AlertGate(name="Slow").limit == "Slow firing"
    found = AlertGate(annotation={"action": "auto_rollback"}, labels={"service": "checkout"})
    assert found.limit == "every rule annotated action: auto_rollback firing for service=checkout"
    assert found.for_ == timedelta(0)


@pytest.mark.parametrize("fields", [{}, {"name": "A", "annotation": {"action": "x"}}, {"annotation": {}}])
def test_an_alert_is_found_in_one_way(fields: dict[str, Any]) -> None:
    sentence = "an alert gate needs one of `name` (an alerting rule) and `annotation` (every rule that carries it)"
    assert complaint(AlertGate, **fields) == sentence


def test_an_alert_has_no_for_of_its_own() -> None:
    assert complaint(AlertGate, **{"name": "A", "for": "2m"}) == "Extra inputs are not permitted"


# ── probe, web ──────────────────────────────────────────────────────────────────────────────────


def test_a_probe_says_what_it_would_mind() -> None:
    probe = ProbeGate.model_validate({**PROBE, "status": [200, 204], "slower_than": "1s", "contains": "ok"})
    assert probe.limit == "GET /healthz: status other than 200 or 204 or slower than 1s or without 'ok' for 15s"
    assert ProbeGate.model_validate({**PROBE, "status": 404, "for": 0}).limit == "GET /healthz: status other than 404"


def test_a_probe_forces_the_candidate_unless_it_is_told_not_to() -> None:
    assert ProbeGate.model_validate(PROBE).header is not None
    assert ProbeGate.model_validate({**PROBE, "header": None}).header is None


@pytest.mark.parametrize(
    ("kind", "fields", "sentence"),
    [
        (ProbeGate, {"path": "/x"}, "Field required"),
        (WebGate, {"path": "/x", "pointer": "", "above": 1}, "Field required"),
        (
            ProbeGate,
            {**PROBE, "method": "HEAD", "contains": "ok"},
            "the answer to HEAD has no body that could contain anything: write method: GET",
        ),
        (ProbeGate, {**PROBE, "slower_than": "0s"}, "every answer is slower than 0s"),
        (ProbeGate, {**PROBE, "method": "POST"}, "Input should be 'GET' or 'HEAD'"),
        (ProbeGate, {**PROBE, "status": []}, "Tuple should have at least 1 item after validation, not 0"),
        (ProbeGate, {**PROBE, "status": 99}, "Input should be greater than or equal to 100"),
        (WebGate, {**WEB, "above": None}, "a web gate needs one of `above`, `below` and `equals`: what is bad"),
        (WebGate, {**WEB, "equals": 0}, "a web gate needs one of `above`, `below` and `equals`: what is bad"),
    ],
)
def test_what_cannot_be_asked_is_refused(kind: type[AnyGate], fields: dict[str, Any], sentence: str) -> None:
    assert complaint(kind, **fields) == sentence


@pytest.mark.parametrize(
    "path",
    [
        "healthz",
        "http://169.254.169.254/latest",
        "//elsewhere/x",
        "/a/../../admin",
        "/a/%2e%2e/admin",
        "/..%2fadmin",
        "/a/..%5cadmin",
        "/a\\..\\b",
        "/a b",
        "/a\r\nHost: x",
        "/a%0d%0aHost: x",
        "/ä",
        "/a#b",
        "",
    ],
)
@pytest.mark.parametrize("kind", [ProbeGate, WebGate])
def test_a_path_cannot_become_an_address(kind: type[AnyGate], path: str) -> None:
    fields = PROBE if kind is ProbeGate else WEB
    with pytest.raises(ValidationError) as refused:
        kind.model_validate({**fields, "path": path})
    assert [error["loc"] for error in refused.value.errors()] == [("path",)]


@pytest.mark.parametrize("path", ["/", "/healthz", "/a/b.c/..d?x=../y&z=%20"])
def test_paths_below_the_connection_are_fine(path: str) -> None:
    assert ProbeGate.model_validate({**PROBE, "path": path}).path == path


@pytest.mark.parametrize(
    "name", ["Host", "authorization", "Cookie", "X-Forwarded-Host", "Transfer-Encoding", "X-HTTP-Method-Override"]
)
def test_a_spec_chooses_no_host_user_or_method(name: str) -> None:
    sentence = f"header {name} belongs to the connection in the worker's settings, not into a spec"
    assert complaint(ProbeGate, **PROBE, header={"name": name, "value": "x"}) == sentence


def test_a_header_is_one_line() -> None:
    assert "pattern" in complaint(ProbeGate, **PROBE, header={"name": "X-A", "value": "x\r\nHost: y"})


@pytest.mark.parametrize("pointer", ["a", "/a~2", "/~"])
def test_a_pointer_is_a_json_pointer(pointer: str) -> None:
    assert "pattern" in complaint(WebGate, **{**WEB, "pointer": pointer})


def test_a_web_gate_s_limits_are_comparisons() -> None:
    assert [WebGate.model_validate(WEB).is_bad(value) for value in (1.0, 1.5, float("nan"))] == [False, True, False]
    low = WebGate.model_validate({**WEB, "above": None, "below": 0.5, "for": "1m"})
    assert (low.is_bad(0.4), low.is_bad(0.5), low.limit) == (True, False, "below 0.5 for 1m")
    zero = WebGate.model_validate({**WEB, "above": None, "equals": 0})
    assert (zero.is_bad(0.0), zero.is_bad(1.0), zero.limit) == (True, False, "equal to 0")


# ── Always ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "there",
    [
        gate(query=ARTICLE, requests="n", unless_baseline=True),
        gate(unless_baseline="y > 0.05"),
        CeilingGate(query="x", above=1),
        CeilingGate(query="x", worse_than=0.25, block=timedelta(seconds=30)),
        AlertGate(annotation={"action": "auto_rollback"}, labels={"service": "checkout"}),
        ProbeGate.model_validate({**PROBE, "status": [200, 301], "header": {"value": "1"}}),
        ProbeGate.model_validate({**PROBE, "header": None}),
        WebGate.model_validate({**WEB, "for": "1m"}),
    ],
)
@pytest.mark.parametrize("alias", [True, False])
def test_a_gate_survives_the_wire(there: AnyGate, alias: bool) -> None:
    assert type(there).model_validate_json(there.model_dump_json(by_alias=alias)) == there
