"""Gates that count: so many of so many on the candidate, against the same on stable, from the same scrapes.

They name counters, never rates: `rate()` extrapolates and loses a series' first increments, which are exactly the first
errors. What their counts prove is judged by sequential tests (`rollout/judge/evidence.py`) against one false-alarm
budget for the whole rollout, so looking at every scrape costs nothing.
"""

import re
from abc import abstractmethod
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from rollout.base import Written
from rollout.durations import Duration, text
from rollout.gates.base import AnyGate, OnBreach
from rollout.queries import labelled, selector


def _selects(written: str) -> str:
    """A plain selector: a metric's name with matchers, nothing computed."""
    selector(written)
    return written.strip()


Selector = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_selects)]
"""A PromQL selector of counters, such as `http_requests_total{service="checkout"}`; no `rate()`, `sum()`, `[5m]`."""


def _dispersion(written: object) -> object:
    number = written if isinstance(written, int | float) and not isinstance(written, bool) else 0
    if written != "auto" and not 1 <= number <= 1000:
        msg = "must be auto, or a number from 1 to 1000"
        raise ValueError(msg)
    return written


Dispersion = Annotated[
    Literal["auto"] | float,
    BeforeValidator(_dispersion),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "number", "minimum": 1, "maximum": 1000}]}),
]
"""How many events usually come at once."""


class Versions(Written):
    """Which series are the candidate's and which are stable's.

    With `by: pods` the label holds the hash of the pod template (Kubernetes' `pod-template-hash`, or a StatefulSet's
    `controller-revision-hash`), and its two values are what the rolling update says.
    """

    label: str = Field(default="version", pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", description="label that differs")
    candidate: str = Field(default="canary", min_length=1, description="its value on the candidate's series")
    stable: str = Field(default="stable", min_length=1, description="its value on stable's series")
    by: Literal["value", "pods"] = Field(
        default="value", description="value: the two values as written here; pods: the hashes of the pod templates"
    )

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.by == "pods" and (self.candidate, self.stable) != ("canary", "stable"):
            msg = "by: pods takes candidate's and stable's values from the rolling update: leave them out"
            raise ValueError(msg)
        if self.candidate == self.stable:
            msg = f"candidate and stable have the same value {self.stable!r} of label {self.label}"
            raise ValueError(msg)
        return self


class CountingGate(AnyGate):
    """What gates that count have in common."""

    versions: Versions = Versions()
    margin: float = Field(default=1.25, gt=1, le=10, description="how many times worse than stable is still tolerated")
    proof: float = Field(default=2.0, gt=1, le=100, description="health is proven once this ratio is excluded")
    dispersion: Dispersion = Field(
        default="auto",
        description="how many events usually come at once; auto: estimated from stable's own past before the start",
    )
    weight: float = Field(
        default=1, ge=0.01, le=1000, description="share of the false-alarm budget, relative to others"
    )
    min_requests: int = Field(
        default=50, ge=1, description="candidate requests without which a bake does not end undecided"
    )
    require: Literal["proof"] | None = Field(default=None, description="proof: a bake does not end undecided")

    @model_validator(mode="after")
    def _versions_are_ours(self) -> Self:
        for written in (self.trials, self.events):
            if re.search(rf"(?:^|,)\s*{self.versions.label}\s*[=!]", selector(written)[1]):
                msg = f"{written} names a {self.versions.label} itself; leave it out, both versions are counted"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _proof_beyond_margin(self) -> Self:
        if self.proof <= self.margin:
            msg = f"proof ({self.proof:g}) must be greater than margin ({self.margin:g}), or nothing lies between them"
            raise ValueError(msg)
        return self

    @property
    def compares(self) -> bool:
        """See `AnyGate.compares`."""
        return True

    @property
    @abstractmethod
    def trials(self) -> str:
        """Selector of what is counted, both versions."""
        ...

    @property
    @abstractmethod
    def events(self) -> str:
        """Selector of the events among the trials; of the good ones if `counts_good`."""
        ...

    def of_versions(self, written: str) -> str:
        """A selector narrowed to the two versions."""
        return labelled(written, {self.versions.label: (self.versions.candidate, self.versions.stable)})

    @property
    def counts_good(self) -> bool:
        """Whether `events` selects the trials without the event."""
        return False

    @property
    @abstractmethod
    def noun(self) -> str:
        """What an event is called: `errors`."""
        ...

    @property
    def bad(self) -> Literal["up", "down"]:
        """Which way is worse."""
        return "up"

    @property
    def waits(self) -> timedelta:
        """How long after a change of weight counts say nothing."""
        return timedelta()

    @property
    def floor(self) -> float | None:
        """Share of events below which the candidate is never blamed, 0 to 1; None: there is no such share."""
        return None

    @property
    def limit(self) -> str:
        """See `AnyGate.limit`."""
        return f"more than {self.margin:g}× stable's {self.noun}, proven by counts"


class ErrorRatioGate(CountingGate):
    """Failed requests among all requests."""

    kind: Literal["error-ratio"] = "error-ratio"
    requests: Selector = Field(description="counter of all requests")
    errors: Selector = Field(description="counter of the failed ones among them")
    ignore_below: float = Field(
        default=0.001, ge=0, le=0.4, description="a share of errors that is never blamed, whatever stable has"
    )

    @property
    def trials(self) -> str:
        """See `CountingGate.trials`."""
        return self.requests

    @property
    def events(self) -> str:
        """See `CountingGate.events`."""
        return self.errors

    @property
    def noun(self) -> str:
        """See `CountingGate.noun`."""
        return "errors"

    @property
    def floor(self) -> float | None:
        """See `CountingGate.floor`."""
        return self.ignore_below or None


class LatencyGate(CountingGate):
    """Requests that took longer than a limit, from a classic or native histogram."""

    kind: Literal["latency"] = "latency"
    histogram: Selector = Field(description="the histogram, without _bucket: http_request_duration_seconds{…}")
    slower_than: Duration = Field(description="a boundary of the histogram's buckets")
    ignore_below: float = Field(
        default=0.001, ge=0, le=0.4, description="a share of slow requests that is never blamed"
    )
    warm_up: Duration = Field(default=timedelta(0), description="not judged for so long after each change of weight")

    @property
    def trials(self) -> str:
        """See `CountingGate.trials`."""
        return labelled(self.histogram, {}, "_count")

    @property
    def events(self) -> str:
        """See `CountingGate.events`; requests within the limit."""
        seconds = self.slower_than.total_seconds()
        return labelled(self.histogram, {"le": sorted({f"{seconds:g}", str(seconds)})}, "_bucket")

    @property
    def counts_good(self) -> bool:
        """See `CountingGate.counts_good`."""
        return True

    @property
    def native(self) -> str:
        """Selector of the histogram itself, both versions, where it is a native one."""
        return self.of_versions(self.histogram)

    @property
    def waits(self) -> timedelta:
        """See `CountingGate.waits`."""
        return self.warm_up

    @property
    def noun(self) -> str:
        """See `CountingGate.noun`."""
        return f"requests slower than {text(self.slower_than)}"

    @property
    def floor(self) -> float | None:
        """See `CountingGate.floor`."""
        return self.ignore_below or None


class ProportionGate(CountingGate):
    """A business ratio of sticky users: conversions or bounces among sessions, labelled by the version assigned."""

    kind: Literal["proportion"] = "proportion"
    trials_: Selector = Field(alias="trials", description="counter of sessions, by the version assigned at their start")
    successes: Selector = Field(description="counter of those among them that converted, bounced, …")
    bad_: Literal["up", "down"] = Field(alias="bad", description="which way is worse")
    matures_in: Duration = Field(default=timedelta(0), description="how long after its session a success may come")
    margin: float = Field(default=1.1, gt=1, le=10, description="odds ratio that is still tolerated")
    proof: float = Field(default=1.5, gt=1, le=100, description="health is proven once this odds ratio is excluded")
    on_breach: OnBreach = Field(default="hold", description="what a breach does")

    @property
    def trials(self) -> str:
        """See `CountingGate.trials`."""
        return self.trials_

    @property
    def events(self) -> str:
        """See `CountingGate.events`."""
        return self.successes

    @property
    def bad(self) -> Literal["up", "down"]:
        """See `CountingGate.bad`."""
        return self.bad_

    @property
    def waits(self) -> timedelta:
        """See `CountingGate.waits`."""
        return self.matures_in

    @property
    def noun(self) -> str:
        """See `CountingGate.noun`."""
        return "successes"

    @property
    def limit(self) -> str:
        """See `AnyGate.limit`."""
        way = "higher" if self.bad == "up" else "lower"
        return f"odds {way} than stable's by more than {self.margin:g}×, proven by counts"
