"""The answer of `GET /api/v1/rules?type=alert`, decoded: Prometheus', and that of everything with its HTTP API.

Nothing in here makes a gate wrong: a server that cannot say how its rules fare is one that does not answer. Warnings
are refused as for queries: with half of a ruler away, a rule that is not listed is not a rule that does not exist.
"""

import json
from datetime import datetime
from typing import Any, Literal

from rollout.errors import MetricsUnavailable
from rollout.judge.alert import Alert, AlertRule

PATH = "rules"
PARAMETERS = {"type": "alert"}
_HINTS = {
    401: "is the token there and valid?",
    403: "is the token allowed to read rules?",
    404: "does this server evaluate alerting rules?",
}


def decoded(status: int, content_type: str, body: bytes) -> tuple[AlertRule, ...]:
    """Every alerting rule, group by group.

    Raises:
        MetricsUnavailable: it is no complete answer, or not understood.
    """
    try:
        said = dict(json.loads(body))
    except (TypeError, ValueError, RecursionError) as error:
        what = f"HTTP {status} with {content_type or 'nothing'} instead of JSON"
        raise MetricsUnavailable(f"{what}; {_HINTS.get(status, 'is a login page or a proxy in front?')}") from error
    if said.get("status") != "success" or status != 200:
        words = str(said.get("error", ""))[:500]
        raise MetricsUnavailable(": ".join(filter(None, [f"HTTP {status}", words, _HINTS.get(status)])))
    if said.get("warnings"):
        raise MetricsUnavailable(f"the rules may be partial: {'; '.join(map(str, said['warnings']))[:500]}")
    try:
        groups = said["data"]["groups"]
        return tuple(
            _rule(group.get("name", ""), rule)
            for group in groups
            for rule in group.get("rules", [])
            if rule.get("type", "alerting") == "alerting"
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MetricsUnavailable(f"the rules are not understood: {type(error).__name__} {error}"[:300]) from error


def _rule(group: str, rule: dict[str, Any]) -> AlertRule:
    return AlertRule(
        name=str(rule["name"]),
        group=str(group),
        health=_health(rule["health"]),
        error=str(rule.get("lastError", "")),
        labels=dict(rule.get("labels") or {}),
        annotations=dict(rule.get("annotations") or {}),
        alerts=tuple(_alert(alert) for alert in rule.get("alerts") or () if alert["state"] in {"firing", "pending"}),
    )


def _health(said: str) -> Literal["ok", "err", "unknown"]:
    match said:
        case "ok" | "err" | "unknown":
            return said
        case _:
            raise ValueError(f"health {said!r}")


def _alert(alert: dict[str, Any]) -> Alert:
    since = datetime.fromisoformat(alert["activeAt"])  # nanoseconds are cut
    if since.tzinfo is None:
        raise ValueError(f"activeAt {alert['activeAt']!r} has no zone")
    return Alert(
        labels=dict(alert["labels"]), firing=alert["state"] == "firing", since_ms=int(since.timestamp() * 1000)
    )
