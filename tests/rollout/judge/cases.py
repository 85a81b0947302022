"""A `for:` rule and its samples, as our fold and as promtool see them.

Samples are written as promtool writes them: a number, `NaN`, `stale` (the series is gone), `_` (this scrape is missing;
Prometheus then answers with the last sample, up to five minutes old).
"""

import json
import random
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rollout.gates import ThresholdGate
from rollout.judge.threshold import Vector, fold
from rollout.judge.verdict import GateState, Verdict
from testbed.parts import binary

Ticks = list[list[str]]
"""For every evaluation the label sets that fire."""

_SAMPLES = ("0", "0.05", "0.0500001", "0.06", "0.9", "0.9", "0.9", "NaN", "Inf", "-Inf", "stale", "_")
_NONE = "-"
_MOST_MISSING = 3  # far below the five minutes for which Prometheus looks back


@dataclass(frozen=True)
class Case:
    """One rule, evaluated at 0, `interval_s`, 2 * `interval_s`, … seconds."""

    name: str
    interval_s: int
    for_s: int
    side: Literal["above", "below"]
    limit: float
    series: Mapping[str, tuple[str, ...]]

    @property
    def gate(self) -> ThresholdGate:
        return ThresholdGate.model_validate({"query": "x", self.side: self.limit, "for": self.for_s})

    @property
    def length(self) -> int:
        return max(map(len, self.series.values()))

    def vectors(self) -> list[Vector]:
        """The instant vector at every evaluation."""
        seen = {label: _seen(samples) for label, samples in self.series.items()}
        return [
            {label: value for label, values in seen.items() if (value := values[tick]) is not None}
            for tick in range(self.length)
        ]

    def verdicts(self, vectors: Iterable[Vector]) -> list[Verdict]:
        """What our fold says at every evaluation."""
        state, verdicts = GateState(watermark_ms=-1), []
        for tick, vector in enumerate(vectors):
            state = fold(self.gate, state, tick * self.interval_s * 1000, vector, counting=True)
            verdicts.append(state.verdict)
        return verdicts

    def firing(self) -> Ticks:
        """Label sets that fire, each one folded by itself; the whole is breached exactly when one of them fires."""
        alone = {
            label: self.verdicts({label: vector[label]} if label in vector else {} for vector in self.vectors())
            for label in self.series
        }
        ticks = [
            sorted(label for label in self.series if alone[label][tick] is Verdict.BREACHED)
            for tick in range(self.length)
        ]
        assert [verdict is Verdict.BREACHED for verdict in self.verdicts(self.vectors())] == [bool(t) for t in ticks]
        return ticks


def _seen(samples: tuple[str, ...]) -> list[float | None]:
    seen: list[float | None] = []
    for sample in samples:
        if sample == "_":
            seen.append(seen[-1] if seen else None)
        else:
            seen.append(None if sample == "stale" else float(sample))
    return seen


# ── Cases ───────────────────────────────────────────────────────────────────────────────────────


def recorded(file: Path) -> tuple[Case, Ticks]:
    """A case from its file, and what promtool says about it."""
    said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    series = {label: tuple(samples.split()) for label, samples in said["series"].items()}
    fields = {name: said[name] for name in ("interval_s", "for_s", "side", "limit")}
    firing = [[] if tick == _NONE else tick.split("+") for tick in said.get("firing", "").split()]
    return Case(name=file.stem, series=series, **fields), firing


def record(file: Path, case: Case, firing: Ticks) -> None:
    said = {
        "interval_s": case.interval_s,
        "for_s": case.for_s,
        "side": case.side,
        "limit": case.limit,
        "series": {label: " ".join(samples) for label, samples in case.series.items()},
        "firing": " ".join("+".join(labels) or _NONE for labels in firing),
    }
    file.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def at_random(count: int, seed: int) -> list[Case]:
    """Cases with runs of bad samples, gaps, NaN and several label sets."""
    draw = random.Random(seed)  # noqa: S311 - test data
    return [
        Case(
            name=f"random{number}",
            interval_s=draw.choice((5, 15, 30)),
            for_s=draw.choice((0, 5, 15, 20, 31, 60, 120)),
            side=draw.choice(("above", "above", "below")),
            limit=0.05,
            series={label: _samples(draw, 30) for label in "abc"[: draw.randint(1, 3)]},
        )
        for number in range(count)
    ]


def _samples(draw: random.Random, length: int) -> tuple[str, ...]:
    samples: list[str] = []
    while len(samples) < length:
        for sample in [draw.choice(_SAMPLES)] * draw.choice((1, 1, 2, 4, 9, 12)):
            enough = samples[-_MOST_MISSING:] == ["_"] * _MOST_MISSING
            samples.append("stale" if sample == "_" and enough else sample)
    return tuple(samples[:length])


def slightly_wrong(case: Case, firing: Ticks) -> Ticks:
    """An expectation that is wrong at one evaluation only: the last one at which anything changes."""
    ticks = [list(tick) for tick in firing]
    turn = max((tick for tick in range(1, len(ticks)) if ticks[tick] != ticks[tick - 1]), default=0)
    label = next(iter(case.series))
    ticks[turn] = [other for other in case.series if (other in ticks[turn]) != (other == label)]
    return ticks


# ── promtool ────────────────────────────────────────────────────────────────────────────────────


def promtool(cases: Iterable[tuple[Case, Ticks]], directory: Path) -> subprocess.CompletedProcess[str]:
    """Let promtool run the rules over the samples and compare what fires with what is expected."""
    groups = defaultdict(list)
    for case, firing in cases:
        groups[case.interval_s].append((replace(case, name=f"Case{case.name.title().replace('-', '')}"), firing))
    files = [_written(interval_s, group, directory) for interval_s, group in groups.items()]
    return subprocess.run(
        [binary("promtool"), "test", "rules", *files], capture_output=True, text=True, check=False, timeout=60
    )


def _written(interval_s: int, cases: list[tuple[Case, Ticks]], directory: Path) -> Path:
    rules = [
        {
            "alert": case.name,
            "expr": f'x{{case="{case.name}"}} {">" if case.side == "above" else "<"} {case.limit}',
            "for": f"{case.for_s}s",
        }
        for case, _ in cases
    ]
    tests = {
        "interval": f"{interval_s}s",
        "input_series": [
            {"series": f'x{{case="{case.name}",i="{label}"}}', "values": " ".join(samples)}
            for case, _ in cases
            for label, samples in case.series.items()
        ],
        "alert_rule_test": [
            {
                "eval_time": f"{tick * interval_s}s",
                "alertname": case.name,
                "exp_alerts": [{"exp_labels": {"case": case.name, "i": label}} for label in labels],
            }
            for case, firing in cases
            for tick, labels in enumerate(firing)
        ],
    }
    rule_file = directory / f"rules{interval_s}.json"  # JSON is YAML
    rule_file.write_text(json.dumps({"groups": [{"name": "g", "rules": rules}]}), encoding="utf-8")
    test_file = directory / f"test{interval_s}.json"
    whole = {"rule_files": [rule_file.name], "evaluation_interval": f"{interval_s}s", "tests": [tests]}
    test_file.write_text(json.dumps(whole), encoding="utf-8")
    return test_file
