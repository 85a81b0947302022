"""`kayenta`: what may be written, what is refused and with which sentence."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from rollout.complaints import complaints
from rollout.gates import Gate, KayentaGate
from rollout.gates.kayenta import Effect
from rollout.spec import RolloutSpec
from tests.rollout.given import ladder, written

LATENCY = {"name": "latency", "candidate": "c", "stable": "s"}
CPU = LATENCY | {"name": "cpu"}


def kayenta(**changes: Any) -> KayentaGate:
    return KayentaGate.model_validate({"metrics": [LATENCY]} | changes)


def complaint(**changes: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        kayenta(**changes)
    return refused.value.errors()[0]["msg"].removeprefix("Value error, ")


def test_what_is_not_written_is_as_in_kayenta() -> None:
    gate = kayenta()
    assert (gate.pass_, gate.marginal, gate.on_breach) == (95, 75, "rollback")
    assert (gate.interval, gate.step) == (timedelta(minutes=20), timedelta(minutes=1))
    assert (gate.lookback, gate.warm_up) == (timedelta(0), timedelta(0))
    [metric] = gate.metrics
    assert (metric.direction, metric.nan, metric.outliers) == ("either", "remove", "keep")
    assert (metric.critical, metric.must_have_data, metric.counts_in) == (False, False, ("latency",))
    assert (metric.effect.allowed, metric.effect.critical) == ((1, 1), (1, 1))


def test_what_is_not_written_of_an_effect_is_no_difference() -> None:
    assert Effect(allowed_increase=1.2).allowed == (1, 1.2)
    assert Effect(measure="cles", allowed_decrease=0.4, critical_increase=0.9).allowed == (0.4, 0.5)
    assert Effect(measure="cles", critical_increase=0.9).critical == (0.5, 0.9)


def test_its_limit_ends_a_sentence() -> None:
    assert kayenta().limit == "score not above 75 at an interim, or below 95 at the end, judged every 20m"


def test_it_is_one_of_the_gates_and_the_same_when_written_down() -> None:
    told = {
        "kind": "kayenta",
        "metrics": [LATENCY | {"critical": True, "effect": {"critical_increase": 1.5}}, CPU | {"groups": ["a", "b"]}],
        "weights": {"latency": 50, "a": 30},
        "pass": 90,
        "interval": "10m",
        "lookback": "5m",
    }
    gates: TypeAdapter[Gate] = TypeAdapter(Gate)
    gate = gates.validate_python(told)
    assert isinstance(gate, KayentaGate)
    assert gates.validate_json(gate.model_dump_json(by_alias=True)) == gate


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"marginal": 96}, "marginal 96 is above pass 95: no last score could be between them"),
        ({"metrics": [LATENCY, CPU, LATENCY]}, "metrics name latency twice"),
        ({"interval": "30s"}, "interval 30s is shorter than a step of 1m: there is nothing to compare"),
        ({"step": "0s"}, "a step must be at least 1s long"),
        ({"lookback": "30s"}, "lookback 30s is shorter than a step of 1m: there is nothing to compare"),
        (
            {"metrics": [LATENCY, CPU], "weights": {"latncy": 50}},
            "weights name 'latncy', which is no metric's group; groups are latency, cpu",
        ),
        (
            {"metrics": [LATENCY, CPU], "weights": {"latency": 50, "cpu": 50.5}},
            "weights total 100.5, which is more than 100 percent",
        ),
        (
            {"weights": {"latency": 60}},
            "weights name every group and total 60: no score could be above that; make it 100",
        ),
        ({"metrics": [LATENCY | {"groups": ["a", "b", "a"]}]}, "groups name a twice"),
        (
            {"metrics": [LATENCY | {"effect": {"critical_increase": 2}}]},
            "effect.critical_increase belongs to a metric that is `critical: true`",
        ),
        (
            {"metrics": [LATENCY | {"effect": {"measure": "cles", "allowed_increase": 1.2}}]},
            "allowed_increase: cles is a share from 0 to 1 and never reaches 1.2",
        ),
    ],
)
def test_what_could_not_mean_anything_is_refused(changes: dict[str, Any], sentence: str) -> None:
    assert complaint(**changes) == sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": []},
        {"metrics": [LATENCY | {"name": f"m{number}"} for number in range(51)]},
        {"metrics": [LATENCY | {"direction": "up"}]},
        {"metrics": [LATENCY | {"nan": "ignore"}]},
        {"metrics": [LATENCY | {"criticl": True}]},
        {"metrics": [LATENCY | {"effect": {"allowed_increase": "nan"}}]},
        {"pass": 101},
        {"interval": "2y"},
    ],
)
def test_what_is_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    complaint(**changes)


def test_weights_may_leave_groups_out_and_thirds_add_up() -> None:
    assert kayenta(metrics=[LATENCY, CPU], weights={"cpu": 30}).weights == {"cpu": 30}
    thirds = {"latency": 33.3333333, "cpu": 33.3333333, "disk": 33.3333334}
    assert kayenta(metrics=[LATENCY, CPU, LATENCY | {"name": "disk"}], weights=thirds).weights == thirds


def test_without_stable_s_traffic_it_is_not_watched() -> None:
    gates = {"canary": {"kind": "kayenta", "metrics": [LATENCY]}}
    half, everyone = {"percent": 50, "bake": "1h"}, {"percent": 100, "bake": "1h"}
    spec = RolloutSpec.model_validate(written(strategy=ladder(half, everyone), gates=gates))
    assert [set(spec.gates_of(stage)) for stage in spec.strategy.stages] == [{"canary"}, set()]
    with pytest.raises(ValidationError) as refused:
        RolloutSpec.model_validate(written(strategy=ladder(half, everyone | {"gates": ["canary"]}), gates=gates))
    assert "canary compares the candidate with stable" in complaints(refused.value)[0]
