"""When a `kayenta` gate is judged: windows counted from the moment the stage's percent was proven (Kayenta's schedule).

Windows are of the clock on the wall, not of the observed bake: a worker that was away, or a hold, changes neither their
limits nor what the metrics store says about them. So nothing is lost and nothing is judged twice; a bake whose observed
time lags merely lasts longer than the analysis, and an analysis that lags (a warm-up, a silent end) keeps the stage.

One thing is not in Kayenta: where the last window brought no data at all, judging goes on every interval until one
does, because a stage must be able to end.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from rollout.durations import text
from rollout.gates.kayenta import KayentaGate
from rollout.judge.kayenta import schedule

MOST_POINTS = 10_000  # a side and window: ranking takes half a second a metric
MOST_JUDGEMENTS = 1_000  # a stage
MOST_AT_ONCE = 20  # a poll, after a long absence
ENOUGH_POINTS = 50  # a side and window, says Kayenta


@dataclass(frozen=True, slots=True)
class Canary:
    """What a stage's judgements have said so far; exact when written as JSON and read again.

    Attributes:
        arrived_ms: when the stage's percent was proven, Unix milliseconds; another stage begins anew.
        done: number of the last window that is settled, from 1; 0: none.
        ended: whether the last judgement was made, for good or ill.
        score: of the last judgement that had data, 0 to 100.
        labels: of that judgement, metric → Kayenta's word.
    """

    arrived_ms: int
    done: int = 0
    ended: bool = False
    score: float | None = None
    labels: dict[str, str] = field(default_factory=dict)


class Window(NamedTuple):
    """One judgement: points from `start_ms` on, before `end_ms`, Unix milliseconds.

    Attributes:
        number: from 1.
        of: how many the bake has room for; more than that follow only where the last had no data.
        start_ms: of the first point.
        end_ms: when it is due.
        after: how long after the percent was proven that is.
    """

    number: int
    of: int
    start_ms: int
    end_ms: int
    after: timedelta

    @property
    def last(self) -> bool:
        """Whether it decides."""
        return self.number >= self.of


def window(gate: KayentaGate, lifetime: timedelta, arrived_ms: int, number: int) -> Window:
    """One window.

    Args:
        gate: interval, lookback, warm-up.
        lifetime: the stage's bake, above 0.
        arrived_ms: when the percent was proven, Unix milliseconds.
        number: of the window, from 1.
    """
    planned = schedule(lifetime, gate.interval, gate.lookback, gate.warm_up)
    start, end = planned[min(number, len(planned)) - 1]
    later = max(0, number - len(planned)) * min(gate.interval, lifetime)
    start, end = start + (later if gate.lookback else timedelta(0)), end + later
    return Window(number, len(planned), arrived_ms + _ms(start), arrived_ms + _ms(end), end)


def due(gate: KayentaGate, known: Canary, lifetime: timedelta, now_ms: int) -> tuple[Window, ...]:
    """The windows that are over and not settled, in order; a long absence comes in parts."""
    found: list[Window] = []
    while not known.ended and len(found) < MOST_AT_ONCE:
        following = window(gate, lifetime, known.arrived_ms, known.done + len(found) + 1)
        if following.end_ms > now_ms:
            break
        found.append(following)
    return tuple(found)


def times(gate: KayentaGate, asked: Window) -> range:
    """Evaluation times of a window's points, Unix milliseconds; at least one."""
    return range(asked.start_ms, asked.end_ms, _ms(gate.step))


def unfit(gate: KayentaGate, lifetime: timedelta) -> str | None:
    """Why a stage's bake cannot be judged so, as a sentence; None if it can."""
    many = lifetime // gate.interval
    longest = max(1, (gate.lookback or _judged(gate, lifetime)) // gate.step)
    if many > MOST_JUDGEMENTS:
        found, most = f"interval {text(gate.interval)} makes {many} judgements of a bake of", MOST_JUDGEMENTS
    elif longest > MOST_POINTS:
        found, most = f"step {text(gate.step)} makes {longest} points a side of a bake of", MOST_POINTS
    else:
        return None
    return f"{found} {text(lifetime)}; {most} is the most: write a longer one"


def remarks(gate: KayentaGate, lifetime: timedelta) -> tuple[str, ...]:
    """What a person should know about judging a stage's bake so; it must not be `unfit`."""
    first, end = window(gate, lifetime, 0, 1), gate.warm_up + _judged(gate, lifetime)
    found = []
    if (points := len(times(gate, first))) < ENOUGH_POINTS:
        found.append(f"its first judgement has {points} points a side; Kayenta asks for {ENOUGH_POINTS}")
    if end < lifetime:
        found.append(f"the last {text(lifetime - end)} of a bake of {text(lifetime)} are never judged")
    if end > lifetime:
        found.append(f"with its warm-up it keeps the stage for {text(end)}, not {text(lifetime)}")
    return tuple(found)


def _judged(gate: KayentaGate, lifetime: timedelta) -> timedelta:
    step = min(gate.interval, lifetime)
    return lifetime // step * step


def _ms(span: timedelta) -> int:
    return round(span / timedelta(milliseconds=1))
