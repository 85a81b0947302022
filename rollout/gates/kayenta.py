"""`kayenta`: a Kayenta configuration brought along, judged as Kayenta would (`rollout/judge/kayenta.py`).

Names and defaults follow Kayenta's where they mean the same; its data sources, scopes and templates are PromQL here,
and its lifetime is the stage's bake. What its judge cannot see (sparse errors, changes of shape) this gate cannot see
either: gates that count see more, and sooner.
"""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rollout.base import Name, Written
from rollout.durations import Duration, text
from rollout.gates.base import AnyGate
from rollout.judge.kayenta import Bounds, Direction, Measure

Query = Annotated[str, Field(min_length=1, max_length=10_000)]
Bound = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Score = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
_NEUTRAL: dict[Measure, float] = {"meanRatio": 1.0, "cles": 0.5}


class Effect(Written):
    """How large a shift must be to count; what is not written is the measure's "no difference"."""

    measure: Measure = Field(
        default="meanRatio",
        description="meanRatio: mean of the candidate / mean of stable, 1 is no difference; "
        "cles: how often a point of the candidate is above one of stable, 0.5 is no difference",
    )
    allowed_increase: Bound | None = Field(default=None, description="a shift upwards counts from here on")
    allowed_decrease: Bound | None = Field(default=None, description="a shift downwards counts down from here")
    critical_increase: Bound | None = Field(default=None, description="and fails a critical metric from here on")
    critical_decrease: Bound | None = Field(default=None, description="and fails a critical metric down from here")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in ("allowed_increase", "allowed_decrease", "critical_increase", "critical_decrease"):
            bound = getattr(self, name)
            if self.measure == "cles" and bound is not None and bound > 1:
                msg = f"{name}: cles is a share from 0 to 1 and never reaches {bound:g}"
                raise ValueError(msg)
        return self

    @property
    def allowed(self) -> Bounds:
        """(decrease, increase) at which a shift counts."""
        return self._bounds(self.allowed_decrease, self.allowed_increase)

    @property
    def critical(self) -> Bounds:
        """(decrease, increase) at which a shift of a critical metric fails everything."""
        return self._bounds(self.critical_decrease, self.critical_increase)

    def _bounds(self, decrease: float | None, increase: float | None) -> Bounds:
        neutral = _NEUTRAL[self.measure]
        return (neutral if decrease is None else decrease, neutral if increase is None else increase)


class KayentaMetric(Written):
    """One metric, asked about both versions."""

    name: Name
    candidate: Query = Field(
        description="PromQL about the candidate: one series at most, so aggregate. Where a verdict must be the one of "
        "Kayenta itself, feed percent rather than fractions: below 0.01 its own result is rounding noise"
    )
    stable: Query = Field(description="PromQL: the same about stable, or about a baseline of equal size")
    direction: Direction = Field(default="either", description="which shift is bad")
    critical: bool = Field(default=False, description="whether it can fail the whole gate alone")
    must_have_data: bool = Field(default=False, description="without data it counts as failed (a critical one does)")
    nan: Literal["remove", "replace"] = Field(default="remove", description="drop missing points, or read them as 0")
    outliers: Literal["keep", "remove"] = Field(
        default="keep", description="remove: drop what lies more than 3 interquartile ranges beyond the quartiles"
    )
    effect: Effect = Effect()
    groups: tuple[Name, ...] = Field(
        default=(), max_length=50, description="groups in which it counts; default: one of its own name"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if twice := _twice(self.groups):
            msg = f"groups name {twice} twice"
            raise ValueError(msg)
        unused = [name for name in ("critical_increase", "critical_decrease") if getattr(self.effect, name) is not None]
        if unused and not self.critical:
            msg = f"effect.{unused[0]} belongs to a metric that is `critical: true`"
            raise ValueError(msg)
        return self

    @property
    def counts_in(self) -> tuple[str, ...]:
        """Groups in which it counts, at least one."""
        return self.groups or (self.name,)


class KayentaGate(AnyGate):
    """Series of the candidate and of stable, compared at intervals and summed up to a score of 0 to 100."""

    kind: Literal["kayenta"] = "kayenta"
    metrics: tuple[KayentaMetric, ...] = Field(min_length=1, max_length=50)
    weights: dict[Name, Score] = Field(
        default_factory=dict, description="percent of the score for each group; groups without one share what is left"
    )
    pass_: Score = Field(default=95, alias="pass", description="the last score must reach this")
    marginal: Score = Field(default=75, description="a score that is not above this ends the analysis at once")
    interval: Duration = Field(
        default=timedelta(minutes=20),
        description="a judgement each; one at the end of the bake if that is shorter. What is left of the bake after "
        "the last whole interval is never judged, as in Kayenta",
    )
    lookback: Duration = Field(
        default=timedelta(0), description="judge only the last part; 0s: everything since the end of the warm-up"
    )
    step: Duration = Field(default=timedelta(seconds=60), description="distance of the points, at least 1s")
    warm_up: Duration = Field(
        default=timedelta(0), description="wait so long after the traffic has moved; the stage lasts longer by it"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if twice := _twice([metric.name for metric in self.metrics]):
            msg = f"metrics name {twice} twice"
            raise ValueError(msg)
        if self.marginal > self.pass_:
            msg = f"marginal {self.marginal:g} is above pass {self.pass_:g}: no last score could be between them"
            raise ValueError(msg)
        if self.step < timedelta(seconds=1):
            msg = "a step must be at least 1s long"
            raise ValueError(msg)
        for name, span in (("interval", self.interval), ("lookback", self.lookback)):
            if span < self.step and (span or name == "interval"):
                msg = f"{name} {text(span)} is shorter than a step of {text(self.step)}: there is nothing to compare"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        groups = dict.fromkeys(group for metric in self.metrics for group in metric.counts_in)
        total = round(sum(self.weights.values()), 6)
        if strangers := sorted(set(self.weights) - set(groups)):
            msg = f"weights name {strangers[0]!r}, which is no metric's group; groups are {', '.join(groups)}"
            raise ValueError(msg)
        if total > 100:
            msg = f"weights total {total:g}, which is more than 100 percent"
            raise ValueError(msg)
        if total < 100 and not set(groups) - set(self.weights):
            msg = f"weights name every group and total {total:g}: no score could be above that; make it 100"
            raise ValueError(msg)
        return self

    @property
    def compares(self) -> bool:
        """See `AnyGate.compares`."""
        return True

    @property
    def limit(self) -> str:
        """See `AnyGate.limit`."""
        return (
            f"score not above {self.marginal:g} at an interim, or below {self.pass_:g} at the end, "
            f"judged every {text(self.interval)}"
        )


def _twice(names: list[str] | tuple[str, ...]) -> str | None:
    return next((name for number, name in enumerate(names) if name in names[:number]), None)
