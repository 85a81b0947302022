"""The answer about alerting rules: everything in it, or no data."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.rules_answer import decoded
from rollout.errors import MetricsUnavailable
from rollout.judge.alert import Alert, AlertRule

RULE: dict[str, Any] = {
    "state": "firing",
    "name": "CanaryHighErrorRate",
    "query": "x > 0.05",
    "duration": 120,
    "labels": {"severity": "critical"},
    "annotations": {"action": "auto_rollback"},
    "alerts": [
        {
            "labels": {"alertname": "CanaryHighErrorRate", "severity": "critical"},
            "annotations": {"action": "auto_rollback"},
            "state": "firing",
            "activeAt": "2026-11-22T03:00:00.123456789Z",
            "value": "1e-01",
        }
    ],
    "health": "ok",
    "evaluationTime": 0.0003,
    "lastEvaluation": "2026-11-22T03:02:00Z",
    "type": "alerting",
}


def answer(*rules: dict[str, Any], **more: Any) -> bytes:
    groups = [{"name": "canary", "file": "rules.yml", "rules": list(rules), "interval": 1}]
    return json.dumps({"status": "success", "data": {"groups": groups}, **more}).encode()


def test_a_rule_is_read_with_its_alerts() -> None:
    [rule] = decoded(200, "application/json", answer(RULE))
    assert rule == AlertRule(
        "CanaryHighErrorRate",
        group="canary",
        labels={"severity": "critical"},
        annotations={"action": "auto_rollback"},
        alerts=(Alert({"alertname": "CanaryHighErrorRate", "severity": "critical"}, True, 1_795_316_400_123),),
    )


def test_a_rule_in_error_says_why() -> None:
    [rule] = decoded(200, "", answer({**RULE, "health": "err", "lastError": "many-to-many", "alerts": []}))
    assert (rule.health, rule.error, rule.alerts) == ("err", "many-to-many", ())


def test_recording_rules_and_inactive_alerts_are_left_out() -> None:
    inactive = {**RULE["alerts"][0], "state": "inactive"}
    recording = {"type": "recording", "name": "job:x:sum", "health": "ok"}
    [rule] = decoded(200, "", answer(recording, {**RULE, "alerts": [inactive]}))
    assert rule.alerts == ()


@pytest.mark.parametrize("missing", ["labels", "annotations", "alerts"])
@pytest.mark.parametrize("null", [True, False])
def test_what_others_leave_out_is_empty(missing: str, null: bool) -> None:
    rule = {**RULE, missing: None} if null else {name: value for name, value in RULE.items() if name != missing}
    assert not getattr(decoded(200, "", answer(rule))[0], missing)


def test_a_server_without_rules_has_none() -> None:
    assert decoded(200, "", b'{"status": "success", "data": {"groups": []}}') == ()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>", "HTTP 200 with text/html instead of JSON; is a login page or a proxy in front"),
        (404, b"404 page not found", "does this server evaluate alerting rules"),
        (401, b"{}", "HTTP 401: is the token there and valid"),
        (503, b'{"status":"error","error":"not ready"}', "HTTP 503: not ready"),
        (400, b'{"status":"error","error":"bad"}', "HTTP 400: bad"),
        (200, b"[" * 100_000, "instead of JSON"),
        (200, answer(RULE, warnings=["ruler 3 is away"]), "the rules may be partial: ruler 3 is away"),
        (200, b'{"status": "success"}', "the rules are not understood: KeyError 'data'"),
        (200, answer({**RULE, "health": "fine"}), "health 'fine'"),
        (200, answer({"name": "x"}), "the rules are not understood: KeyError 'health'"),
        (200, answer({**RULE, "alerts": [{**RULE["alerts"][0], "activeAt": "soon"}]}), "not understood"),
        (200, answer({**RULE, "alerts": [{**RULE["alerts"][0], "activeAt": "2026-11-22T03:00:00"}]}), "has no zone"),
    ],
)
def test_everything_else_is_no_data(status: int, body: bytes, words: str) -> None:
    with pytest.raises(MetricsUnavailable) as unavailable:
        decoded(status, "text/html", body)
    assert words in str(unavailable.value)


@given(st.integers(100, 599), st.binary(max_size=60) | st.builds(answer, st.dictionaries(st.text(), st.none())))
def test_whatever_comes_is_rules_or_no_data(status: int, body: bytes) -> None:
    with suppress(MetricsUnavailable):
        assert isinstance(decoded(status, "", body), tuple)
