"""Recorded health, one JSON object a line: what `sluice backtest` reads.

    {"run": "r1", "at": 5.0, "percent": 5, "counts": {"errors": {"candidate": [n, x], "stable": [n, x]}},
     "values": {"hard-5xx": 0.012}}

`at` is seconds since the run began, `counts` are increments since the gate's previous line (n trials, x events among
them) of gates that count, `values` results of gates that ask "is it bad now?": a number, null for an empty result,
"error" for a query that failed. `run` may be left out if there is one run. A gate missing from a line had no scrape at
that time. Fields with other names are ignored.

Read by hand instead of with pydantic: a month of five-second scrapes is half a million lines.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite, isnan, nan
from typing import Any, NamedTuple

from pydantic_core import from_json

from rollout.gates import AnyGate, CountingGate, ThresholdGate
from rollout.gates.ceiling import CeilingGate
from rollout.judge.evidence import Tally
from rollout.judge.threshold import Vector

MOST = 10**9
"""More trials than this in one line are a mistake, and beyond what the tests can compute in time."""

_WORDS = {"NaN": nan, "+Inf": inf, "Inf": inf, "-Inf": -inf}  # as Prometheus writes them


class BadLine(ValueError):
    """A line cannot be replayed; the message is a sentence without the line's number."""


class Line(NamedTuple):
    """One line.

    Attributes:
        run: name of the run; None if it has none.
        at: seconds since the run began.
        percent: percent of traffic on the candidate, 0 to 100.
        counts: gate → increments of trials and events.
        values: gate → the instant vector; None if the query failed.
    """

    run: str | int | None
    at: float
    percent: float
    counts: dict[str, Tally]
    values: dict[str, Vector | None]

    @property
    def at_ms(self) -> int:
        """Milliseconds since the run began."""
        return round(self.at * 1000)


@dataclass(frozen=True)
class Replayable:
    """Which gates of a spec can be replayed from lines.

    Attributes:
        counting: by counts, in the spec's order.
        rules: by values.
        others: cannot be replayed: they ask more than a line holds.
    """

    counting: dict[str, CountingGate]
    rules: dict[str, ThresholdGate | CeilingGate]
    others: tuple[str, ...]


def replayable(gates: Mapping[str, AnyGate]) -> Replayable:
    """Sort a spec's gates."""
    counting: dict[str, CountingGate] = {}
    rules: dict[str, ThresholdGate | CeilingGate] = {}
    others = []
    for name, gate in gates.items():
        if isinstance(gate, CountingGate):
            counting[name] = gate
        elif isinstance(gate, ThresholdGate) or (isinstance(gate, CeilingGate) and gate.worse_than is None):
            rules[name] = gate
        else:
            others.append(name)
    return Replayable(counting, rules, tuple(others))


def read(text: str, gates: Replayable) -> Line:
    """Read one line.

    Raises:
        BadLine: it is no JSON object of this shape, counts are not whole, negative or more events than trials, or it
            names a gate that the spec has not.
    """
    written = _parsed(text)
    if not isinstance(written, dict):
        raise BadLine("a line is a JSON object: at, percent, counts, values")
    run = written.get("run")
    if not isinstance(run, str | int | None) or isinstance(run, bool):
        raise BadLine(f"run: a name is wanted, not {_shown(run)}")
    return Line(
        run,
        _number(written, "at", 1e10, "seconds since the run began"),
        _number(written, "percent", 100, "0 to 100"),
        {name: _tally(name, sides, gates) for name, sides in _object(written, "counts").items() if _asked(name, gates)},
        {
            name: _vector(name, value, gates)
            for name, value in _object(written, "values").items()
            if _asked(name, gates)
        },
    )


def _parsed(text: str) -> Any:  # noqa: ANN401 - raw JSON
    try:
        return from_json(text)
    except ValueError:
        pass  # twice as fast, but its words are another library's, and it is stricter about strings
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadLine(f"this is not JSON: {error.msg} (column {error.colno})") from error
    except (RecursionError, ValueError) as error:
        raise BadLine(f"this is not JSON: {error}") from error


def written(line: Line, gates: Replayable) -> str:
    """A line as `read` reads it, without the line feed; of many values the worst, because a line has one a gate."""
    counts = {
        name: {"candidate": [tally.n_c, tally.x_c], "stable": [tally.n_b, tally.x_b]}
        for name, tally in line.counts.items()
    }
    values = {name: _worst(gates.rules[name], vector) for name, vector in line.values.items()}
    named = {} if line.run is None else {"run": line.run}
    told = {**named, "at": line.at, "percent": line.percent, "counts": counts, "values": values}
    return json.dumps(told, ensure_ascii=False)


def _worst(gate: ThresholdGate | CeilingGate, vector: Vector | None) -> float | str | None:
    if vector is None:
        return "error"
    numbers = [number for number in vector.values() if not isnan(number)]
    if not numbers:
        return "NaN" if vector else None
    worst = max(numbers, key=gate.badness)
    return worst if isfinite(worst) else f"{'-' if worst < 0 else '+'}Inf"


def _asked(name: str, gates: Replayable) -> bool:
    """Whether a gate is replayed; those that cannot be are passed over."""
    if name in gates.counting or name in gates.rules:
        return True
    if name in gates.others:
        return False
    known = ", ".join([*gates.counting, *gates.rules, *gates.others]) or "none"
    raise BadLine(f"{name!r} is no gate of this spec; its gates: {known}")


def _number(written: Mapping[str, Any], field: str, most: float, what: str) -> float:
    value = written.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        got = _shown(value) if field in written else "nothing"
        raise BadLine(f"{field}: a number is wanted, {what}, not {got}")
    return value


def _object(written: Mapping[str, Any], field: str) -> dict[str, Any]:
    value = written.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadLine(f"{field}: an object with a field for each gate is wanted, not {_shown(value)}")
    return value


def _tally(name: str, sides: Any, gates: Replayable) -> Tally:  # noqa: ANN401 - raw JSON
    if name not in gates.counting:
        raise BadLine(f"counts.{name}: {_kind(gates.rules[name])} gates take values, not counts")
    if not isinstance(sides, dict):
        raise BadLine(f"counts.{name}: candidate and stable are wanted, not {_shown(sides)}")
    return Tally(*_pair(name, "candidate", sides), *_pair(name, "stable", sides))


def _pair(name: str, side: str, sides: Mapping[str, Any]) -> tuple[int, int]:
    pair = sides.get(side)
    if type(pair) is list and len(pair) == 2:
        n, x = pair
        if type(n) is int and type(x) is int and 0 <= x <= n <= MOST:
            return n, x
        if _whole(n) and _whole(x) and 0 <= x <= n <= MOST:  # 12.0 is whole, as JSON goes
            return int(n), int(x)
        if _whole(n) and _whole(x) and x > n >= 0:
            raise BadLine(f"counts.{name}.{side}: {x} events among {n} trials: more events than trials")
    got = _shown(pair) if side in sides else "nothing"
    raise BadLine(f"counts.{name}.{side}: two whole numbers [trials, events] of 0 to 10^9 are wanted, not {got}")


def _whole(value: object) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def _vector(name: str, value: object, gates: Replayable) -> Vector | None:
    if name not in gates.rules:
        raise BadLine(f"values.{name}: {_kind(gates.counting[name])} gates take counts, not values")
    if value is None:
        return {}
    if value == "error":
        return None
    if isinstance(value, str) and value in _WORDS:
        return {"": _WORDS[value]}
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadLine(f'values.{name}: a number, null (empty) or "error" (failed) is wanted, not {_shown(value)}')
    try:
        return {"": float(value)}
    except OverflowError:
        raise BadLine(f"values.{name}: {_shown(value)} is beyond what a number can be") from None


def _kind(gate: AnyGate) -> str:
    return str(getattr(gate, "kind", "such"))


def _shown(value: object) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
