"""Kayenta's judge: is the experiment's series shifted against the control's, and what score does that make?

For teams that bring a Kayenta configuration and want its verdict, weaknesses included: it looks at values, not counts,
ignores how often it has looked, and passes sparse errors ([0,1,2,1,0,0] against six zeros); our counting gates see
more. Written from the behaviour of spinnaker/kayenta (Apache-2.0; none of its code): `NetflixACAJudge`,
`MannWhitneyClassifier`, `MannWhitney`, `WeightedSumScorer`, `ThresholdScoreClassifier` (Scala),
`SetupAndExecuteCanariesStage`, `MonitorCanaryTask`, `GenerateCanaryAnalysisResultTask` (Java).

What is random or noisy there is neither here:
- Its root finder (R's `uniroot`) stops within 1e-4 of the root, absolutely: for ratios written as fractions that is
  noise of the size of the data. Ours goes to 1e-9 of the root, so the metric's unit does not matter.
- Where most points are tied, at 0 say, the statistic jumps past a limit at the shift 0 itself: the root lies just above
  or just below, and noise decides by how much. Ours is `RESOLUTION` with that sign, for estimate and limits alike.
- Two constant sides get unseeded noise of 1e-5 of their value, so that ranks exist. Ours: every difference is the same,
  so it is the estimate and both limits, however few the points. One point a side is an Error, by luck only there.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from itertools import accumulate
from math import copysign, isnan, sqrt
from math import nan as undefined
from statistics import NormalDist, fmean, quantiles
from typing import Literal, NamedTuple


class Label(StrEnum):
    """What became of a metric, in Kayenta's words."""

    PASS = "Pass"  # noqa: S105 - a verdict, no secret
    HIGH = "High"
    LOW = "Low"
    NODATA = "Nodata"
    NODATA_FAIL_METRIC = "NodataFailMetric"
    ERROR = "Error"


class Outcome(StrEnum):
    """What became of a score."""

    PASS = "Pass"  # noqa: S105 - a verdict, no secret
    MARGINAL = "Marginal"
    FAIL = "Fail"


Direction = Literal["increase", "decrease", "either"]
Measure = Literal["meanRatio", "cles"]
Bounds = tuple[float, float]
"""(decrease, increase): the effect at which a shift downwards, or upwards, begins to count."""
RESOLUTION = 1e-12
"""The smallest shift told from 0, as a share of the largest absolute value."""

# Closed tables: an unknown word is a KeyError, never a default.
_MISSING: dict[str, float] = {"remove": undefined, "replace": 0.0}
_FENCED = {"keep": False, "remove": True}
_WATCHED = {"increase": {Label.HIGH}, "decrease": {Label.LOW}, "either": {Label.HIGH, Label.LOW}}
_USUAL = {"meanRatio": (1.0, 1.0), "cles": (0.5, 0.5)}

# ── One metric ──────────────────────────────────────────────────────────────────────────────────


class Classification(NamedTuple):
    """A metric's label; does it fail the whole canary; effect size (NaN: undefined); a sentence, never empty."""

    label: Label
    critical: bool
    deviation: float
    reason: str


def classify(  # noqa: PLR0913 - the fields of a metric in Kayenta's configuration
    experiment: Sequence[float | None],
    control: Sequence[float | None],
    *,
    tolerance: float = 0.25,
    confidence: float = 0.98,
    direction: Direction = "either",
    nan: Literal["remove", "replace"] = "remove",
    critical: bool = False,
    allowed: Bounds | None = None,
    critical_allowed: Bounds | None = None,
    measure: Measure = "meanRatio",
    must_have_data: bool = False,
    outliers: Literal["keep", "remove"] = "keep",
    outlier_factor: float = 3.0,
) -> Classification:
    """Classify one metric (`MannWhitneyClassifier`); defaults as in Kayenta's judge.

    High: the lower limit of the shift is above `tolerance` × |estimate| and the effect is at least `allowed[1]`. Low:
    the upper limit is below minus that and the effect at most `allowed[0]`. An undefined effect is no obstacle. Else
    Pass; so too, with effect 1, if both sides have the same values in any order, or one value everywhere.

    Args:
        experiment: the candidate's points, in any order; None and NaN are missing.
        control: the points to compare with, any number of them.
        tolerance: share of the shift that is forgiven, from 0.
        confidence: of the two-sided interval, between 0 and 1.
        direction: which shift is bad.
        nan: drop missing points, or read them as 0.
        critical: whether High, Low and Nodata may be critical.
        allowed: (decrease, increase); None: (1, 1) for `meanRatio`, (0.5, 0.5) for `cles`.
        critical_allowed: the same for being critical on top; an undefined effect always is.
        measure: mean(experiment)/mean(control), undefined if either is 0; or how often experiment > control, ties half.
        must_have_data: without data answer NodataFailMetric, which lowers the score, unless critical.
        outliers: "remove" drops what lies beyond Tukey's fences, `outlier_factor` interquartile ranges out.
        outlier_factor: see `outliers`.

    Returns:
        Without data Nodata, or Pass if missing means 0, even if critical; as in Kayenta, Error is never critical.

    Raises:
        KeyError: a word that is none of those above.
        ValueError: a tolerance below 0, or a confidence not between 0 and 1.
    """
    if not (tolerance >= 0 and 0 < confidence < 1):
        raise ValueError(f"tolerance {tolerance} must be 0 or more, confidence {confidence} between 0 and 1")
    watched, usual = _WATCHED[direction], _USUAL[measure]
    factor = outlier_factor if _FENCED[outliers] else None
    ours, theirs = (_present(side, _MISSING[nan], factor) for side in (experiment, control))
    if not ours or not theirs:
        return _without_data("experiment" if theirs else "control", nan, critical=critical, needed=must_have_data)
    if (untested := _without_a_test(ours, theirs)) is not None:
        return untested
    shift, effect = location_shift(ours, theirs, confidence), _effect(ours, theirs, measure)
    found = _direction(shift, tolerance)
    label = found if found in watched and _counts(found, effect, allowed or usual) else Label.PASS
    grave = critical and _counts(label, effect, critical_allowed or usual)
    seen = f"shift {shift.estimate:.4g} ({shift.low:.4g} to {shift.high:.4g}), effect {effect:.3g}"
    return Classification(label, grave, effect, f"{'critically ' * grave}{label.lower()}: {seen}")


def _present(side: Iterable[float | None], missing: float, factor: float | None) -> list[float]:
    """The points that are there; with a factor, those within as many IQR of the quartiles (R-7; `IQRDetector`).

    The fences are never closer than the 1st and 99th percentile, and a point on them stays.
    """
    filled = (missing if point is None or isnan(point) else float(point) for point in side)
    points = [point for point in filled if not isnan(point)]
    if factor is None or len(points) < 2:
        return points
    cuts = quantiles(points, n=100, method="inclusive")
    reach = factor * (cuts[74] - cuts[24])
    least, most = min(cuts[0], cuts[24] - reach), max(cuts[98], cuts[74] + reach)
    return [point for point in points if least <= point <= most]


def _without_data(side: str, nan: str, *, critical: bool, needed: bool) -> Classification:
    if nan == "replace":
        return Classification(Label.PASS, critical=False, deviation=undefined, reason=f"no data for the {side}: as 0")
    label = Label.NODATA_FAIL_METRIC if needed and not critical else Label.NODATA
    return Classification(label, critical, undefined, f"no data for the {side}")


def _without_a_test(ours: list[float], theirs: list[float]) -> Classification | None:
    if sorted(ours) == sorted(theirs) or len({*ours, *theirs}) == 1:
        return Classification(Label.PASS, critical=False, deviation=1.0, reason="both sides hold the same values")
    if len(ours) == len(theirs) == 1 or max(map(abs, (*ours, *theirs))) > 1e300:  # beyond it sums overflow
        reason = "nothing to rank: one point a side, or an infinite value"
        return Classification(Label.ERROR, critical=False, deviation=undefined, reason=reason)
    return None


def _effect(ours: list[float], theirs: list[float], measure: Measure) -> float:
    if measure == "cles":
        return _Ranks(ours, theirs).compare(0.0)[0] / (len(ours) * len(theirs))
    means = fmean(ours), fmean(theirs)
    return means[0] / means[1] if all(means) else undefined


def _direction(shift: "Shift", tolerance: float) -> Label:
    forgiven = tolerance * abs(shift.estimate)
    return Label.HIGH if shift.low > forgiven else Label.LOW if shift.high < -forgiven else Label.PASS


def _counts(label: Label, effect: float, bounds: Bounds) -> bool:
    if label is Label.HIGH:
        return isnan(effect) or effect >= bounds[1]
    return label is Label.LOW and (isnan(effect) or effect <= bounds[0])


# ── The shift between two samples ───────────────────────────────────────────────────────────────


class Shift(NamedTuple):
    """How far the experiment lies above the control, in the metric's unit: confidence limits and estimate."""

    low: float
    estimate: float
    high: float


def location_shift(experiment: Sequence[float], control: Sequence[float], confidence: float) -> Shift:
    """Mann-Whitney estimate and confidence interval (`MannWhitney`; R's `wilcox.test`). Finite points, neither empty.

    The limits are where g (`_Ranks.statistic`) steps over ±z, z being the normal quantile of (1 + confidence)/2, among
    the differences of an experiment and a control point, or the extreme difference if g never reaches z. Where g rests
    at 0 the estimate is the middle of the rest (Kayenta: any point of it). Always the normal approximation. Between two
    constant sides there is one difference only: estimate and limits are that.
    """
    ranks = _Ranks(experiment, control)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rest = ranks.step(lambda g: g > 0), ranks.step(lambda g: g >= 0)
    return Shift(ranks.step(lambda g: g > z), sum(rest) / 2, ranks.step(lambda g: g > -z))


class _Ranks:
    """Two samples, ready to be ranked under any shift; each value is kept once, with its number."""

    def __init__(self, experiment: Sequence[float], control: Sequence[float]) -> None:
        ours, theirs = Counter(experiment), Counter(control)
        self.ours, self.values = sorted(ours.items()), sorted(theirs)
        self.numbers = [theirs[value] for value in self.values]
        self.below = [0, *accumulate(self.numbers)]
        self.n, self.m = len(experiment), len(control)
        self.ties = sum(t**3 - t for t in (*ours.values(), *theirs.values()))
        self.known: dict[float, float] = {}
        self.least, self.most = self.ours[0][0] - self.values[-1], self.ours[-1][0] - self.values[0]
        self.grain = max(1e-300, RESOLUTION * max(map(abs, (*ours, *theirs))))  # never 0, nor lost to rounding

    def compare(self, shift: float) -> tuple[float, int]:
        """Pairs with the experiment less the shift above the control, ties half; and Σ(t³-t) over groups of t ties."""
        wins, ties = 0.0, self.ties
        for value, a in self.ours:
            place = bisect_left(self.values, value - shift)
            wins += a * self.below[place]
            if place < len(self.values) and self.values[place] == value - shift:
                b = self.numbers[place]
                wins += a * b / 2
                ties += 3 * a * b * (a + b)  # (a+b)³-(a+b) is that much more than a³-a and b³-b
        return wins, ties

    def statistic(self, shift: float) -> float:
        """G = (W - ½ sign W)/σ with W = wins - nm/2 and σ² = nm/12 · [(n+m+1) - Σ(t³-t)/((n+m)(n+m-1))]; falls."""
        if shift not in self.known:
            pairs, total = self.n * self.m, self.n + self.m
            wins, ties = self.compare(shift)
            w = wins - pairs / 2
            sigma = sqrt(pairs / 12 * (total + 1 - ties / (total * (total - 1))))
            self.known[shift] = (w - copysign(0.5, w)) / sigma if w else 0.0
        return self.known[shift]

    def step(self, holds: Callable[[float], bool]) -> float:
        """The shift at which `holds` of the statistic ends, by bisection; a root at 0 gets the side it lies on."""
        low, high = self.least, self.most
        if not holds(self.statistic(low)):
            return low
        if holds(self.statistic(high)):
            return high
        if low < 0 < high:
            low, high = (0.0, high) if holds(self.statistic(0.0)) else (low, 0.0)
        while high - low > max(self.grain, 1e-9 * max(abs(low), abs(high))):
            middle = low + (high - low) / 2
            low, high = (middle, high) if holds(self.statistic(middle)) else (low, middle)
        return self.grain if low == 0 else -self.grain if high == 0 else (low + high) / 2


# ── All metrics ─────────────────────────────────────────────────────────────────────────────────


class Judged(NamedTuple):
    """A metric as the score sees it: it counts in each of its groups, or nowhere when muted."""

    label: Label
    groups: tuple[str, ...]
    critical: bool = False
    muted: bool = False


class Score(NamedTuple):
    """0-100, two decimals; 0-100 for each group, 0 where no metric counts; why the groups were not asked, or ""."""

    value: float
    groups: dict[str, float]
    reason: str


def score(metrics: Iterable[Judged], weights: Mapping[str, float] | None = None) -> Score:
    """Sum up a canary (`WeightedSumScorer`).

    0 if a critical metric is anything but Pass, if half of the metrics or more are Nodata, or if there is none. Else
    the weighted sum of the groups: 100 × Pass / (Pass + High + Low + NodataFailMetric). Nodata and Error do not count;
    a group in which nothing counts shows 0 but adds 100, and one that a weight names in vain adds nothing.

    Args:
        metrics: what `classify` said; muted ones are left out.
        weights: percent for each group, meant to total 100; groups without one share the rest equally.
    """
    heard, given = [metric for metric in metrics if not metric.muted], weights or {}
    names = list(dict.fromkeys(name for metric in heard for name in metric.groups))
    labels = {name: [m.label for m in heard for group in m.groups if group == name] for name in names}
    parts = {name: _share_of_pass(labels[name]) for name in names}
    shown = {name: part or 0.0 for name, part in parts.items()}
    if not heard:
        return Score(0.0, shown, "no metric to score")
    if any(metric.critical and metric.label is not Label.PASS for metric in heard):
        return Score(0.0, shown, "a critical metric failed")
    if 2 * sum(metric.label is Label.NODATA for metric in heard) >= len(heard):
        return Score(0.0, shown, "half of the metrics or more have no data")
    rest = (100 - sum(given.values())) / (len(set(names) - set(given)) or 1)
    total = sum((100.0 if part is None else part) * given.get(name, rest) / 100 for name, part in parts.items())
    return Score(float(Decimal(repr(total)).quantize(Decimal("0.01"), ROUND_HALF_UP)), shown, "")


def _share_of_pass(labels: list[Label]) -> float | None:
    counted = [label for label in labels if label not in {Label.NODATA, Label.ERROR}]
    return counted.count(Label.PASS) / len(counted) * 100 if counted else None


def outcome(score: float, pass_: float, marginal: float) -> Outcome:
    """Classify a score, 0-100 (`ThresholdScoreClassifier`); at a threshold it is the better, but see `goes_on`."""
    return Outcome.PASS if score >= pass_ else Outcome.MARGINAL if score >= marginal else Outcome.FAIL


def goes_on(score: float, marginal: float | None) -> bool:
    """Whether the analysis goes on after an interim score (`MonitorCanaryTask`): above `marginal`; at it, it fails.

    Kayenta contradicts itself: its classifier (`outcome`) calls that score Marginal. Kept. None: every score goes on.
    """
    return marginal is None or score > marginal


def succeeds(score: float, pass_: float | None, marginal: float | None) -> bool:
    """Whether the canary passes with its last score (`GenerateCanaryAnalysisResultTask`); None is not asked."""
    return goes_on(score, marginal) and (pass_ is None or score >= pass_)


def schedule(
    lifetime: timedelta,
    interval: timedelta | None = None,
    lookback: timedelta = timedelta(0),
    warmup: timedelta = timedelta(0),
) -> list[tuple[timedelta, timedelta]]:
    """Windows (start, end) to judge, counted from the start of the analysis (`SetupAndExecuteCanariesStage`).

    One every `interval`, the whole lifetime if None, 0 or longer; a last part shorter than that is never judged.
    A window grows from the end of the warm-up, or is the last `lookback`, even if that reaches back before the start.

    Raises:
        ValueError: a lifetime that is not above 0, or a negative interval.
    """
    step = min(interval or lifetime, lifetime)
    if step <= timedelta(0):
        raise ValueError(f"lifetime {lifetime} and interval {interval} must be above 0")
    ends = [warmup + number * step for number in range(1, lifetime // step + 1)]
    return [(end - lookback if lookback > timedelta(0) else warmup, end) for end in ends]
