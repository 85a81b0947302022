"""What an experiment has shown: both sides' rates, and how far apart they may be, true whenever one looks.

An interval of a statistics book is right for one look at one planned moment. Looked at every day for two weeks, 22 % of
experiments without any effect "show" one, every hour 46 %. These are confidence sequences: at most 5 % of experiments
*ever* have an interval that misses the truth. They need the totals only, the four numbers that a gate's state keeps.

The idea is that of `odds.py`, whose event was it? Users are put on a side with a fixed probability, so the side is the
coin: of those with the event, each was the candidate's with one probability θ1, of those without it with another, θ0.
(What an hour does to both rates alike cancels where they are small; near a half they must stay.) How likely the sides
are to a bet, over how likely they are to θ, is a test martingale (Robbins 1970; Ville 1939; Lindon and Malek, arXiv
2011.03567); one for those with the event times one for those without is one too, so all (θ1, θ0) with

    log M1(θ1) + log M0(θ0) < log(1/0.9α),     M(θ) = (mean over k of a Beta(k·π, k·(1 - π))-binomial) / θ^c·(1 - θ)^s

with c of the candidate's and s of stable's are a confidence sequence at 1 - 0.9α. The remaining tenth of α buys one for
q, the share of all trials with the event (Beta(½, ½)-binomial). The three say everything: with odds Q of q,

    odds of the candidate's rate = Q·θ1/θ0,     odds of stable's rate = Q·(1 - θ1)/(1 - θ0),

and the interval of a ratio or a difference is from its least to its greatest value within (both rise with θ1 and fall
with θ0; in q the ratio is monotone, and the difference greatest where the two rates add up to 1).

Rejected: a beta-binomial sequence for each side's own rate and a union of the two, as the rates are known to nobody
beforehand, so each side pays for a bet on all of 0 to 1. That both θ lie near the commanded share π is known: hence
bets near it, and intervals that are almost half as wide. In standard errors, at 2.5 % of 252 000 trials a side (the
article's traffic in a day): 3.2 here, 6.4 by that union, 5.6 by its product, 3.3 by the asymptotic sequence, which
promises nothing exactly, and 1.96 for a single look. Refused, too: a verdict. "No effect shown" is not "no effect".

π is only where the bets are; a split that turns out otherwise is no error here, but one that *moves* is. φ divides the
counts, which is exact for clusters of constant size φ (dividing the logarithm of a mixture would not be).
"""

from collections.abc import Callable
from math import ceil, exp, expm1, floor, inf, isfinite, log, log1p, log10, sqrt
from typing import Literal, NamedTuple

from pydantic import Field

from rollout.base import Told
from rollout.judge.evidence import Tally
from rollout.judge.sample_ratio import BETS, grouped, log_bets

EVENTS = (1.0, 1e1, 1e2, 1e3, 1e4)
"""What each bet on θ1 claims to know of its log-odds, as inverse variance: effects of e times, 30, 10, 3 and 1 %."""

LEVEL = 0.1
"""Part of α that is spent on q."""

_JEFFREYS = (0.25,)  # Beta(½, ½), as a bet at one half
_MINUS = "\u2212"
_SECTIONS, _NEWTON = 22, 60
_BEYOND = 100.0  # times stable's rate: a greater limit is none, to people
_GOLDEN = (sqrt(5) - 1) / 2


class Effect(Told):
    """How far a candidate is from stable, by everything counted so far.

    Attributes:
        name: the gate's name.
        counted: what a trial is called, for people: `sessions`.
        bad: whether more or fewer events are worse.
        n_c: trials of the candidate.
        x_c: events among them.
        n_b: trials of stable.
        x_b: events among them.
        candidate_rate: share of the candidate's trials with the event, 0 to 1; None without trials.
        stable_rate: the same of stable.
        difference_low: the candidate's rate less stable's is surely not below this, -1 to 1; 0.01 is one point.
        difference_high: and surely not above this.
        ratio: the candidate's rate over stable's; None where stable has no events.
        ratio_low: the ratio is surely not below this, 0 or more.
        ratio_high: and surely not above this; None: nothing is excluded.
        confidence: how sure: the chance that all these intervals, of all looks, hold the truth, 0 to 1.
    """

    name: str
    counted: str = "requests"
    bad: Literal["up", "down"] = "up"
    n_c: int = 0
    x_c: int = 0
    n_b: int = 0
    x_b: int = 0
    candidate_rate: float | None = None
    stable_rate: float | None = None
    difference_low: float = -1.0
    difference_high: float = 1.0
    ratio: float | None = None
    ratio_low: float = 0.0
    ratio_high: float | None = None
    confidence: float = Field(default=0.95, gt=0, lt=1)

    @property
    def shown(self) -> Literal["better", "worse"] | None:
        """What is shown; None: no effect, and that there is none is not shown either."""
        if self.difference_low <= 0 <= self.difference_high:
            return None
        return "worse" if (self.difference_low > 0) == (self.bad == "up") else "better"

    @property
    def sentence(self) -> str:
        """For people: `conversion: 2.61 % against 2.50 % of stable: +4.4 % relative, between -3.1 % and +12.5 % (…`."""
        seen = f"{grouped(self.n_c)} and {grouped(self.n_b)} {self.counted}"
        if self.candidate_rate is None or self.stable_rate is None:
            return f"{self.name}: nothing to compare yet: {seen}"
        answer = self.shown or "no effect shown"
        sure = f"({100 * self.confidence:g} %, whenever looked at), {seen}: {answer}"
        if not self.x_c and not self.x_b:
            return f"{self.name}: none on either side: {self._points()} {sure}"
        rates = f"{_rate(self.candidate_rate)} against {_rate(self.stable_rate)} of stable"
        if self.ratio is None:
            return f"{self.name}: {rates}: {self._points()} {sure}"
        digits = _digits(100 * ((self.ratio_high or inf) - self.ratio_low))
        relative = _signed(100 * (self.ratio - 1), digits, round)
        return f"{self.name}: {rates}: {relative} % relative, {self._between(digits)} {sure}"

    def _between(self, digits: int) -> str:
        low = _signed(100 * (self.ratio_low - 1), digits, floor)
        if self.ratio_high is not None and self.ratio_high < _BEYOND:
            return f"between {low} % and {_signed(100 * (self.ratio_high - 1), digits, ceil)} %"
        return f"at least {low} %" if self.ratio_low > 1 / _BEYOND else "nothing excluded yet"

    def _points(self) -> str:
        low, high = 100 * self.difference_low, 100 * self.difference_high
        digits = _digits(high - low)
        return f"between {_signed(low, digits, floor)} and {_signed(high, digits, ceil)} percentage points"


def effect(
    total: Tally,
    *,
    name: str,
    share: float,
    bad: Literal["up", "down"] = "up",
    phi: float = 1.0,
    counted: str = "requests",
    confidence: float = 0.95,
) -> Effect:
    """What the totals show.

    Where one side has no trials nothing is excluded. Without events on one side the ratio is bounded on one side, and
    without any only the difference is. More events than trials (counters scraped apart) count as so many trials.

    Args:
        total: trials and events of both sides since the experiment began.
        name: the gate's name.
        share: share of the trials that should be the candidate's, 0 to 1; the same for the whole experiment. At 0 and 1
            there is nothing to compare.
        bad: whether more or fewer events are worse.
        phi: how many trials usually come at once (dispersion), 1 or more.
        counted: what a trial is called, for people.
        confidence: how sure, between 0 and 1.
    """
    n_c, n_b = max(total.n_c, total.x_c), max(total.n_b, total.x_b)
    about = {"name": name, "counted": counted, "bad": bad, "confidence": confidence}
    counts = {"n_c": n_c, "x_c": total.x_c, "n_b": n_b, "x_b": total.x_b}
    rates = {"candidate_rate": total.x_c / n_c if n_c else None, "stable_rate": total.x_b / n_b if n_b else None}
    told = Effect.model_validate(about | counts | rates)
    if not n_c or not n_b or not 0 < share < 1:
        return told
    with_it = _sides(total.x_c / phi, total.x_b / phi, share, EVENTS)
    without = _sides((n_c - total.x_c) / phi, (n_b - total.x_b) / phi, share, BETS)
    alpha = 1 - confidence
    level = _level(total.x_c + total.x_b, n_c + n_b, phi, log(1 / (LEVEL * alpha)))
    ours = _Region(with_it, without, level, log(1 / ((1 - LEVEL) * alpha)))
    theirs = _Region(with_it.swapped, without.swapped, level, ours.limit)
    high, low = ours.greatest(_ratio), theirs.greatest(_ratio)
    return told.model_copy(
        update={
            "difference_low": -theirs.greatest(_difference),
            "difference_high": ours.greatest(_difference),
            "ratio": total.x_c * n_b / (total.x_b * n_c) if total.x_b else None,
            "ratio_low": 1 / low,
            "ratio_high": high if isfinite(high) else None,
        }
    )


class _Sides(NamedTuple):
    """Whose some trials were, and what that proves against every θ (as log-odds t, infinite ones included).

    Attributes:
        candidate: how many were the candidate's.
        stable: how many were stable's.
        best: how likely that is to the θ that was observed, as a logarithm.
        least: log M there, where it is lowest; 0 or less.
    """

    candidate: float
    stable: float
    best: float
    least: float

    @property
    def swapped(self) -> "_Sides":
        return self._replace(candidate=self.stable, stable=self.candidate)

    def above(self, slack: float) -> float:
        """The t above the observed share where log M has risen by so much: Newton's method, as log M is convex."""
        c, s = self.candidate, self.stable
        if not s:
            return inf
        if not c:
            return slack / s + log(-expm1(-slack / s)) if slack > 0 else -inf
        peak, wanted = log(c / s), slack - self.best
        t = peak + sqrt(2 * slack * (1 / c + 1 / s))
        for _ in range(_NEWTON):
            slope = s * _share(t) - c * _share(-t)
            if slope <= 0:
                break
            step = (c * _softplus(-t) + s * _softplus(t) - wanted) / slope
            t -= step
            if abs(step) < 1e-12 * max(1.0, abs(t)):
                break
        return max(t, peak)

    def below(self, slack: float) -> float:
        """The same below the observed share."""
        return -self.swapped.above(slack)


class _Region(NamedTuple):
    """All (θ1, θ0, q) that are not excluded.

    Attributes:
        with_it: trials with the event.
        without: trials without it.
        level: least and greatest q.
        limit: what log M1 + log M0 must reach to exclude.
    """

    with_it: _Sides
    without: _Sides
    level: tuple[float, float]
    limit: float

    def greatest(self, value: Callable[[float, float, tuple[float, float]], float]) -> float:
        """The greatest value on the edge where θ1 is above and θ0 below what was observed; both share the slack."""
        slack = self.limit - self.with_it.least - self.without.least

        def at(part: float) -> float:
            return value(self.with_it.above(part * slack), self.without.below((1 - part) * slack), self.level)

        low, high = 0.0, 1.0
        left, right = 1 - _GOLDEN, _GOLDEN
        at_left, at_right = at(left), at(right)
        found = max(at(low), at(high), at_left, at_right)
        for _ in range(_SECTIONS):
            if at_left < at_right:
                low, left, at_left = left, right, at_right
                right = low + _GOLDEN * (high - low)
                at_right = at(right)
            else:
                high, right, at_right = right, left, at_left
                left = high - _GOLDEN * (high - low)
                at_left = at(left)
            found = max(found, at_left, at_right)
        return found


def _sides(candidate: float, stable: float, share: float, bets: tuple[float, ...]) -> _Sides:
    best = sum([n * log(n / (candidate + stable)) for n in (candidate, stable) if n])
    return _Sides(candidate, stable, best, log_bets(candidate, stable, share, bets) - best)


def _level(events: int, trials: int, phi: float, limit: float) -> tuple[float, float]:
    """Least and greatest share of all trials with the event."""
    seen = _sides(events / phi, (trials - events) / phi, 0.5, _JEFFREYS)
    slack = limit - seen.least
    return _share(seen.below(slack)), _share(seen.above(slack))


def _ratio(t1: float, t0: float, level: tuple[float, float]) -> float:
    """The greater ratio of the rates at the ends of q; infinite where stable's may be 0."""
    return max(p_c / p_b if p_b else inf for p_c, p_b in (_rates(t1, t0, q) for q in level))


def _difference(t1: float, t0: float, level: tuple[float, float]) -> float:
    """The greatest difference of the rates for any q: at an end, or where they add up to 1."""
    candidates = list(level)
    if abs(t1) < 300 and abs(t0) < 300:
        odds = exp((t1 - t0) / 2) * _share(t0) / _share(t1)
        candidates.append(min(max(odds / (1 + odds), level[0]), level[1]))
    return max(p_c - p_b for p_c, p_b in (_rates(t1, t0, q) for q in candidates))


def _rates(t1: float, t0: float, q: float) -> tuple[float, float]:
    """Both sides' rates."""
    sides = []
    for way in (1, -1):
        event, other = q * _share(way * t1), (1 - q) * _share(way * t0)
        sides.append(event / (event + other) if event else 0.0)
    return sides[0], sides[1]


def _share(t: float) -> float:
    """The share with these log-odds; exact near 0, and so is that of -t near 1."""
    if t >= 0:
        return 1 / (1 + exp(-t))
    power = exp(t)
    return power / (1 + power)


def _softplus(t: float) -> float:
    return max(t, 0.0) + log1p(exp(-abs(t)))


def _rate(share: float) -> str:
    """A rate with three digits: `2.61 %`, `2.50 %`, `0.0300 %`."""
    return f"{100 * share:.{max(0, 2 - floor(log10(100 * share)))}f} %" if share else "0 %"


def _digits(width: float) -> int:
    """Decimals with which an interval of this width is told: one, more below one percent."""
    return 1 if width >= 1 or width <= 0 else min(6, 1 + ceil(-log10(width)))


def _signed(value: float, digits: int, rounded: Callable[[float], float]) -> str:
    """A signed number, rounded to the careful side."""
    scaled = rounded(round(value * 10**digits, 6)) / 10**digits
    sign = "+" if scaled > 0 else _MINUS if scaled < 0 else ""
    return f"{sign}{abs(scaled):.{digits}f}"
