"""A shop with two versions, scraped every 15 seconds, and a gate that counts what was scraped of it."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from rollout.gates import CountingGate, ErrorRatioGate, ProportionGate
from rollout.judge import counting
from rollout.judge.counters import Series, wanted_after
from rollout.judge.counting import Counted, Question
from rollout.judge.evidence import Test
from rollout.judge.verdict import GateState
from tests.rollout.given import NOW_MS

SCRAPE = 15_000
POLL = 5_000
HEALTHY = (75, 1, 1425, 19)
TENFOLD = (75, 9, 1425, 19)
QUIET = (0, 0, 0, 0)

Scrape = tuple[int, int, int, int]
"""What happened until a scrape: the candidate's requests and errors, stable's requests and errors."""


def counter(version: str, counts: Iterable[float], *, since: int = 0, **labels: str) -> Series:
    """A counter with one increment a scrape, after a past; `since` is the scrape of the first value."""
    values = accumulate(counts, initial=1000.0)
    points = [(NOW_MS + (since + number) * SCRAPE, value) for number, value in enumerate(values)]
    return Series({"version": version, "job": "shop", "instance": version, **labels}, points)


def shop(scrapes: Sequence[Scrape]) -> Counted:
    """One pod a version, scraped at the start and once for each of these."""
    columns = list(zip(*scrapes, strict=True)) or [()] * 4
    trials = [counter("canary", columns[0]), counter("stable", columns[2])]
    return Counted(trials, [counter("canary", columns[1], code="503"), counter("stable", columns[3], code="503")])


def cut(every: Sequence[Series], after_ms: int, until_ms: int) -> list[Series]:
    """What a metrics server answers."""
    kept = [Series(each.labels, [point for point in each.points if after_ms < point[0] <= until_ms]) for each in every]
    return [each for each in kept if each.points]


def errors(**changes: Any) -> ErrorRatioGate:
    return ErrorRatioGate.model_validate({"requests": "r", "errors": "e"} | changes)


def conversion(**changes: Any) -> ProportionGate:
    return ProportionGate.model_validate({"trials": "t", "successes": "s", "bad": "down"} | changes)


def question(gate: CountingGate | None = None, **changes: Any) -> Question:
    """A first stage at 5 %, one gate with all of the budget; `changes` of the question or of its test."""
    gate = gate or errors()
    odds = isinstance(gate, ProportionGate)
    tested: dict[str, Any] = {
        "kind": "odds" if odds else "whose",
        "bad": gate.bad,
        "margin": gate.margin,
        "proof": gate.proof,
        "floor": gate.floor,
        "alpha": 0.01,
        "planned_ms": 600_000,
    }
    tested |= {name: changes.pop(name) for name in list(changes) if name in Test.__slots__}
    asked: dict[str, Any] = {"since_ms": NOW_MS, "arrived_ms": NOW_MS, "poll_ms": POLL, "share": 0.05, "forced": False}
    return Question(gate=gate, test=Test(**tested), **asked | changes)


def at(scrape: float) -> int:
    return NOW_MS + round(scrape * SCRAPE)


def fresh(asked: Question) -> GateState:
    return counting.entered(asked, GateState(watermark_ms=asked.since_ms))


def poll(asked: Question, seen: Counted, state: GateState, now_ms: int) -> GateState:
    """Ask for what is wanted and fold it."""
    after_ms = wanted_after(state.counters) if state.counters else 0
    return counting.fold(asked, state, Counted(*[cut(each, after_ms, now_ms) for each in seen]), now_ms)


def polls(asked: Question, seen: Counted, until: float, state: GateState | None = None) -> list[GateState]:
    """The states after every poll up to a scrape."""
    known, states = state or fresh(asked), []
    for now_ms in range(asked.since_ms + POLL, at(until) + 1, POLL):
        known = poll(asked, seen, known, now_ms)
        states.append(known)
    return states
