"""`plan`, `schema`, and the examples that people copy."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from starter.specfile import load
from starter.specs import spec_schema
from tests.starter.typing_it import typed

EXAMPLES = Path(__file__).parents[2] / "examples"
SPECS = sorted([*EXAMPLES.glob("*.yaml"), *EXAMPLES.glob("*.json")])
RULES = EXAMPLES.parent / "deploy" / "compose" / "rules.yml"


@pytest.mark.parametrize("example", SPECS, ids=lambda path: path.name)
def test_every_example_is_valid_and_fits_the_schema(example: Path) -> None:
    assert typed("validate", example).code == 0
    Draft202012Validator(spec_schema()).validate(load(str(example)).written)


def test_the_schema_is_one_and_says_which() -> None:
    answer = typed("schema")
    printed = json.loads(answer.out)
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert printed["title"] == "RolloutSpec"
    Draft202012Validator.check_schema(printed)


def test_the_schema_refuses_an_unknown_field() -> None:
    written = load(str(EXAMPLES / "checkout.json")).written
    with pytest.raises(ValidationError, match="'sevrice' was unexpected"):
        Draft202012Validator(spec_schema()).validate({**written, "sevrice": 1})


@pytest.mark.parametrize("name", ["canary-envoy.yaml", "canary-nginx.yaml", "blue-green-alb.yaml", "checkout.yaml"])
def test_the_example_gate_is_the_alerting_rule_word_for_word(name: str) -> None:
    (group,) = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    (rule,) = group["rules"]
    gate = load(str(EXAMPLES / name)).written["gates"]["hard-5xx"]
    assert (gate["query"], gate["for"]) == (rule["expr"], rule["for"])


def test_a_plan_is_a_table_without_frames_for_a_pipe() -> None:
    answer = typed("plan", EXAMPLES / "canary-envoy.yaml")
    assert (answer.code, answer.err) == (0, "")
    proven = "proven by counts, then rollback"
    assert answer.out.splitlines() == [
        "checkout 1.41.3 → 1.42.0 in prod: canary 5 % → 25 % → 50 % → 100 % on envoy edge-1/checkout",
        "STAGE        PERCENT  BAKE  GATES                      APPROVAL",
        "internal QA  5 %      1h    errors, latency, hard-5xx  qa, after the bake, within 1d, else rollback",
        "early users  25 %     30m   errors, latency, hard-5xx",
        "half         50 %     1h    errors, latency, hard-5xx",
        "everyone     100 %    30m   hard-5xx",
        "route     envoy edge-1/checkout",
        f"gate      errors: bad when more than 1.25× stable's errors, {proven}",
        f"gate      latency: bad when more than 1.25× stable's requests slower than 0.3s, {proven}",
        "gate      hard-5xx: bad when above 0.05 for 2m, then rollback",
        "shortest  3h of bakes, and 1 approval",
        "longest   2d, then it goes back",
    ]


def test_a_plan_has_colours_and_frames_for_a_person() -> None:
    answer = typed("plan", EXAMPLES / "canary-envoy.yaml", env={"FORCE_COLOR": "1", "COLUMNS": "120"})
    assert "\x1b[1m" in answer.out
    assert "────" in answer.out


def test_a_plan_is_one_object_for_a_machine() -> None:
    plan: dict[str, Any] = json.loads(typed("plan", EXAMPLES / "canary-envoy.yaml", "--json").out)
    assert [stage["percent"] for stage in plan["stages"]] == [5, 25, 50, 100]
    assert plan["stages"][0]["approval"] == {"from": ["qa"], "within": "P1D", "then": "rollback", "before": False}
    assert plan["routes"] == ["envoy edge-1/checkout"]
    assert plan["workflow_id"] == "rollout:prod/checkout"
    assert (plan["shortest_s"], plan["longest_s"]) == (3 * 3600, 48 * 3600)
