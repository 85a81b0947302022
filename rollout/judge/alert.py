"""`alert`: what the metrics server says about its own alerting rules, as a tick for `threshold.py`.

A rule that is not there, was never evaluated or fails to evaluate says nothing: its silence is missing data, never
health. A pending alert is undecided, so that a bake does not end while the rule is making up its mind.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from rollout.gates.alert import AlertGate
from rollout.judge import labels
from rollout.judge.threshold import Excuse, Tick, text_seconds


class Alert(NamedTuple):
    """One label set of a rule that is bad now.

    Attributes:
        labels: the rule's and the series' labels, `alertname` included.
        firing: whether it fires; otherwise it is pending.
        since_ms: when it became active, Unix milliseconds: before `for:` began, not after.
    """

    labels: Mapping[str, str]
    firing: bool
    since_ms: int


class AlertRule(NamedTuple):
    """One alerting rule as the server evaluates it.

    Attributes:
        name: of the alert.
        group: that it is in.
        health: `unknown` until it is evaluated for the first time.
        error: why its last evaluation failed; empty if it did not.
        labels: that the rule itself adds.
        annotations: that the rule itself has, templates unexpanded.
        alerts: what is pending or firing.
    """

    name: str
    group: str = ""
    health: Literal["ok", "err", "unknown"] = "ok"
    error: str = ""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    alerts: tuple[Alert, ...] = ()

    @property
    def firing(self) -> tuple[str, ...]:
        """Label sets that fire, as text."""
        return tuple(labels.text(alert.labels) for alert in self.alerts if alert.firing)


def chosen(gate: AlertGate, rules: Sequence[AlertRule]) -> tuple[AlertRule, ...]:
    """The rules that a gate is about; one that adds another value of a wanted label is somebody else's."""

    def fits(rule: AlertRule) -> bool:
        named = rule.name == gate.name if gate.name is not None else gate.annotation.items() <= rule.annotations.items()
        return named and _ours(gate, rule.labels)

    return tuple(rule for rule in rules if fits(rule))


def judged(gate: AlertGate, rules: Sequence[AlertRule], now_ms: int) -> Tick:
    """What the rules say now, as something to fold: 1 for each alert, 0 for none, nothing with the reason."""
    ours = chosen(gate, rules)
    if not ours:
        return Tick({}, said=f"the metrics server has no alerting rule that is {_wanted(gate)}")
    alerts = [(rule, alert) for rule in ours if rule.health == "ok" for alert in _alerts(gate, rule)]
    firing = [(rule, alert) for rule, alert in alerts if alert.firing]
    unwell = [rule for rule in ours if rule.health != "ok"]
    if unwell and not firing:
        return Tick({}, said=_unwell(unwell[0]))
    if not alerts:
        many = "does not fire" if len(ours) == 1 else f"and {len(ours) - 1} more do not fire"
        return Tick({"": 0.0}, said=f"{ours[0].name} {many}")
    rule, alert = (firing or alerts)[0]
    lasted = text_seconds(max(0, now_ms - alert.since_ms))
    pending = Excuse("it does not fire yet", decided=False)
    return Tick(
        vector={labels.text(each.labels): 1.0 for _, each in alerts},
        said=f"{_called(rule, alert)} is {'firing' if alert.firing else 'pending'}, active for {lasted}",
        excuses={labels.text(each.labels): pending for _, each in alerts if not each.firing},
    )


def firing_before(gate: AlertGate, rules: Sequence[AlertRule], now_ms: int) -> str | None:
    """Why a rollout cannot start: an alert fires already, so it would say nothing about the candidate."""
    for rule in chosen(gate, rules):
        for alert in _alerts(gate, rule):
            if alert.firing:
                lasted = text_seconds(max(0, now_ms - alert.since_ms))
                return f"{_called(rule, alert)} is already firing, active for {lasted}: nothing new would be noticed"
    return None


def _ours(gate: AlertGate, carried: Mapping[str, str]) -> bool:
    return all(carried.get(name, value) == value for name, value in gate.labels.items())


def _alerts(gate: AlertGate, rule: AlertRule) -> list[Alert]:
    return [alert for alert in rule.alerts if _ours(gate, alert.labels)]


def _called(rule: AlertRule, alert: Alert) -> str:
    others = {name: value for name, value in alert.labels.items() if name != "alertname"}
    return " ".join(filter(None, [rule.name, labels.text(others)]))


def _wanted(gate: AlertGate) -> str:
    words = f"named {gate.name}" if gate.name is not None else f"annotated {labels.text(gate.annotation)}"
    return f"{words} and not for another {', '.join(gate.labels)}" if gate.labels else words


def _unwell(rule: AlertRule) -> str:
    if rule.health == "unknown":
        return f"{rule.name} has not been evaluated yet"
    return f"{rule.name} cannot be evaluated: {rule.error[:300] or 'the server does not say why'}"
