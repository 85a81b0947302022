"""A spec's mistakes, each as a sentence with the file and the line."""

import json
from pathlib import Path

import pytest

from tests.starter.typing_it import typed

SPEC = """\
schema: 1
service: checkout
environment: prod
release:
  candidate: "1.42.0"
  stable: "1.41.3"
strategy:
  kind: canary
  stages:
    - name: internal QA
      percent: 5
      bake: 10m
      gates: [errors]
      approval: {from: [qa], within: 1h}
    - percent: 50
      bake: 30m
    - percent: 100
      bake: 10m
routes:
  - kind: envoy
    connection: edge-1
    service: checkout
gates:
  errors:
    kind: threshold
    query: errors / requests
    above: 0.05
    for: 2m
approvals:
  people: [qa]
policy:
  poll: 5s
  max_duration: 4h
"""


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def changed(before: str, after: str) -> str:
    assert before in SPEC
    return SPEC.replace(before, after, 1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (changed("percent: 5\n", "percentage: 5\n"), "11: strategy.stages[0].percentage: unknown field"),
        (changed("percent: 5\n", "percentage: 5\n"), "10: strategy.stages[0].percent: is missing"),
        (changed("percent: 5\n", "percent: 105\n"), "11: strategy.stages[0].percent: Input should be less than or "),
        (changed("percent: 50", "percent: 5"), "7: strategy: percents must strictly rise: 5 % comes after 5 %"),
        (changed("percent: 100", "percent: 90"), "7: strategy: the last stage must be 100 %, not 90 %"),
        (
            changed("bake: 30m", "bake: 9s"),
            "16: strategy.stages[1] (50 %).bake: 9s is shorter than two polls of 5s: it could see nothing",
        ),
        (
            changed("gates: [errors]", "gates: [erorrs]"),
            "13: strategy.stages[0] (internal QA).gates: 'erorrs' is not one of gates: errors",
        ),
        (
            changed("people: [qa]", "people: [sre]"),
            "14: strategy.stages[0] (internal QA).approval.from: 'qa' is not one of approvals.people: sre",
        ),
        (
            changed("kind: canary", "kind: big-bang"),
            "8: strategy.kind: unknown kind; known are canary, blue-green, rolling, flag (got 'big-bang')",
        ),
        (
            changed("kind: envoy", "kind: apache"),
            (
                "20: routes[0].kind: unknown kind; known are envoy, nginx, haproxy, alb, ecs, lambda-alias, "
                "gateway-api, ingress-nginx, istio, replicas, rolling-update, launchdarkly, unleash, flagd (got "
                "'apache')"
            ),
        ),
        (changed("  stable:", "  stabel:"), "6: release.stabel: unknown field; remove it or mend its spelling"),
        (changed("  stable:", "  stabel:"), "4: release.stable: is missing"),
        (
            changed('"1.42.0"', "1.10"),
            "5: release.candidate: Input should be a valid string (got 1.1); write it in quotes",
        ),
        (changed("poll: 5s", "poll: 1:30"), "32: policy.poll: write a duration such as 90s, 5m, 1h30m, PT5M or "),
        (changed("    above: 0.05\n", ""), "24: gates.errors: a threshold gate needs one of `above` and `below`"),
        (
            changed("max_duration: 4h", "max_duration: 50m"),
            "33: policy.max_duration is not longer than the bakes together: the rollout could never finish",
        ),
        (changed("    kind: threshold\n", "    for: 1m\n"), "28: the key 'for' is there twice, first in line 25"),
        (changed("routes:", "routes"), "20: this is not YAML: "),
        ("- a\n", "1: a spec is a mapping: service, environment, release, …"),
        ("", "1: it is empty"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, complaint: str) -> None:
    Path("checkout.yaml").write_text(text, encoding="utf-8")
    answer = typed("validate", "checkout.yaml")
    assert (answer.code, answer.out) == (1, "")
    assert any(line.startswith(f"checkout.yaml:{complaint}") for line in answer.err.splitlines()), answer.err


def test_the_line_of_a_gate_that_nobody_watches_is_the_gates() -> None:
    gate = "gates:\n  idle: {query: x, above: 1}\n"
    text = changed("gates:\n", gate).replace("bake: 30m", "bake: 30m\n      gates: [errors]")
    Path("s.yaml").write_text(text.replace("bake: 10m\nroutes", "bake: 10m\n      gates: [errors]\nroutes"), "utf-8")
    answer = typed("validate", "s.yaml")
    assert answer.err.startswith("s.yaml:26: gates.idle is watched by no stage: name it in a stage's `gates`")


def test_every_mistake_is_told_once_in_the_order_of_lines() -> None:
    text = changed("percent: 5\n", "percentage: 5\n").replace("kind: envoy", "kind: alb").replace("1.41.3", "")
    Path("checkout.yaml").write_text(text, encoding="utf-8")
    lines = [int(line.split(":")[1]) for line in typed("validate", "checkout.yaml").err.splitlines()]
    assert lines == sorted(lines) == [6, 10, 11, 20]


def test_a_machine_gets_the_mistakes_as_json() -> None:
    Path("checkout.yaml").write_text(changed("kind: canary", "kind: x"), encoding="utf-8")
    answer = typed("validate", "checkout.yaml", "--json")
    assert (answer.code, answer.err) == (1, "")
    assert json.loads(answer.out) == {
        "valid": False,
        "complaints": [
            {
                "line": 8,
                "sentence": "strategy.kind: unknown kind; known are canary, blue-green, rolling, flag (got 'x')",
            }
        ],
    }


def test_a_good_spec_is_ok_and_sent_as_it_was_written() -> None:
    Path("checkout.yaml").write_text(SPEC, encoding="utf-8")
    answer = typed("validate", "checkout.yaml")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        "checkout.yaml: ok",
        "checkout 1.41.3 → 1.42.0 in prod: canary 5 % → 50 % → 100 % on envoy edge-1/checkout",
    ]
    sent = json.loads(typed("validate", "checkout.yaml", "--json").out)["spec"]
    assert sent["strategy"]["stages"][1] == {"percent": 50, "bake": "30m"}
    assert "requested_by" not in sent


def test_json_is_read_from_standard_input_with_tabs_and_any_escape() -> None:
    spec = {
        "service": "checkout",
        "environment": "prod",
        "release": {"candidate": "\N{ROCKET}/1", "stable": "1"},
        "routes": [{"kind": "envoy", "connection": "edge-1", "service": "checkout"}],
    }
    text = json.dumps(spec, indent="\t").replace("/", "\\/")
    answer = typed("validate", "-", "--json", stdin=text)
    assert json.loads(answer.out) == {"valid": True, "workflow_id": "rollout:prod/checkout", "spec": spec}
    assert typed("validate", "-", stdin=text.replace("edge-1", "/")).err.startswith(
        "stdin:11: routes[0].connection: String should match pattern"
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{\n "service": "a",\n}', "3: this is not JSON: "),
        ('{\n "a": 1,\n "a": 2}', "3: the key 'a' is there twice, first in line 2"),
        ('{"a": NaN}', "1: NaN is not a number"),
        ("service: a", "1: this is not JSON: Expecting value"),
        ("[" * 100_000, "1: it is nested too deeply"),
    ],
)
def test_a_file_that_says_it_is_json_must_be(text: str, complaint: str) -> None:
    Path("checkout.json").write_text(text, encoding="utf-8")
    answer = typed("validate", "checkout.json")
    assert answer.code == 1
    assert answer.err.startswith(f"checkout.json:{complaint}")


def test_json_that_is_no_yaml_is_still_json() -> None:
    spec = (
        '{"service"\n: "checkout", "environment": "prod", "release": {"candidate": "2", "stable": "1\\u007f"}, "x": 1,'
    )
    routes = ' "routes": [{"kind": "envoy", "connection": "e", "service": "checkout"}]}'
    Path("s.json").write_text(spec + routes, encoding="utf-8")
    assert typed("validate", "s.json").err == "s.json:1: x: unknown field; remove it or mend its spelling\n"


def test_a_file_that_is_no_text_is_refused_by_line() -> None:
    Path("s.yaml").write_bytes(b"service: checkout\nenvironment: \xff\n")
    assert typed("validate", "s.yaml").err == "s.yaml:2: this is not UTF-8 text\n"


def test_a_missing_file_is_wrong_use() -> None:
    answer = typed("validate", "nowhere.yaml")
    assert (answer.code, answer.out, answer.err) == (2, "", "nowhere.yaml: No such file or directory\n")
    assert typed("validate", ".").code == 2


def test_a_spec_cannot_steer_the_terminal() -> None:
    Path("s.yaml").write_text(changed("kind: canary", 'kind: "\\e[31mred"'), encoding="utf-8")
    assert "\x1b" not in typed("validate", "s.yaml").err
