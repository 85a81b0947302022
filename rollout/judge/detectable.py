"""What one gate can see in one stage, as people read it: in `sluice plan`, at preflight, and in the plan that is kept.

Everything is rounded to the careful side: ratios, bakes and percents up. Only what was computed is kept; the sentence
is made anew, so that an older plan is told in the newest words.
"""

from datetime import timedelta
from math import ceil, floor, inf
from typing import Literal

from rollout.base import Told, percent_text
from rollout.durations import Duration, text
from rollout.gates import CountingGate, ProportionGate
from rollout.judge.detect import DOUBLE, Traffic, bake_for, share_for, smallest_ratio, smallest_share
from rollout.judge.evidence import Test

Rung = tuple[float, timedelta]
"""Percent and bake of a stage."""

_STEPS = ((600, 10), (3600, 60), (86_400, 600), (864_000, 3600), (inf, 86_400))  # below so much, steps of so much


class Detectable(Told):
    """What one gate can see in one stage.

    Attributes:
        stage: the stage's title.
        gate: the gate's name.
        percent: percent of the trials on the candidate, 0 to 100.
        bake: length of the bake.
        noun: what an event is called: `errors`.
        counted: what a trial is called: `requests`.
        bad: which way is worse.
        per_second: trials of both versions together, a second.
        usual: share of stable's trials with the event, 0 to 1; None if nobody knows.
        ratio: smallest worsening that is seen on average, in odds for proportions; None if none is.
        share: where stable has no events or nobody knows: the smallest share of the candidate's trials with the event
            that is seen if stable has none, 0 to 1; else None.
        bake_for_double: bake at this percent that sees twice as many, seconds; None if none of up to a year does.
        percent_for_double: percent at which this bake sees twice as many; None if there is none.
    """

    stage: str
    gate: str
    percent: float
    bake: Duration
    noun: str = "errors"
    counted: str = "requests"
    bad: Literal["up", "down"] = "up"
    per_second: float = 0.0
    usual: float | None = None
    ratio: float | None = None
    share: float | None = None
    bake_for_double: float | None = None
    percent_for_double: float | None = None

    @property
    def sentence(self) -> str:
        """For people: `5 % for 1h sees errors that are 3.4× stable's (at 10 requests/s, 0.5 %); 2× would need …`."""
        begin = f"{percent_text(self.percent)} for {text(self.bake)}"
        if self.percent >= 100:
            return f"{begin} has no stable beside it, so it can say nothing"
        if self.per_second <= 0:
            return f"{begin}: no {self.counted} were seen, so nothing can be told"
        if not self.usual:
            return f"{begin} sees {self._absolute()}"
        where = f"(at {_rate(self.per_second, self.counted)}, {_percents(self.usual)})"
        if self.ratio is None:
            return f"{begin} sees no worsening of {self.noun} at all {where}; {self._double()}"
        seen = f"{begin} sees {self.noun} that are {self._times(self.ratio)} stable's {where}"
        return seen if self.ratio <= DOUBLE else f"{seen}; {self._double()}"

    def _absolute(self) -> str:
        known = "stable has none" if self.usual is not None else "stable's share is not known and taken as none"
        where = f"(at {_rate(self.per_second, self.counted)}; {known})"
        if self.share is None:
            return f"no {self.noun} at all, however many {where}"
        return f"{self.noun} once they are {_percents(self.share)} of the candidate's {self.counted} {where}"

    def _double(self) -> str:
        longer = text(_rounded_up(self.bake_for_double)) if self.bake_for_double is not None else None
        wider = percent_text(_rounded_percent(self.percent_for_double)) if self.percent_for_double is not None else None
        needs = ", or ".join(filter(None, [longer, wider]))
        twice = self._times(DOUBLE)
        return f"{twice} would need {needs}" if needs else f"{twice} cannot be seen here"

    def _times(self, ratio: float) -> str:
        if self.bad == "down":
            return f"{floor(100 / ratio) / 100:g}×"
        return f"{ceil(round(10 * ratio, 6)) / 10:g}×" if ratio < 100 else f"{ceil(ratio)}×"


def detectable(title: str, name: str, gate: CountingGate, test: Test, traffic: Traffic, at: Rung) -> Detectable:
    """What a gate can see in a stage.

    Args:
        title: the stage's title.
        name: the gate's name.
        gate: what the user wrote.
        test: how it is judged in this stage (α is its share of the budget, φ its dispersion).
        traffic: what is known before the start.
        at: percent and bake of the stage.
    """
    share, bake_s = at[0] / 100, at[1].total_seconds()
    relative, proportion = bool(traffic.usual), isinstance(gate, ProportionGate)
    wider = share_for(test, traffic, bake_s) if relative else None
    return Detectable(
        stage=title,
        gate=name,
        percent=at[0],
        bake=at[1],
        noun=f"odds of {gate.noun}" if proportion else gate.noun,
        counted="trials" if proportion else "requests",
        bad=gate.bad,
        per_second=traffic.per_second,
        usual=traffic.usual,
        ratio=smallest_ratio(test, traffic, share, bake_s) if relative else None,
        share=None if relative or proportion else smallest_share(test, traffic, share, bake_s),
        bake_for_double=bake_for(test, traffic, share) if relative else None,
        percent_for_double=None if wider is None else 100 * wider,
    )


def _rate(per_second: float, counted: str) -> str:
    for unit, times in (("s", 1), ("min", 60), ("h", 3600)):
        if per_second * times >= 10 or unit == "h":
            return f"{_three_digits(per_second * times)} {counted}/{unit}"
    raise AssertionError


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _percents(share: float) -> str:
    return f"{100 * share:.2g} %"


def _rounded_up(seconds: float) -> timedelta:
    """Up to what a person would write: in steps of 10 s, of a minute from 10 minutes on, and so forth."""
    step = next(step for below, step in _STEPS if seconds < below)
    return timedelta(seconds=ceil(round(seconds / step, 6)) * step)


def _rounded_percent(percent: float) -> float:
    return ceil(percent) if percent >= 1 else ceil(percent * 10) / 10
